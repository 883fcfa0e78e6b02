"""The report on painted shapes: known shares, joined over two suites."""

from pathlib import Path

import numpy as np
import pytest

from pcclip.demos.painter.report import report
from pcclip.errors import PcclipError
from pcclip.evaluation.protocol import Results
from pcclip.evaluation.statistics import Observations

CASES = 40


def save(run: Path, suite: str, tower: str, name: str, moved: float) -> None:
    """Shares of cases that moved; all else stayed in half of them, and words move a quarter."""

    def share(of: float) -> np.ndarray:
        return (np.arange(CASES) < of * CASES).astype(np.float32)

    columns = {
        "as_asked": {"w0": share(0.8), "w1": share(0.8), "words": share(0.8)},
        "moved": {"w1": share(moved), "words": share(0.25)},
        "stayed": {"w1": share(0.5), "words": share(0.5)},
        "both": {"w1": share(min(moved, 0.5)), "words": share(0.25)},
    }
    groups, metrics = {}, {}
    for score, cells in columns.items():
        group = f"arithmetic-{name}-mean-{score}"
        groups[group] = Observations(np.arange(CASES), None, cells)
        metrics[f"arithmetic/{name}/mean/{score}"] = ((group, "w1"),)
        metrics |= {f"arithmetic/{name}/{cell}/{score}": ((group, cell),) for cell in cells}
    results = Results(f"{name}/all", CASES, groups, metrics)
    results.save(run / "results" / suite / tower / f"{name}.npz")


def test_shares_and_paired_changes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path, "painted-shapes", "base", "shapes", 0.3)
    save(tmp_path, "painted-shapes", "tuned", "shapes", 0.9)
    with pytest.raises(PcclipError, match=r"shapes-text-difference.npz: is not there. Draw the pictures"):
        report(str(tmp_path))
    save(tmp_path, "painted-shapes-text-difference", "base", "shapes-text-difference", 1.0)
    report(str(tmp_path))
    out = capsys.readouterr().out
    (row,) = (line for line in out.splitlines() if "w1/moved" in line)
    assert [cell.split()[0] for cell in row.split("│")[2:5]] == ["30.0", "90.0", "100.0"]
    told = {line.split(": ")[0]: line for line in out.splitlines() if "sentence -" in line or "words" in line}
    assert "mean/moved +60.0 [" in told["tuned sentence - base sentence"]
    assert "mean/moved ▼ -10.0 [" in told["tuned sentence - base text difference"]
    assert "mean/moved +65.0 [" in told["tuned sentence - base in words"]
    assert "mean/stayed +0.0 [+0.0, +0.0]" in told["base text difference - base in words"]
