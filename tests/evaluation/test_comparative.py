from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from confusable import CLASSES, World, confusable, meaningless
from planted import COLOURS, evaluation_json, pictures, write

from pcclip.cli import main
from pcclip.data.class_texts import ClassText, ClassTexts, read_class_texts, read_pair_texts
from pcclip.data.shards import ShardSetWriter
from pcclip.data.sources.eurosat import COVERS
from pcclip.errors import PcclipError
from pcclip.evaluation.bootstrap import bootstrap
from pcclip.evaluation.protocol import Results
from pcclip.evaluation.protocols.comparative import ComparativePrompting
from pcclip.evaluation.protocols.gains import mean_statistics, won_and_lost
from pcclip.evaluation.questions import Question, Wording
from pcclip.evaluation.statistics import Observations
from pcclip.model.checkpoint import save_folder
from pcclip.model.towers import load_towers

RECIPES = Path(__file__).parents[2] / "data_recipes"
comparative = partial(ComparativePrompting, templates=("{a}, not {b}",), count=1)
trees = "comparative/trees"


def test_right_texts_mend_a_confused_pair():
    results = comparative().run(confusable().subject())
    values = results.values()
    assert [values[f"{trees}-before/{score}_top1"] for score in ("all", "confused", "subset")] == [
        0.75,
        0.5,
        0.5,
    ]
    assert [values[f"{trees}-after/{score}_top1"] for score in ("all", "confused", "subset")] == [1, 1, 1]
    assert [values[f"{trees}-after/{score}_gain"] for score in ("all", "confused", "subset")] == [
        0.25,
        0.5,
        0.5,
    ]
    assert values[f"{trees}-text-difference/all_gain"] == 0
    notes = results.notes[trees]
    assert notes["after"]["pairs"] == [["maple", "oak", pytest.approx(0.98, abs=0.01)]]
    assert notes["alpha"] == "by all on validation"
    # Of the equally good ones the one that changes least.
    assert (
        notes["after"]["alpha"] == max(float(a) for a, hit in notes["after"]["grid"].items() if hit == 1) < 1
    )
    assert notes["after"]["mcnemar"]["confused"] == {"won": 12, "lost": 0, "p": pytest.approx(2 / 2**12)}
    gain = results.estimates()[f"{trees}-after/all_gain"]
    assert 0.1 < gain.low < 0.25 < gain.high < 0.45
    assert gain.n == 48


def test_wrong_texts_are_refused_by_the_choice_of_alpha_and_do_harm_without_it():
    world = confusable(sense=-1)
    chosen = comparative().run(world.subject())
    assert chosen.notes[trees]["after"]["alpha"] == 1
    gain = chosen.estimates()[f"{trees}-after/confused_gain"]
    assert (gain.value, gain.low, gain.high) == (0, 0, 0)  # nothing changed, which is no proportion of 0
    fixed = comparative(alpha=0.5).run(world.subject())
    assert fixed.values()[f"{trees}-after/confused_gain"] == -0.5
    assert fixed.notes[trees]["alpha"] == "fixed"


def test_a_gain_that_is_only_a_leak_shows_as_published_and_not_as_corrected():
    gains: dict[str, list[float]] = {"after": [], "published": []}
    covered = 0
    for seed in range(30):
        protocol = comparative(count=3, pairs="confusion", choose_by="subset", protocol="paper")
        found = protocol.run(meaningless(seed).subject()).estimates(resamples=10)
        for kind, of_kind in gains.items():
            of_kind.append(found[f"{trees}-{kind}/subset_gain"].value)
        after = found[f"{trees}-after/subset_gain"]
        covered += after.low <= 0 <= after.high
    error = {kind: np.std(of_kind, ddof=1) / np.sqrt(len(of_kind)) for kind, of_kind in gains.items()}
    assert np.mean(gains["published"]) > 5 * error["published"] > 0
    assert np.mean(gains["published"]) > 0.03
    assert abs(np.mean(gains["after"])) < 2.5 * error["after"]
    assert covered >= 26


def test_the_published_variant_is_there_only_when_asked_for():
    world = confusable()
    corrected = comparative().run(world.subject())
    assert not [name for name in corrected.values() if "published" in name]
    paper = comparative(protocol="paper").run(world.subject())
    assert paper.values() | corrected.values() == paper.values()
    assert "test" in paper.notes[trees]["published"]["leak"]


def confused_otherwise(base: World) -> World:
    """A finetuned model that has learned what an oak is and takes dogs for cats."""
    known = base.known | {"oak": base.known["oak"] + np.eye(16)[1], "dog": base.known["cat"] * 0.9 - 0.1}
    return World(known, base.sets, base.features, base)


@pytest.mark.parametrize("by", ["similarity", "confusion"])
def test_pairs_are_the_base_models_for_every_model(by: str):
    base = confusable()
    tuned = confused_otherwise(base)
    protocol = comparative(pairs=by, protocol="paper")
    results = {name: protocol.run(world.subject()) for name, world in (("base", base), ("tuned", tuned))}
    notes = {name: found.notes[trees] for name, found in results.items()}
    assert notes["base"]["after"]["pairs"] == notes["tuned"]["after"]["pairs"]
    assert notes["tuned"]["after"]["pairs"][0][:2] == ["maple", "oak"]
    assert notes["tuned"]["published"]["pairs"][0][:2] == ["cat", "dog"]
    change = results["tuned"].minus(results["base"]).estimates()
    assert change[f"{trees}-before/confused_top1"].value == 0.5
    assert change[f"{trees}-after/confused_gain"].value == -0.5  # nothing was left to gain


def test_confusion_is_counted_on_the_train_split():
    world = confusable()
    # On train, and there alone, every cat is called a dog.
    swapped = world.features["train"].copy()
    swapped[world.sets["train"].labels == 2] = world.features["train"][3]
    swapped[world.sets["train"].labels == 1] = np.eye(16, dtype=np.float32)[4]
    world.features["train"] = swapped
    notes = comparative(pairs="confusion").run(world.subject()).notes[trees]
    assert notes["after"]["pairs"] == [["cat", "dog", 0.5]]
    assert notes["pairs_by"] == "confusion on train"
    with pytest.raises(PcclipError, match=r"by confusion on 'train', the split that is reported"):
        comparative(pairs="confusion").run(world.subject("train"))


def test_alpha_is_never_chosen_on_the_reported_split():
    world, wrong = confusable(), confusable(sense=-1)
    # On validation maples look like oaks and oaks like maples: only no change is right there.
    labels = world.sets["validation"].labels
    world.features["validation"] = np.where(
        (labels == 1)[:, None], np.eye(16, dtype=np.float32)[4], world.features["validation"]
    )
    assert comparative().run(world.subject()).notes[trees]["after"]["alpha"] == 1
    in_a_fit = comparative().run(wrong.subject("validation")).notes[trees]
    assert in_a_fit["alpha"] == "by all on train"
    with pytest.raises(PcclipError, match=r"alpha would be chosen on 'validation', the split that is rep"):
        comparative(choose_on=("validation",)).run(wrong.subject("validation"))


@pytest.mark.parametrize("make", [confusable, partial(meaningless, 3)], ids=["planted", "noise"])
@pytest.mark.parametrize("by", ["similarity", "confusion"])
def test_orders_change_nothing(make: Callable[[], World], by: str):
    world = make()
    other = world.reordered(list(range(len(world.sets["test"].classes)))[::-1])
    protocol = comparative(count=2, pairs=by, protocol="paper")
    first, second = protocol.run(world.subject()), protocol.run(other.subject())
    assert first.values() == pytest.approx(second.values())
    for kind in ("after", "random-pairs", "published"):
        assert first.notes[trees][kind] == second.notes[trees][kind]


def pair_texts(folder: Path, pairs: list[tuple[str, str]], world: World) -> str:
    entries = [ClassText(a, b, (f"{a}, not {b}", f"{a} and no {b}")) for a, b in pairs]
    world.known |= {entry.texts[1]: world.known[entry.texts[0]] for entry in entries}
    ClassTexts("pair texts", entries, {}).write(folder / "texts.json")
    return str(folder)


def test_texts_from_a_file(tmp_path: Path):
    world = confusable()
    texts = pair_texts(tmp_path, [("maple", "oak"), ("oak", "maple")], world)
    found = ComparativePrompting(texts=texts, count=1).run(world.subject())
    expected = comparative().run(world.subject())
    assert found.values()[f"{trees}-after/all_top1"] == 1
    assert found.notes[trees]["texts"] == texts
    assert found.notes[trees]["after"] == expected.notes[trees]["after"]
    assert found.notes[trees]["random-pairs"]["pairs"] == [["maple", "oak"]]  # the file has no others
    one_way = pair_texts(tmp_path, [("maple", "oak")], world)
    with pytest.raises(PcclipError, match=rf"{tmp_path.name}: has no text on how 'oak' differs from 'maple'"):
        ComparativePrompting(texts=one_way, count=1).run(world.subject())


def test_the_wordings_of_the_classes_own_question():
    world = confusable()
    wordings = (
        Wording("w", False, "{first}, not {second}"),
        Wording("h", True, "held out {first} {second}"),
    )
    cover = Question("kind", "category", wordings, "", "", dict.fromkeys(CLASSES, ""), 0)
    world.sets = {split: replace(one, questions=(cover,)) for split, one in world.sets.items()}
    found = ComparativePrompting(count=1).run(world.subject())
    assert found.notes[trees]["texts"] == "wordings of the question about 'kind'"
    assert found.values() == comparative().run(world.subject()).values()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"templates": None}, r"trees: no question's values are the classes"),
        ({"templates": ("{a} is tall",)}, r"'\{a\} is tall' should have \{a\} and \{b\}"),
        ({"templates": ("{a} {first}",)}, r"should have \{a\} and \{b\}"),
        ({"templates": ("{a} or {b",)}, r"should have \{a\} and \{b\}"),
        ({"templates": ()}, r"templates: there is none"),
        ({"alphas": (1.0, 1.5)}, r"alpha should be between 0 and 1"),
        ({"alphas": ()}, r"alpha should be between 0 and 1"),
        ({"count": 0}, r"needs a pair of classes"),
        (
            {"among": ("oak", "elm")},
            r"among 'oak', 'elm': not all are classes of the set. Its classes: 'maple'",
        ),
        ({"among": ("oak",)}, r"among 'oak': fewer than two classes"),
        ({"texts": "no/such.json"}, r"no/such.json: is no file of texts about classes"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str):
    with pytest.raises(PcclipError, match=message):
        comparative(**settings).run(confusable().subject())


def test_pairs_among_named_classes():
    found = comparative(among=("cat", "dog", "oak"), count=9).run(confusable().subject()).notes[trees]
    assert {frozenset(pair[:2]) for pair in found["after"]["pairs"]} == {
        frozenset(pair) for pair in itertools.combinations(("cat", "dog", "oak"), 2)
    }
    assert len(found["random-pairs"]["pairs"]) == 6


def test_a_split_without_the_confused_classes_is_refused():
    world = confusable()
    few = world.sets["validation"].labels > 1
    world.sets["validation"] = replace(
        world.sets["validation"],
        labels=world.sets["validation"].labels[few],
        keys=world.sets["validation"].keys[: few.sum()],
    )
    world.features["validation"] = world.features["validation"][few]
    with pytest.raises(PcclipError, match=r"split 'validation' has no picture of the classes"):
        comparative().run(world.subject())


def test_statistics_of_means_are_the_bootstraps():
    rng = np.random.default_rng(0)
    of = np.arange(0, 90, 2)
    scores = rng.integers(-1, 2, len(of)).astype(np.float32)
    found = mean_statistics({"m": (of, scores)}, 90)["m"].estimate()
    groups = {"g": Observations(of, None, {"s": scores})}
    expected = bootstrap(groups, {"m": (("g", "s"),)}, 90, proportions=False)["m"]
    assert found.as_dict() == pytest.approx(expected.as_dict(), abs=1e-6)


def test_mcnemar_is_the_exact_test():
    before, after = np.zeros(20, np.float32), np.zeros(20, np.float32)
    before[:2], after[2:10] = 1, 1
    assert won_and_lost(before, after) == {"won": 8, "lost": 2, "p": pytest.approx(2 * (1 + 10 + 45) / 2**10)}
    assert won_and_lost(before, before) == {"won": 0, "lost": 0, "p": 1}


def test_the_texts_by_hand_are_on_all_of_eurosats_classes():
    classes = list(COVERS.values())
    pairs = read_pair_texts(RECIPES / "eurosat/class_pairs_by_hand.json")
    assert set(pairs) == set(itertools.permutations(classes, 2))
    assert all(a in text and b in text for (a, b), texts in pairs.items() for text in texts[1:])
    assert set(read_class_texts(RECIPES / "eurosat/class_descriptions_by_hand.json")) == set(classes)


def test_variants_side_by_side_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    data = write(tmp_path / "data", pictures(60), evaluation_json() | {
        "splits": {"test": "pictures/test", "validation": "pictures/validation"}
    })  # fmt: skip
    for split in ("train", "validation"):
        with ShardSetWriter(data / "pictures" / split, kind="pictures", records_per_shard=50) as writer:
            for picture in pictures(48):
                writer.write_picture(picture)
    torch.manual_seed(0)
    model = save_folder(load_towers("pcclip-tiny", random_init=True), tmp_path / "model")
    described = [ClassText(colour, None, (f"it looks {colour}", "bright")) for colour in COLOURS]
    ClassTexts("class texts", described, {}).write(tmp_path / "texts.json")
    zero_shot = "pcclip.evaluation.protocols.zero_shot.ZeroShot"
    prompting = "pcclip.evaluation.protocols.comparative.ComparativePrompting"
    protocols = [
        {"class_path": zero_shot},
        {"class_path": zero_shot, "init_args": {"ensemble": False}},
        {"class_path": zero_shot, "init_args": {"descriptions": str(tmp_path / "texts.json")}},
        {"class_path": prompting},
        {"class_path": prompting, "init_args": {
            "label": "paper", "templates": ["{a} rather than {b}"], "pairs": "confusion", "count": 3,
            "protocol": "paper", "choose_by": "confused", "alphas": [1, 0.8], "among": list(COLOURS[:4]),
        }},
    ]  # fmt: skip
    suite = {
        "suite": "classes",
        "evaluations": [{"data": str(data), "protocols": protocols}],
        "models": [{"name": f"local-dir:{model}", "label": "tiny"}],
        "out": str(tmp_path / "out"),
        "cache_dir": None,
    }
    (tmp_path / "suite.yaml").write_text(json.dumps(suite))
    assert main(["evaluate", "--config", str(tmp_path / "suite.yaml")]) == 0
    assert "comparative/planted-paper-published/subset_gain" in capsys.readouterr().out
    folder = tmp_path / "out" / "classes" / "tiny"
    record = json.loads((folder / "estimates.json").read_text())
    notes = record["notes"]["base"]["planted"]
    assert set(notes) == {f"zero_shot/planted{v}" for v in ("", "-one-prompt", "-described")} | {
        "comparative/planted",
        "comparative/planted-paper",
    }
    assert set(notes["comparative/planted-paper"]["published"]["grid"]) == {"1", "0.8"}
    values = Results.load(folder / "base" / "planted.npz").values()
    assert values["comparative/planted-before/all_top1"] == values["zero_shot/planted/top1"]
    for kind in ("planted-after", "planted-paper-random-pairs"):
        gain = record["base"][f"comparative/{kind}/all_gain"]
        assert gain["low"] <= gain["value"] <= gain["high"]
