"""The job with prompts that show both pictures: a tiny Idefics3 in the real engine, real COCO photos."""

import json
from pathlib import Path

import pytest
import yaml
from engine_settings import ENGINE, ENVIRONMENT
from jobs import PROMPTS, recipe, records, triples, write_rows

from pcclip.cli import main
from pcclip.data.inspect import inspect_shards
from pcclip.generation.prompts import PromptTemplate
from pcclip.generation.rows import Row

MISSING, BROKEN, NO_PICTURE = 5, 9, 13


@pytest.fixture(scope="module")
def seeing(captions: dict[int, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny_idefics import make_vision_language_model

    texts = [caption for several in captions.values() for caption in several]
    return make_vision_language_model(tmp_path_factory.mktemp("model") / "tiny-idefics", texts)


def picture_lines(pictures: list[Path], folder: Path) -> list[dict]:
    """Pairs of photos, the first two of which are one pair in both directions; three lines lack something."""
    pairs = [(0, 1), (1, 0), (0, 2), (2, 1)] + [(n % 16, 16 + n % 15) for n in range(28)] + [(0, 1)]
    lines = []
    for number, (one, two) in enumerate(pairs):
        first, second = str(pictures[one]), str(pictures[two])
        if number == MISSING:
            second = str(folder / "absent.jpg")
        elif number == BROKEN:
            torn = folder / "torn.jpg"
            whole = pictures[two].read_bytes()
            torn.write_bytes(whole[: len(whole) // 2])  # its head is whole: only who decodes it finds out
            second = str(torn)
        elif number == NO_PICTURE:
            second = str(Path(__file__))
        line = {"key": f"pair-{number:04d}", "image1": pictures[one].stem, "image2": pictures[two].stem}
        lines.append(line | {"picture1": first, "picture2": second})
    return lines


def prompt_tokens(model: Path, template: PromptTemplate, line: dict) -> int:
    """Tokens that the chat has by the model's own files, with each picture's own."""
    from tiny_idefics import PICTURE_TOKENS
    from transformers import AutoTokenizer

    row = Row(0, "k", "a", "b", picture1=Path(line["picture1"]), picture2=Path(line["picture2"]))
    chat = json.loads(json.dumps(template.render(row).messages).replace("image_url", "image"))
    tokenizer = AutoTokenizer.from_pretrained(model)
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert text.count("<image>") == 2
    return len(tokenizer(text, add_special_tokens=False)["input_ids"]) + 2 * (PICTURE_TOKENS - 1)


@pytest.mark.slow
def test_the_engine_sees_both_pictures(seeing: Path, real_data: Path, tmp_path: Path) -> None:
    pictures = sorted((real_data / "coco" / "val2017").glob("*.jpg"))[:40]
    lines = picture_lines(pictures, tmp_path)
    init = {
        "model": str(seeing),
        "engine": ENGINE | {"limit_mm_per_prompt": {"image": 2}},
        "environment": ENVIRONMENT,
        "window": 16,
        "log": str(tmp_path / "engine.log"),
    }
    config = recipe(
        tmp_path,
        write_rows(tmp_path / "rows.jsonl", lines),
        {"class_path": "pcclip.generation.writers.vllm_engine.VllmEngine", "init_args": init},
        prompt=str(PROMPTS / "picture_pair.yaml"),
        sampling={"max_tokens": 16, "temperature": 0.0},
        error_limit=0.1,
    )
    assert main(["write", "--config", str(config)]) == 0, (tmp_path / "engine.log").read_text()[-3000:]
    told = records(tmp_path / "out")
    assert [r["row"] for r in told] == list(range(len(lines)))
    assert {r["row"] for r in told if r["error"]} == {BROKEN}
    assert "Failed to load image" in told[BROKEN]["error"]
    assert told[MISSING]["reason"] == "no file for picture2"
    assert told[NO_PICTURE]["reason"] == "picture2 is neither JPEG, PNG nor WebP"
    template = PromptTemplate(**yaml.safe_load((PROMPTS / "picture_pair.yaml").read_text()))
    asked = [r for r in told if r["row"] not in (MISSING, BROKEN, NO_PICTURE)]
    assert {r["tokens"][0] for r in asked} == {prompt_tokens(seeing, template, lines[0])}
    # All rows ask the same words, so that what differs comes from the pictures and their order.
    texts = [r["text"] for r in asked]
    assert texts[-1] == texts[0]
    assert len(set(texts[:4])) == 4
    assert len(set(texts)) > 20

    made = triples(tmp_path / "out")
    assert [t.key for t in made] == [r["key"] for r in told if r["difference"]]
    assert len(made) >= 20
    assert inspect_shards(str(tmp_path / "out" / "triples")).fault_count == 0
