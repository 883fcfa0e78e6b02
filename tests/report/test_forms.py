"""The report's other forms, CSV and Markdown, as programs read them; and what a GPU's run records."""

import copy
import itertools
import json
from pathlib import Path

import pandas as pd
import pytest

from pcclip.checksums import seal
from pcclip.cli import main
from pcclip.errors import PcclipError
from pcclip.report.machine import gpu_driver
from pcclip.report.provenance import read_provenance
from tests.evaluation.known_results import results, save_experiment, save_run
from tests.report.pages import Page

START = {
    "started": "2026-11-26T22:11:39+00:00",
    "command": "pcclip fit --config c.yaml",
    "git": {"commit": "0123456789abcdef", "changed": 2, "untracked": 0},
    "python": "3.11.7",
    "packages": {"torch": "2.14.1"},
    "machine": {
        "system": "Linux x86_64",
        "processor": "Intel(R) Xeon(R) Platinum 8480C",
        "cores": 16,
        "memory_bytes": 128 * 2**30,
        "gpu": "NVIDIA H100 80GB HBM3",
        "gpu_memory_bytes": 85_017_755_648,
        "processes": 2,
        "nodes": 1,
        "gpu_driver": "570.124.06",
        "cuda": "12.8",
    },
    "precision": "bf16-mixed",
    "sets": [{"setting": "triples", "path": "t", "kind": "triples", "records": 60_000, "card": None}],
}


def written(folder: Path, *runs: Path) -> Path:
    out = folder / "out"
    words = [f"--out={out}/r.html", f"--markdown={out}/r.md", f"--csv={out}/r.csv", "--suite=mine"]
    assert main(["report", *map(str, runs), *words]) == 0
    return out


def write_sealed(file: Path, record: dict) -> None:
    file.write_text(json.dumps(seal(record)))


@pytest.fixture
def gpu_run(tmp_path) -> Path:
    save_run(tmp_path / "one", 0, results(500), results(510, pairs_right=0.9))
    run = tmp_path / "one" / "seed0"
    summary = json.loads((run / "summary.json").read_text())
    cost = {
        "samples_per_second": 21777.4,
        "loader_wait_share": 0.02,
        "peak_memory_bytes": 9 * 2**30,
        "peak_gpu_memory_bytes": 41 * 2**30,
    }
    seconds = {"base_evaluation": 20.0, "fit": 4000.0}
    summary |= {"steps": 1500, "precision": "bf16-mixed", "cost": cost, "seconds": seconds}
    write_sealed(run / "summary.json", summary)
    write_sealed(run / "provenance.json", {"schema": 1, "starts": [START], "cards": {}})
    return run


def test_what_a_gpu_ran_is_told_first_and_in_full(gpu_run, tmp_path):
    page = Page(written(tmp_path, gpu_run) / "r.html")
    assert (
        "Took: 1 h 6 min of training (1,500 steps, 21,777 samples/s, 9.0 GiB of memory, "
        "41.0 GiB of the GPU's) and 20 s of evaluations on 2 x NVIDIA H100 80GB HBM3." in page.text
    )
    assert (
        "machine 2 x NVIDIA H100 80GB HBM3 (79 GiB each, driver 570.124.06, CUDA 12.8); "
        "Intel(R) Xeon(R) Platinum 8480C, 16 cores, 128 GiB, Linux x86_64" in page.text
    )
    assert "commit 0123456789ab, 2 files changed" in page.text
    assert "precision bf16-mixed" in page.text
    assert "peak memory of the GPU, MiB 41,984" in page.text
    assert pd.read_csv(tmp_path / "out/r-cost.csv").peak_gpu_memory_bytes.tolist() == [41 * 2**30]


def test_the_driver_is_found_where_the_system_tells(tmp_path):
    file = tmp_path / "version"
    assert gpu_driver(file) is None
    file.write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.124.06  Release Build\n"
        "GCC version:  gcc 12\n"
    )
    assert gpu_driver(file) == "570.124.06"


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("starts", 0, "machine", "memory_bytes"), "much"),
        (("starts", 0, "machine", "processes"), None),
        (("starts", 0, "machine"), []),
        (("starts", 0, "git"), {"commit": 1, "changed": 0, "untracked": 0}),
        (("starts", 0, "sets"), {"triples": "t"}),
        (("starts", 0, "sets", 0, "records"), 10**40),
        (("starts", 0, "later"), 1),
        (("starts",), {"a": 1}),
        (("cards",), ["a"]),
        (("schema",), 2),
    ],
)
def test_a_record_that_was_edited_is_told_with_the_remedy(gpu_run, place, value, capsys):
    record = copy.deepcopy({"schema": 1, "starts": [START], "cards": {}})
    *path, last = place
    at = record
    for name in path:
        at = at[name]
    at[last] = value
    write_sealed(gpu_run / "provenance.json", record)
    with pytest.raises(PcclipError, match=r"provenance\.json: is no record of a run's starts .* Delete it"):
        read_provenance(gpu_run)
    assert main(["inspect", str(gpu_run)]) == 1
    assert "provenance.json: is no record" in capsys.readouterr().err


def test_inspect_checks_the_record_of_starts(gpu_run, capsys):
    assert main(["inspect", str(gpu_run)]) == 0
    assert "record of 1 start(s): as it was written" in capsys.readouterr().out
    file = gpu_run / "provenance.json"
    file.write_text(file.read_text().replace("bf16", "fp16"))
    assert main(["inspect", str(gpu_run)]) == 1
    assert "provenance.json: is no record of a run's starts" in capsys.readouterr().err


def test_tables_have_types_in_pandas(tmp_path):
    save_experiment(tmp_path / "ours", [600, 605, 610], pairs_right=0.9)
    save_experiment(tmp_path / "captions", [400, 405, 410], pairs_right=0.52)
    out = written(tmp_path, tmp_path / "ours", tmp_path / "captions")
    numbers = {"change", "low", "high", "p_holm", "seeds_low", "seeds_high", "significant"}
    for name in ("r", "r-every-measure", "r-against-what-needs-no-training", "r-what-got-worse"):
        read = pd.read_csv(out / f"{name}.csv")
        assert len(read)
        assert {one for one in numbers if not pd.api.types.is_numeric_dtype(read[one])} == set(), name
        assert read.change.abs().max() <= 1
        assert set(read.experiment) <= {"ours", "captions"}
    assert pd.read_csv(out / "r.csv").query("experiment == 'ours'").value.notna().all()
    cost = pd.read_csv(out / "r-cost.csv")
    assert len(cost) == 6


def test_markdown_is_read_as_tables_whatever_the_names(tmp_path):
    from markdown_it import MarkdownIt

    names = ["a|b `c` <i>*", "\\|"]
    for number, name in enumerate(names):
        save_experiment(tmp_path / name, [600 + number, 605, 610], pairs_right=0.9)
    out = written(tmp_path, *(tmp_path / name for name in names))
    tokens = MarkdownIt("commonmark").enable("table").parse((out / "r.md").read_text())
    rows: list[list[str]] = []
    tables = sum(token.type == "table_open" for token in tokens)
    for token, inline in itertools.pairwise(tokens):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in ("td_open", "th_open"):
            rows[-1].append("".join(child.content for child in inline.children or ()))
    assert tables >= 6
    headers = [row for row in rows if any(cell.startswith(names[0]) for cell in row)]
    assert any(cell.startswith(names[1]) for row in headers for cell in row)
    assert not [token for token in tokens if token.type == "inline" and "|---" in token.content]
