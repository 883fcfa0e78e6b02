"""The recipes: the commands of their headers parse, and those whose data is at hand run."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from pcclip.cli import main
from pcclip.data.class_texts import read_pair_texts

ROOT = Path(__file__).parents[1]
RECIPES = sorted(p for p in (ROOT / "data_recipes").glob("*/*.yaml") if p.parent.name != "prompts")


def commands(recipe: Path) -> list[list[str]]:
    """The commands of a recipe's header that take recipes."""
    lines = recipe.read_text().splitlines()
    header = "\n".join(line.removeprefix("#") for line in lines if line.startswith("#"))
    found = re.findall(
        r"^ {2,}(?:\S+/)?pcclip ((?:prepare|write|judge) --config (?:.*\\\n)*.*)$", header, re.M
    )
    return [shlex.split(text.replace("\\\n", " ")) for text in found]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_the_commands_of_the_header_parse(recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(ROOT)
    told = commands(recipe)
    assert any(str(recipe.relative_to(ROOT)) in words for words in told), "its header names no command for it"
    for words in told:
        with pytest.raises(SystemExit) as stopped:
            main([*words, "--print_config"])
        printed = capsys.readouterr()
        assert stopped.value.code == 0, printed.err
        assert "out" in yaml.safe_load(printed.out)


def dry(recipe: str, *words: str) -> list[str]:
    return ["write", "--config", str(ROOT / "data_recipes" / recipe), "--dry-run", *words]


def prepared(recipe: str, out: Path, *words: str) -> None:
    config = str(ROOT / "data_recipes" / recipe)
    assert main(["prepare", "--config", config, "--out", str(out), "--progress", "false", *words]) == 0


def test_recipes_on_real_captions_and_classes(real_data: Path, tmp_path: Path, capsys) -> None:
    coco, cub = tmp_path / "coco", tmp_path / "cub"
    annotations = real_data / "coco" / "annotations" / "captions_val2017.json"
    images = str(real_data / "coco" / "val2017")
    prepared("coco/pictures.yaml", coco, "--source.captions", str(annotations), "--source.images", images)
    prepared("cub/pictures.yaml", cub, "--source.root", str(real_data / "CUB_200_2011"))
    some = ["--rows.pictures", str(coco / "pictures/train")]
    birds = str(cub / "pictures/train")
    for words, told in (
        (dry("coco/small_instruct.yaml", *some, "--rows.plan.pictures", "200"), "rows: 19,900; writer: vllm"),
        (dry("coco/rewritten_captions.yaml", *some, "--rows.sample", "200"), "\n[user] Caption: "),
        (dry("cub/differences.yaml", "--rows.pictures", birds, "--rows.plan.pictures", "0"), "Albatross"),
        (dry("cub/class_descriptions.yaml", "--rows.classes", birds), "rows: 50; writer: vllm"),
        (dry("cub/class_pairs.yaml", "--rows.classes", birds), "rows: 90; writer: vllm"),
    ):
        capsys.readouterr()
        assert main([*words, "--writer.model", "./no/model"]) == 0  # it asks no hub for its tokenizer
        said = capsys.readouterr().out
        assert told in said
        assert "all rows: " in said
        assert "not asked" not in said


def test_recipes_by_rules_on_real_attributes(real_data: Path, tmp_path: Path) -> None:
    cub, lists = tmp_path / "cub", str(real_data / "CUB_200_2011")
    prepared("cub/pictures.yaml", cub, "--source.root", lists)
    plan = ["--rows.pictures", str(cub / "pictures/train"), "--rows.plan.pictures", "0"]
    rules = dry("cub/rules.yaml", *plan, "--rows.plan.pairs", "300", "--writer.source.root", lists)
    rules.remove("--dry-run")
    assert main([*rules, "--out", str(tmp_path / "rules"), "--progress", "false"]) == 0
    assert main(["inspect", str(tmp_path / "rules/triples"), "--pictures", str(cub / "pictures/train")]) == 0
    animals = str(real_data / "AwA2")
    pairs = dry("awa2/class_pairs.yaml", "--rows.source.root", animals, "--writer.source.root", animals)
    pairs.remove("--dry-run")
    assert main([*pairs, "--out", str(tmp_path / "awa2"), "--progress", "false"]) == 0
    assert len(read_pair_texts(tmp_path / "awa2")) == 2450
