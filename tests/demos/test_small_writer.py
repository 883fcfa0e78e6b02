"""The small language model's lessons and training."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from pcclip.data.sources.shapes import Shapes
from pcclip.demos import command
from pcclip.demos.claims import Judgement, judge
from pcclip.demos.language_model import encode_prompts, make_model, make_tokenizer
from pcclip.demos.lessons import SPARE_CAPTIONS, Lesson, Lessons
from pcclip.demos.packing import IGNORED, Tokens, pack
from pcclip.demos.small_writer import train
from pcclip.demos.told import differing
from pcclip.generation.prompts import PromptTemplate
from pcclip.generation.rows import Row

ROOT = Path(__file__).parents[2]
PROMPT = ROOT / "data_recipes" / "prompts" / "shapes_captions.yaml"
TINY = [
    "--pictures",
    "40",
    "--steps",
    "3",
    "--lessons",
    "2",
    "--answers",
    "2",
    "--width",
    "32",
    "--layers",
    "1",
]


@pytest.fixture(scope="module")
def lessons() -> list[Lesson]:
    prompt = PromptTemplate(**yaml.safe_load(PROMPT.read_text()))
    pictures = list(Shapes(seed=9, train=60, captions=4 + SPARE_CAPTIONS).pictures("train"))
    return list(Lessons(pictures, prompt, 3, 0).draw(40))


def test_answers_are_right_and_told_by_the_captions_that_are_shown(lessons: list[Lesson]) -> None:
    for lesson in lessons:
        row = lesson.row
        for answer in lesson.answers:
            judged, attribute = judge(answer, row.attributes1, row.attributes2)
            assert judged is Judgement.RIGHT
            assert attribute in differing(row.captions1, row.captions2)


def test_questions_are_those_of_the_writing_job(lessons: list[Lesson]) -> None:
    prompt = PromptTemplate(**yaml.safe_load(PROMPT.read_text()))
    for lesson in lessons:
        assert len(lesson.row.captions1) == len(lesson.row.captions2) == 4
        assert lesson.messages == prompt.render(lesson.row).messages
        shown = lesson.messages[-1]["content"]
        assert all(f"- {caption}\n" in shown for caption in (*lesson.row.captions1, *lesson.row.captions2))
        for messages, _ in lesson.described:
            assert messages[-1]["content"].split("\n")[:-1] == shown.split("\n")[:-1]


def test_a_packed_batch_is_what_questions_one_by_one_are(lessons: list[Lesson]) -> None:
    torch.manual_seed(0)
    tokenizer = make_tokenizer(text for x in lessons for text in (x.messages[0]["content"], *x.answers))
    model = make_model(tokenizer, 64, 2).eval()
    groups = []
    for lesson in lessons[:3]:
        asked = [(lesson.messages, answer) for answer in lesson.answers] + list(lesson.described)
        prompts = encode_prompts(tokenizer, [messages for messages, _ in asked])
        answers = [tokenizer(a, add_special_tokens=False)["input_ids"] for _, a in asked]
        groups.append(
            [Tokens(p, [*a, 1], [1.0] * (len(a) + 1)) for p, a in zip(prompts, answers, strict=True)]
        )
    batch = pack(groups, 0.0)
    with torch.inference_mode():
        packed = model(
            input_ids=batch.tokens, position_ids=batch.positions, attention_mask=batch.mask
        ).logits.log_softmax(-1)
        for at, group in enumerate(groups):
            mine = [
                packed[at, place, target].item()
                for place, target in enumerate(batch.targets[at].tolist())
                if target != IGNORED and batch.weights[at, place] > 0
            ]
            alone = []
            for question in group:
                ids = [*question.prompt, *question.answer]
                logs = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
                alone += [logs[p - 1, ids[p]].item() for p in range(len(question.prompt), len(ids))]
            assert mine == pytest.approx(alone, abs=1e-4)


def words(out: Path, *more: str) -> list[str]:
    return ["--out", str(out), "--prompt", str(PROMPT), *TINY, *more]


@pytest.mark.slow
def test_it_is_saved_as_transformers_loads_it_and_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "writer"
    (tmp_path / ".writer.partial" / "model").mkdir(parents=True)  # a run that was killed
    monkeypatch.setattr(sys, "argv", ["small_writer", *words(out)])
    command(train)
    assert [path.name for path in tmp_path.iterdir()] == ["writer"]
    tokenizer, model = (
        AutoTokenizer.from_pretrained(out / "model"),
        AutoModelForCausalLM.from_pretrained(out / "model"),
    )
    assert model.config.eos_token_id == tokenizer.eos_token_id
    row = Row(0, "k", "a", "b", ("one red star", "a star"), ("two blue rings",))
    messages = PromptTemplate(**yaml.safe_load(PROMPT.read_text())).render(row).messages
    engines = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=False
    )
    assert encode_prompts(tokenizer, [messages]) == [engines]
    assert tokenizer.decode(engines[-2:]) == "<|end|><|assistant|>"
    before = (out / "model" / "model.safetensors").read_bytes()
    capsys.readouterr()
    command(train)
    assert "already made" in capsys.readouterr().out
    assert (out / "model" / "model.safetensors").read_bytes() == before
    other = subprocess.run(
        [sys.executable, "-m", "pcclip.demos.small_writer", *words(out, "--seed", "1")],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert other.returncode == 1
    assert "'seed' (0, now 1)" in other.stderr
