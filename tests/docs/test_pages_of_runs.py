"""The README's commands on small data, and those of the pages about runs that it leaves behind."""

import json
import os
import shutil
from pathlib import Path

import pytest
from page_running import Told
from PIL import Image
from small import ENVIRONMENT, answer, run

from pcclip.cli import main
from pcclip.docs.making.figures import draw_ranked
from tests.arithmetic.arithmetic_world import save_scorer
from tests.arithmetic.tiny_sdxl import save_pipeline, save_towers
from tests.cli.fitting import experiment, prepare
from tests.generation.writing.parrot import Parrot
from tests.inference.conftest import save_picture, save_run
from tests.smoke import standins

full = pytest.mark.skipif(
    os.environ.get("PCCLIP_FAULTS") != "full", reason="three jobs of processes: PCCLIP_FAULTS=full runs them"
)
RUN = "runs/shapes-differences/seed0"


@pytest.fixture(scope="session")
def finished(docs_world: Path, tmp_path_factory) -> tuple[Path, Told]:
    """Where the README's commands have run: data, the base model, a finished run."""
    place = tmp_path_factory.mktemp("readme")
    for number, name in enumerate("abcdef"):
        save_picture(place / f"photos/{name}.jpg", number)
    reasons = {
        "source .venv": ENVIRONMENT,
        "make tensorboard": "serves until stopped: tests/cli/test_dashboard.py",
    }
    return place, run("README", docs_world, place, {}, reasons, first="pcclip prepare")


@pytest.mark.slow
def test_the_readme(finished: tuple[Path, Told]) -> None:
    place, told = finished
    made = ("report.html", "order.html", f"{RUN}/summary.json", f"{RUN}/exported/hub-folder/README.md")
    assert all((place / name).stat().st_size > 0 for name in made)
    assert [one for one in told.parsed if one.split()[0] not in ("make", "source")] == []


@pytest.mark.slow
def test_finished_models(docs_world: Path, finished: tuple[Path, Told]) -> None:
    place, _ = finished
    shutil.rmtree(place / RUN / "exported")
    run("finished_models", docs_world, place, {}, {})
    assert len((place / "order.csv").read_text().splitlines()) == 7
    assert (place / "found.html").is_file()
    assert (place / RUN / "exported/transformers-text/config.json").is_file()


@pytest.mark.slow
def test_dashboards_and_reports(docs_world: Path, finished: tuple[Path, Told]) -> None:
    place, _ = finished
    (place / "report.html").unlink()
    run("dashboards_and_reports", docs_world, place, {}, {"make tensorboard": "serves until stopped"})
    for name in ("report.html", "report.md", "report.csv", "table.md", "table.csv", "plot.png"):
        assert (place / name).stat().st_size > 0
    assert "two_alternative: " in (place / "said").read_text()


@pytest.mark.slow
def test_ranked_pictures_of_the_figures(finished: tuple[Path, Told], tmp_path: Path, monkeypatch) -> None:
    place, _ = finished
    monkeypatch.chdir(place)
    told = list(draw_ranked(tmp_path, "small", Path(RUN), Path("data/shapes")))
    gains = [float(one.rpartition("tuned ")[2]) - float(one.partition("base ")[2][:6]) for one in told]
    assert gains[0] > gains[1]
    assert all("of 170 sentences" in one for one in told)
    for name in ("gain", "loss"):
        with Image.open(tmp_path / f"ranked-small-{name}.png") as picture:
            assert picture.width == 1200
            assert picture.convert("RGB").getpixel((2, picture.height - 2)) == (255, 255, 255)


@pytest.mark.slow
def test_evaluations(docs_world: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    standins.eurosat(tmp_path / "sets")
    for name in ("data_recipes", "experiments"):
        (tmp_path / name).symlink_to(Path(__file__).parents[2] / name)
    recipe = ["--config", "data_recipes/eurosat/measures.yaml", "--config", "data_recipes/eurosat/smoke.yaml"]
    assert main(["prepare", *recipe, "--source.root", "sets", "--out", "data/eurosat"]) == 0
    shutil.copytree(docs_world / "base", tmp_path / "base")
    save_run(tmp_path / "runs/eurosat-differences/seed0", tmp_path / "base", seed=1)
    run("evaluations", docs_world, tmp_path, {"EUROSAT": "sets"}, {})
    assert (tmp_path / "plot.png").stat().st_size > 0
    assert "ranking/eurosat-mean" in (tmp_path / "all.csv").read_text()


@pytest.mark.slow
def test_pictures_from_arithmetic(docs_world: Path, tmp_path: Path) -> None:
    base, tuned = save_towers(tmp_path / "towers")
    save_pipeline(tmp_path / "sdxl", base)
    save_scorer(tmp_path / "scorer")
    folder = tmp_path / "runs/paper-vit-l-14-openai/seed0"
    save_run(folder, base, seed=1)
    shutil.rmtree(folder / "model")
    shutil.move(tuned, folder / "model")
    run("arithmetic", docs_world, tmp_path, {}, {})
    assert (folder / "results/sdxl").is_dir()


@pytest.mark.slow
def test_differences_by_a_language_model(docs_world: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "data/downloads").mkdir(parents=True)
    (tmp_path / "data/downloads/coco").symlink_to(docs_world / "coco")
    server = Parrot(answer)
    reasons = {"make vllm-env": ENVIRONMENT}
    try:
        run("language_models", docs_world, tmp_path, {}, reasons, server=server.url)
    finally:
        server.close()
    assert (tmp_path / "data/coco-llama2-13b/CARD.md").is_file()
    assert "kappa" in (tmp_path / "data/coco-judge/JUDGE.md").read_text()
    assert "rate down, judge-4 across" in capsys.readouterr().out


@full
@pytest.mark.slow
def test_many_machines(docs_world: Path, tmp_path: Path, free_port: int) -> None:
    prepare(tmp_path / "data", "pixels")
    settings = experiment(tmp_path / "data", docs_world / "base")
    (tmp_path / "fit.yaml").write_text(json.dumps(settings))
    suite = settings["trainer"]["callbacks"][0]["init_args"]["evaluations"]
    (tmp_path / "evaluation.yaml").write_text(json.dumps({"suite": "small", "evaluations": suite}))
    place = {
        "EXPERIMENT": tmp_path / "fit.yaml",
        "EVALUATION": tmp_path / "evaluation.yaml",
        "RUN": tmp_path / "runs/small/two",
        "PROCESSES": 2,
        "NODES": 1,
        "HEAD": f"127.0.0.1:{free_port}",
        "GLOBAL_BATCH": 16,
    }
    reasons = {"sbatch": "there is no SLURM here: tests/test_cluster_files.py starts the file's tasks"}
    run("many_machines", docs_world, tmp_path, place, reasons)
    assert (tmp_path / "runs/small/two/results/small").is_dir()
