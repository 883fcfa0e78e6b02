"""Every command of the documentation pages runs on small data, or is parsed, with the reason."""

import json
import shlex
import shutil
from pathlib import Path

import page_running
import pytest
from page_running import PAGES, Told, with_overlay
from test_readme_commands import PARSED

from pcclip.cli import main
from pcclip.data.shards import ShardIndex, resolve_shards
from pcclip.model.towers import load_towers
from tests.cli.fitting import experiment, prepare
from tests.data.remote.serving_shards import s3_server, served, upload
from tests.export.exporting import make_run
from tests.smoke import standins

FETCHED = "fetches from the network"
ENVIRONMENT = "makes or enters an environment"
WEIGHTS = "needs published weights and a GPU"
SENDS = "sends to the hub"
SMALL_PAIRS = "{pictures: 20, pairs: 0, method: all}"


class Treatment:
    """How the pages' calls of `pcclip` are made small: overlays by verb and recipe."""

    def __init__(self, world: Path) -> None:
        self.world = world

    def __call__(self, words: list[str]) -> tuple[list[str], str | None]:
        verb, line = words[0], " ".join(words)
        if verb == "fit":
            less = [self.world / "zero_shot.yaml"] if "experiments/shapes" in line else []
            return with_overlay(words, self.world / "fit.yaml", *less), None
        if verb == "prepare" and "your_own/measured" in line:
            return with_overlay(words, self.world / "pairs.yaml"), None
        if verb == "write":
            small = [] if "--rows.plan" in line or "/class_" in line else ["--rows.plan", SMALL_PAIRS]
            if "class_pairs" in line:
                small += ["--rows.pairs", "[[Black footed Albatross, Laysan Albatross]]"]
            if "OpenAIServer" in line or "overlays/ray" in line:
                small += ["--writer.model", "./no/model"]  # a dry run asks no hub for its tokenizer
            elif "your_own/contrasts" not in line and "cub/rules" not in line:
                words = with_overlay(words, "tests/smoke/writer.yaml")
            return [*words, *small, "--progress", "false"], None
        return words, None


def run(name: str, world: Path, place: Path, settings: dict[str, object], reasons: dict[str, str]) -> Told:
    named = {setting: str(value) for setting, value in settings.items()}
    told = page_running.run(PAGES / f"{name}.md", place, named, Treatment(world), reasons)
    for command, why in told.parsed.items():
        print(f"{name}: only parsed, {why}: {command}")
    return told


def keys_of(shards: Path) -> list[str]:
    return [key for path in resolve_shards(str(shards)) for key in ShardIndex.load(path).keys]


@pytest.mark.slow
def test_the_tutorial_from_a_folder_and_a_table_to_the_gallery(docs_world: Path, tmp_path: Path) -> None:
    settings = {
        "PHOTOS": docs_world / "coco/val2017",
        "TABLE": "captions.csv",
        "MODEL": f"local-dir:{docs_world / 'base'}",
        "PRETRAINED": "null",
        "COCO": docs_world / "coco",
    }
    reasons = {
        "make env": ENVIRONMENT,
        "make vllm-env": ENVIRONMENT,
        "source .venv": ENVIRONMENT,
        "curl": FETCHED,
        "unzip": FETCHED,
    }
    run("tutorial_your_own_pictures", docs_world, tmp_path, settings, reasons)
    summary = json.loads((tmp_path / "runs/your-own-differences/seed0/summary.json").read_text())
    assert "difference/your-own-mean-unseen/two_alternative" in " ".join(summary["tuned"])
    ranked = (tmp_path / "brighter.csv").read_text().splitlines()
    assert len(ranked) == 81
    assert (tmp_path / "brighter.html").stat().st_size > 10_000
    assert (tmp_path / "found.html").is_file()
    assert "html" in (tmp_path / "your-own.html").read_text()[:200]


def test_the_paper_on_coco(docs_world: Path, tmp_path: Path) -> None:
    settings = {"COCO": docs_world / "coco", "SETS": docs_world}
    reasons = {
        "make paper": "tests/cli/test_paper_tables.py runs the targets",
        "make vllm-env": ENVIRONMENT,
        "pcclip bank": WEIGHTS,
        "pcclip fit": WEIGHTS,
        "pcclip evaluate": WEIGHTS,
        "pcclip compare": WEIGHTS,
    }
    run("coco_gpu", docs_world, tmp_path, settings, reasons)
    assert (tmp_path / "data/coco-llama2-13b/CARD.md").is_file()


def test_birds(docs_world: Path, tmp_path: Path) -> None:
    standins.cub(tmp_path)
    reasons = {
        "make vllm-env": ENVIRONMENT,
        "pcclip fit": WEIGHTS,
        "pcclip evaluate": WEIGHTS,
        "pcclip compare": WEIGHTS,
    }
    run("cub", docs_world, tmp_path, {"CUB": "CUB_200_2011"}, reasons)
    assert len(keys_of(tmp_path / "data/cub-rules/triples")) > 100
    assert (tmp_path / "data/cub-class-descriptions/texts.json").is_file()


def test_a_writer_that_sees_the_pictures(docs_world: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(page_running.ROOT)
    coco = docs_world / "coco"
    source = ["--source.captions", coco / "annotations/captions_val2017.json", "--source.images"]
    words = ["prepare", "--config", "data_recipes/coco/pictures.yaml", *source, coco / "val2017"]
    assert main([*map(str, words), "--out", str(tmp_path / "coco")]) == 0
    settings = {"PICTURES": tmp_path / "coco/pictures/train", "OUT": "data/seen"}
    run("vision_language_writer", docs_world, tmp_path, settings, {"make vllm-env": ENVIRONMENT})
    assert len(keys_of(tmp_path / "data/seen-trial/triples")) == 64 * 63 // 2


@pytest.mark.slow
def test_clusters(docs_world: Path, tmp_path: Path) -> None:
    prepare(tmp_path / "data", "pixels")
    (tmp_path / "fit.yaml").write_text(json.dumps(experiment(tmp_path / "data", docs_world / "base")))
    reasons = {
        "sbatch": "there is no SLURM here: tests/test_cluster_files.py starts the file's tasks",
        "squeue": "there is no SLURM here",
    }
    settings = {"RUN": tmp_path / "runs/cluster/seed0", "EXPERIMENT": tmp_path / "fit.yaml"}
    run("slurm", docs_world, tmp_path, settings, reasons)
    assert (tmp_path / "runs/cluster/seed0/summary.json").is_file()


@pytest.mark.slow
def test_object_storage(docs_world: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("PCCLIP_REMOTE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(page_running.ROOT)
    data = tmp_path / "data/shapes"
    prepare(data, "pixels")
    base = tmp_path / "runs/shapes-pretrain/seed0/model"
    shutil.copytree(docs_world / "base", base)
    with s3_server("mine") as (_, client), served(data / "triples/train") as url:
        upload(client, data / "triples/train", "mine", "triples/train")
        upload(client, data / "pictures/train", "mine", "pictures/train")
        settings = {"BUCKET": "mine", "SHARDS": shlex.quote(f"{url}/{{000000..000002}}.tar")}
        settings |= {"MODEL": f"local-dir:{base}", "PRETRAINED": "null"}
        run("object_storage", docs_world, tmp_path, settings, {})
    assert (tmp_path / "runs/shapes-differences/v000/summary.json").is_file()


@pytest.mark.slow
def test_export(docs_world: Path, tmp_path: Path) -> None:
    made = make_run(tmp_path, load_towers(f"local-dir:{docs_world / 'base'}"))
    reasons = {"hf ": SENDS, "pcclip arithmetic": WEIGHTS}
    run("export", docs_world, tmp_path, {"RUN": made}, reasons)
    assert (made / "exported/hub-folder/README.md").is_file()


@pytest.mark.slow
def test_sweeps(docs_world: Path, tmp_path: Path) -> None:
    prepare(tmp_path / "data", "pixels")
    (tmp_path / "fit.yaml").write_text(json.dumps(experiment(tmp_path / "data", docs_world / "base")))
    ranges = {"model.optimizer.lr": {"values": [1e-3], "also": ["model.lr_scheduler.max_lr"]}}
    fit = "--config fit.yaml --trainer.max_steps 2 --trainer.val_check_interval 2"
    asked = {"name": "small", "fit": fit, "ranges": ranges, "sampler": "grid"}
    (tmp_path / "sweep.yaml").write_text(json.dumps(asked))
    run("sweeps", docs_world, tmp_path, {"SWEEP": "sweep.yaml", "FOUND": "runs/sweeps/small"}, {})
    assert (tmp_path / "sweep.html").is_file()


@pytest.mark.slow
def test_dashboards_and_reports(docs_world: Path, tmp_path: Path) -> None:
    prepare(tmp_path / "data", "pixels")
    (tmp_path / "fit.yaml").write_text(json.dumps(experiment(tmp_path / "data", docs_world / "base")))
    words = ["--config", str(tmp_path / "fit.yaml"), "--runs", str(tmp_path / "runs"), "--version", "seed0"]
    small = ["--trainer.max_steps", "2", "--trainer.val_check_interval", "2"]
    assert main(["fit", *words, *small]) == 0
    settings = {"RUN": tmp_path / "runs/small/seed0"}
    run(
        "dashboards_and_reports", docs_world, tmp_path, settings, {"make tensorboard": "serves until stopped"}
    )
    for name in ("report.html", "report.md", "report.csv", "table.md", "table.csv", "plot.png"):
        assert (tmp_path / name).stat().st_size > 0
    assert "two_alternative: " in (tmp_path / "said").read_text()


def test_what_a_configuration_may_do(docs_world: Path, tmp_path: Path) -> None:
    shutil.copy(page_running.ROOT / "experiments/shapes/differences.yaml", tmp_path / "theirs.yaml")
    found = page_running.run(PAGES / "configs.md", tmp_path, {}, lambda words: (words, None), {})
    assert found.ran == [["fit", "--config", "theirs.yaml", "--print_config"]]


def test_every_page_with_commands_is_run_by_a_test() -> None:
    told = Path(__file__).read_text()
    for page in PAGES.glob("**/*.md"):
        if page_running.blocks(page) and page.stem not in PARSED:
            assert f'"{page.stem}' in told, f"{page.name}: its commands are run by no test"
