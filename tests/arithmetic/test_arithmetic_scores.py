"""Scores of pictures are torchmetrics' and CLIP's own; statistics are over cases; a judge is asked once."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchmetrics.functional.multimodal import clip_score
from transformers import CLIPModel, CLIPProcessor

from pcclip.arithmetic.cases import Case, CaseFile
from pcclip.arithmetic.clip_scorer import ClipScorer
from pcclip.arithmetic.judge import PictureJudge
from pcclip.arithmetic.measuring import Files, results, score
from pcclip.arithmetic.plan import Plan
from pcclip.arithmetic.scorers import PictureScorer
from pcclip.arithmetic.vectors import Arithmetic
from pcclip.errors import PcclipError
from pcclip.generation.writers.openai_server import OpenAIServer
from pcclip.model.conversion import to_transformers
from pcclip.model.towers import load_towers
from tests.arithmetic.arithmetic_world import CASES, save_processor, save_scorer
from tests.arithmetic.tiny_sdxl import TOWER, random_towers
from tests.generation.writing.parrot import Parrot


@pytest.fixture(scope="module")
def scorer_folder(tmp_path_factory) -> Path:
    return save_scorer(tmp_path_factory.mktemp("scorer"))


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> tuple[Case, ...]:
    file = tmp_path_factory.mktemp("cases") / "cases.yaml"
    file.write_text(json.dumps(CASES))
    return CaseFile.load(str(file)).cases


def noise(count: int, seed: int) -> list[Image.Image]:
    random = np.random.default_rng(seed)
    return [
        Image.fromarray(random.integers(0, 256, (6, 6, 3), np.uint8)).resize((48, 40)) for _ in range(count)
    ]


class Plain(CLIPModel):
    """transformers' CLIP with the two functions as torchmetrics expects them."""

    def get_image_features(self, *args, **kwargs):
        return super().get_image_features(*args, **kwargs).pooler_output

    def get_text_features(self, input_ids, attention_mask):
        return super().get_text_features(input_ids=input_ids, attention_mask=attention_mask).pooler_output


def test_clip_scores_are_those_of_torchmetrics_and_of_clip(scorer_folder, cases) -> None:
    pictures, before = noise(5, 1), noise(5, 2)
    found = ClipScorer(str(scorer_folder), device="cpu").score(pictures, cases, before)
    model, processor = (
        Plain.from_pretrained(scorer_folder).eval(),
        CLIPProcessor.from_pretrained(scorer_folder),
    )
    for at, (picture, case) in enumerate(zip(pictures, cases, strict=True)):
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
        by_hand = clip_score(pixels, case.target, model_name_or_path=lambda: (model, processor))
        assert found["clip_score"][at] * 100 == pytest.approx(by_hand.item(), abs=1e-4)
    assert (found["clip_score"] > 0).any()  # else the rest would not say much

    texts = [t for case in cases for t in (case.base, case.target, case.against or "")]
    inputs = processor(text=texts, images=pictures + before, return_tensors="pt", padding=True)
    with torch.no_grad():
        cosines = CLIPModel.from_pretrained(scorer_folder)(**inputs).logits_per_image
    for at, case in enumerate(cases):
        base, target, against = (cosines[:, 3 * at + part] for part in range(3))
        gained = target[at] - base[at] > target[5 + at] - base[5 + at]
        kept = case.base == max((float(cosines[at, 3 * n]), c.base) for n, c in enumerate(cases))[1]
        assert found["attribute_gained"][at] == gained
        assert found["class_kept"][at] == kept
        assert found["attribute_and_class"][at] == (gained and kept)
        if case.against is None:
            assert np.isnan(found["attribute_over_opposite"][at])
        else:
            assert found["attribute_over_opposite"][at] == (target[at] > against[at])


def test_without_base_pictures_nothing_is_gained(scorer_folder, cases) -> None:
    found = ClipScorer(str(scorer_folder), device="cpu").score(noise(5, 1), cases, None)
    assert np.isnan(found["attribute_gained"]).all()
    assert not np.isnan(found["class_kept"]).any()


@pytest.fixture(scope="module")
def towers(tmp_path_factory):
    from pcclip.model.checkpoint import save_folder

    folder = tmp_path_factory.mktemp("towers")
    save_folder(random_towers(folder), folder / "open_clip")
    model = load_towers(f"local-dir:{folder / 'open_clip'}")
    to_transformers(model).save_pretrained(folder / "transformers")
    save_processor(folder / "transformers")
    return folder, model


@pytest.mark.parametrize("kind", ["open_clip", "transformers"])
def test_a_tower_that_draws_is_refused_as_scorer_in_any_format(towers, scorer_folder, kind) -> None:
    folder, model = towers
    with pytest.raises(PcclipError, match=rf"{kind}.*reads texts as the tuned tower does.*allow_same_tower"):
        ClipScorer(str(folder / kind), device="cpu").check({"tuned": model})
    ClipScorer(str(folder / kind), device="cpu", allow_same_tower=True).check({"tuned": model})
    ClipScorer(str(scorer_folder), device="cpu").check({"tuned": model})


def test_both_formats_of_a_scorer_score_alike(towers, cases) -> None:
    folder, _ = towers
    square = [picture.resize((32, 32)) for picture in noise(5, 3)]  # nothing to resize, where the two differ
    one, other = (ClipScorer(str(folder / kind), device="cpu").score(square, cases, None)
                  for kind in ("open_clip", "transformers"))  # fmt: skip
    assert one["clip_score"] == pytest.approx(other["clip_score"], abs=1e-5)


def test_a_scorer_that_is_no_clip_is_told(tmp_path: Path) -> None:
    with pytest.raises(PcclipError, match=r"cannot be loaded as a CLIP of transformers.*hub tag"):
        ClipScorer(str(tmp_path), device="cpu").check({"base": random_towers(tmp_path, name=f"{TOWER}-b")})


class Planted(PictureScorer):
    """Reads the score that a picture's first pixel holds."""

    def score(self, pictures, cases, base_pictures):
        values = np.array([picture.getpixel((0, 0))[0] / 100 for picture in pictures])
        values[[case.subject == "house" for case in cases]] = np.nan
        return {"planted": values}


def test_cases_are_resampled_not_pictures(tmp_path: Path, cases) -> None:
    """Many seeds that agree within a case do not narrow the interval."""
    level = {case.name: 20 * at for at, case in enumerate(cases)}
    intervals = []
    for seeds in ([0], list(range(6))):
        plan = Plan(cases, [1.0], seeds, Arithmetic())
        folders = {tower: tmp_path / f"{len(seeds)}" / tower for tower in ("base", "tuned")}
        for (tower, folder), cell, case in (
            (t, c, k) for t in folders.items() for c in plan.cells for k in cases
        ):
            for seed in seeds:
                value = level[case.name] // 2 + 7 * (tower == "tuned") * (cell == "w1")
                file = folder / plan.picture(case, cell, seed).file
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (2, 2), (value, 0, 0)).save(file)
        found = results("few", plan, score([Planted()], plan, folders, show_progress=False))
        base, tuned = found["base"].estimates(), found["tuned"].estimates()
        metric = "arithmetic/few/w1/planted"
        assert base[metric].n == 4  # the house has no score
        intervals.append((base[metric].low, base[metric].high))
        change = found["tuned"].minus(found["base"]).estimates()[metric]
        assert change.value == pytest.approx(0.07)
        assert tuned[metric].value - base[metric].value == pytest.approx(0.07)
        if len(seeds) > 1:
            assert change.low > 0  # paired: the same in every case
    assert intervals[0] == pytest.approx(intervals[1])


def test_two_scorers_with_one_name_are_refused(tmp_path: Path, cases) -> None:
    plan = Plan(cases[:1], [1.0], [0], Arithmetic())
    for cell in plan.cells:
        file = tmp_path / plan.picture(cases[0], cell, 0).file
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2)).save(file)
    with pytest.raises(PcclipError, match="planted"):
        score([Planted(), Planted()], plan, {"base": tmp_path}, show_progress=False)
    assert Files([tmp_path / plan.picture(cases[0], "w1", 0).file])[0].size == (2, 2)


def redder(body: dict, number: int) -> tuple[int, dict[str, str], bytes]:
    """A server that sees: the picture with more red is 'more', a gray picture shows no subject."""
    urls = [
        part["image_url"]["url"] for part in body["messages"][-1]["content"] if part["type"] == "image_url"
    ]
    seen = [np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))), int) for url in urls]
    red = [float((one[..., 0] - one[..., 2]).mean()) for one in seen]
    more = "neither" if red[0] == red[1] else "first" if red[0] > red[1] else "second"
    told = {"more": more} | {f"{side}_shows_subject": bool(one.std() > 0)
                             for side, one in zip(("first", "second"), seen, strict=True)}  # fmt: skip
    answer = {"choices": [{"message": {"content": json.dumps(told)}, "finish_reason": "stop"}]}
    return 200, {}, json.dumps(answer).encode()


def plain(*colour: int) -> Image.Image:
    return Image.new("RGB", (16, 16), colour)


def test_a_judge_compares_in_both_orders_and_is_asked_once(tmp_path: Path, cases) -> None:
    server = Parrot(redder)
    judge = PictureJudge(OpenAIServer(server.url, "seer", concurrency=2), str(tmp_path / "answers"))
    pictures = [plain(250, 0, 10), plain(10, 0, 250), plain(90, 90, 90), plain(200, 0, 0)]
    before = [plain(100, 0, 50)] * 2 + [plain(90, 90, 90)] * 2
    for asked in (8, 8):  # the second time all answers are known
        found = judge.score(pictures, cases[:4], before)
        assert found["judge_attribute"].tolist() == [1.0, 0.0, 0.5, 1.0]
        assert found["judge_class"].tolist() == [1.0, 1.0, 0.0, 1.0]
        assert len(server.bodies) == asked
    assert server.bodies[0]["response_format"]["json_schema"]["strict"] is True
    assert cases[0].target in json.dumps(server.bodies[0]["messages"])
    answers = tmp_path / "answers" / "answers.jsonl"
    answers.write_bytes(answers.read_bytes()[:-15])  # a process that was killed while it wrote
    assert judge.score(pictures, cases[:4], before)["judge_attribute"].tolist() == [1.0, 0.0, 0.5, 1.0]
    assert len(server.bodies) == 9
    assert np.isnan(judge.score(pictures, cases[:4], None)["judge_class"]).all()


def test_a_judge_without_answers_stops(tmp_path: Path, cases) -> None:
    server = Parrot(lambda body, number: (400, {}, b"no pictures here"))
    judge = PictureJudge(OpenAIServer(server.url, "blind"), str(tmp_path))
    with pytest.raises(PcclipError, match=r"2 of 2 questions .* HTTP 400: no pictures here"):
        judge.score([plain(1, 2, 3)], cases[:1], [plain(1, 2, 3)])
