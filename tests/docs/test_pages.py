"""Every command of the documentation pages runs on small data, or is parsed, with the reason."""

import json
import shlex
import shutil
from pathlib import Path

import page_running
import pytest
from page_running import PAGES
from small import ENVIRONMENT, FETCHED, SENDS, WEIGHTS, run

from pcclip.cli import main
from pcclip.data.shards import ShardIndex, resolve_shards
from pcclip.model.towers import load_towers
from tests.cli.fitting import experiment, prepare
from tests.data.remote.serving_shards import s3_server, served, upload
from tests.export.exporting import make_run
from tests.smoke import standins


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


@pytest.mark.slow
def test_captions_only(docs_world: Path, tmp_path: Path) -> None:
    told = json.loads((docs_world / "coco/annotations/captions_val2017.json").read_text())
    rows = [f"{one['image_id']:012d}.jpg,{one['caption']}" for one in told["annotations"]]
    (tmp_path / "captions.csv").write_text("\n".join(["file,caption", *rows]))
    settings = {
        "PHOTOS": docs_world / "coco/val2017",
        "MODEL": f"local-dir:{docs_world / 'base'}",
        "PRETRAINED": "null",
    }
    run("captions_only", docs_world, tmp_path, settings, {})
    summary = json.loads((tmp_path / "runs/your-own-captions-only/seed0/summary.json").read_text())
    assert {name.partition("/")[0] for name in summary["tuned"]} == {"retrieval"}


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
    for number, name in enumerate(("a.jpg", "b.jpg", "photos/a.jpg")):
        standins.write_picture(tmp_path / name, number, number)
    (tmp_path / "runs/shapes-differences").symlink_to(made.parent)  # as the page's Python names it
    reasons = {"hf ": SENDS, "pcclip arithmetic": WEIGHTS, "from diffusers": WEIGHTS}
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


def test_what_a_configuration_may_do(docs_world: Path, tmp_path: Path) -> None:
    shutil.copy(page_running.ROOT / "experiments/shapes/differences.yaml", tmp_path / "theirs.yaml")
    found = page_running.run(PAGES / "configs.md", tmp_path, {}, lambda words: (words, None), {})
    assert found.ran == [["fit", "--config", "theirs.yaml", "--print_config"]]


def test_every_page_with_commands_is_run_by_a_test() -> None:
    told = "".join(file.read_text() for file in Path(__file__).parent.glob("test_pages*.py"))
    for page in PAGES.glob("**/*.md"):
        if page_running.blocks(page):
            assert f'"{page.stem}' in told, f"{page.name}: its commands are run by no test"
