import json
from pathlib import Path

import pytest
import torch
from fitting import experiment, fit_words, prepare

from pcclip.cli import main


@pytest.fixture(scope="session")
def place(tmp_path_factory) -> Path:
    """A folder with small data, a small base model and a configuration."""
    from pcclip.model.checkpoint import save_folder
    from pcclip.model.towers import load_towers

    folder = tmp_path_factory.mktemp("cli")
    prepare(folder / "data", "pixels")
    torch.manual_seed(0)
    save_folder(load_towers("pcclip-tiny", random_init=True), folder / "base")
    (folder / "fit.yaml").write_text(json.dumps(experiment(folder / "data", folder / "base")))
    return folder


@pytest.fixture(scope="session")
def whole(place: Path) -> Path:
    """A run that nobody disturbed."""
    assert main([*fit_words(place, "whole"), "--dashboard.enabled=true"]) == 0
    return place / "runs" / "small" / "whole"


@pytest.fixture
def said(monkeypatch, capsys, tmp_path):
    """Runs a command that must fail, in a checkout; gives what it says, which is short and no traceback."""
    monkeypatch.chdir(Path(__file__).parents[2])

    def run(*words):
        runs = [f"--runs={tmp_path / 'runs'}"] if words[0] == "fit" else []
        try:
            status = main([*map(str, words), *runs])
        except SystemExit as error:
            status = error.code
        captured = capsys.readouterr()
        assert status in (1, 2)
        assert "Traceback" not in captured.err
        lines = [line for line in captured.err.splitlines() if not line.startswith("run folder:")]
        assert len(lines) == 1, lines
        assert lines[0].startswith("pcclip")
        assert not (tmp_path / "runs").exists(), "a failed start leaves nothing behind"
        return lines[0]

    return run
