"""Pictures judged by a vision-language model, through any writer of `pcclip.generation`."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from PIL import Image

from pcclip.arithmetic.cases import Case
from pcclip.arithmetic.scorers import PictureScorer, Scores
from pcclip.data.locks import only_one
from pcclip.errors import PcclipError
from pcclip.generation.prompts import PromptTemplate, RowRejected
from pcclip.generation.rows import Row
from pcclip.generation.writers.base import Request, Sampling, Writer

ANSWERS = "answers.jsonl"
_ATTRIBUTE, _CLASS = "judge_attribute", "judge_class"
_FIRST, _SECOND, _NEITHER = "first", "second", "neither"
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "more": {"type": "string", "enum": [_FIRST, _SECOND, _NEITHER]},
        "first_shows_subject": {"type": "boolean"},
        "second_shows_subject": {"type": "boolean"},
    },
    "required": ["more", "first_shows_subject", "second_shows_subject"],
    "additionalProperties": False,
}
_QUESTION = (
    "First picture: {picture1} Second picture: {picture2} Which of the two would you rather call '{target}'? "
    "Answer 'first', 'second', or 'neither' if they do not differ in that. And for each picture: does it "
    "show what '{base}' shows, whatever else it shows? Answer in JSON with the fields more, "
    "first_shows_subject and second_shows_subject."
)


def _prompt() -> PromptTemplate:
    return PromptTemplate(
        name="picture-arithmetic",
        version=1,
        question=_QUESTION,
        answer="json",
        answer_field="",
        schema=_SCHEMA,
        slots=["target", "base"],
    )


def _sampling() -> Sampling:
    return Sampling(temperature=0.0, top_p=1.0, max_tokens=64)


@dataclass
class PictureJudge(PictureScorer):
    """A vision-language model compares each picture with the one without change, in both orders.

    - `judge_attribute`: 1 where it rather calls the changed picture by `target` (subject and attribute in
      words), 0 where the unchanged one, 0.5 for neither; mean of the two orders.
    - `judge_class`: share of the two answers by which the changed picture still shows the subject.

    Every answer is kept as it comes; what has been answered is not asked again. A question without a valid
    answer leaves its picture without score.

    Attributes:
        writer: the model, such as `pcclip.generation.writers.openai_server.OpenAIServer`.
        answers: folder where answers are kept.
        prompt: how it is asked; slots are picture1, picture2, target and base.
        sampling: how it samples.
        edge: pictures are sent no larger than this, in pixels.
        error_limit: largest share of questions without a valid answer.
    """

    writer: Writer
    answers: str = "data/cache/picture-judge"
    prompt: PromptTemplate = field(default_factory=_prompt)
    sampling: Sampling = field(default_factory=_sampling)
    edge: int = 512
    error_limit: float = 0.02

    def describe(self) -> dict[str, Any]:
        """The model, how it is asked and how it samples."""
        settings = {"prompt": vars(self.prompt).get("version"), "name": self.prompt.name, "edge": self.edge}
        return {"class": f"{type(self).__module__}.{type(self).__qualname__}", **settings} | {
            "writer": self.writer.describe()
        }

    def score(
        self,
        pictures: Sequence[Image.Image],
        cases: Sequence[Case],
        base_pictures: Sequence[Image.Image] | None,
    ) -> dict[str, Scores]:
        """See the class.

        Raises:
            PcclipError: Too many questions have no valid answer, or the writer cannot go on.
        """
        nothing = np.full(len(cases), np.nan)
        if base_pictures is None:
            return {_ATTRIBUTE: nothing, _CLASS: nothing.copy()}
        rows = [
            _Question(2 * at + swapped, case, pictures, base_pictures, self.edge)
            for at, case in enumerate(cases)
            for swapped in range(2)
        ]
        told = self._ask(rows)
        attribute, kept = (np.array(side).reshape(-1, 2).mean(axis=1) for side in zip(*told, strict=True))
        return {_ATTRIBUTE: attribute, _CLASS: kept}

    def _ask(self, questions: Sequence[_Question]) -> list[tuple[float, float]]:
        """Attribute and class of every question, NaN where there is no valid answer."""
        folder = Path(self.answers)
        with only_one(folder / ".lock", "asking about pictures"):
            known = _read(folder / ANSWERS)
            names: dict[int, str] = {}
            problems: list[str] = []

            def requests() -> Iterator[Request]:
                for one in questions:
                    request = self._request(one)
                    names[one.number] = self._name(request)
                    if names[one.number] not in known:
                        yield request

            with _appending(folder / ANSWERS) as file:
                for answer in self.writer.write(requests()):
                    if answer is None:
                        continue
                    if answer.error is not None:
                        problems.append(answer.error)
                    elif (value := _parsed(answer.text)) is None:
                        problems.append(f"no JSON as asked for: {answer.text[:200]!r}")
                    else:
                        known[names[answer.number]] = value
                        print(json.dumps([names[answer.number], value]), file=file, flush=True)
        if len(problems) > self.error_limit * len(questions):
            raise PcclipError(
                f"{self.writer.name}: {len(problems)} of {len(questions)} questions about pictures have no "
                f"valid answer; the last: {problems[-1]}. What was answered is kept in {folder}; start again "
                "when it is mended."
            )
        nothing = (float("nan"), float("nan"))
        return [
            one.read(known[name]) if (name := names[one.number]) in known else nothing for one in questions
        ]

    def _request(self, one: _Question) -> Request:
        row = one.row()
        try:
            messages = self.prompt.render(row).messages
        except RowRejected as reason:
            raise PcclipError(f"prompt {self.prompt.name!r}: {reason} ({row.key})") from reason
        seed = self.sampling.row_seed(row.key)
        return Request(row, messages, seed, self.sampling, self.prompt.json_schema())

    def _name(self, request: Request) -> str:
        decides = [self.writer.describe(), request.messages, request.seed, vars(self.sampling)]
        return hashlib.sha256(json.dumps(decides, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True)
class _Question:
    """The changed picture beside the unchanged one; odd numbers show the unchanged one first."""

    number: int
    case: Case
    pictures: Sequence[Image.Image]
    base_pictures: Sequence[Image.Image]
    edge: int

    def row(self) -> Row:
        at, swapped = divmod(self.number, 2)
        shown = [_Encoded(self.pictures[at], self.edge), _Encoded(self.base_pictures[at], self.edge)]
        first, second = reversed(shown) if swapped else shown
        return Row(
            self.number,
            f"{self.case.name}-{swapped}",
            "first",
            "second",
            picture1=first,
            picture2=second,
            slots={"target": self.case.target, "base": self.case.base},
        )

    def read(self, answer: Mapping[str, Any]) -> tuple[float, float]:
        mine, other = (_SECOND, _FIRST) if self.number % 2 else (_FIRST, _SECOND)
        return {mine: 1.0, other: 0.0, _NEITHER: 0.5}[answer["more"]], float(answer[f"{mine}_shows_subject"])


class _Encoded:
    """A picture as PNG, small enough."""

    def __init__(self, picture: Image.Image, edge: int) -> None:
        self._picture, self._edge = picture, edge

    def read_bytes(self) -> bytes:
        picture = self._picture.copy()
        picture.thumbnail((self._edge, self._edge))
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        return buffer.getvalue()


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text, strict=False)
        sides = [value[f"{side}_shows_subject"] for side in (_FIRST, _SECOND)]
        right = value["more"] in (_FIRST, _SECOND, _NEITHER) and all(isinstance(one, bool) for one in sides)
        return {name: value[name] for name in _SCHEMA["required"]} if right else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """Answers by question; the last line may be half written, by a process that was killed."""
    found: dict[str, dict[str, Any]] = {}
    if path.is_file():
        for line in path.read_text("utf-8", "replace").splitlines():
            try:
                name, value = json.loads(line)
            except (ValueError, TypeError):
                continue
            found[name] = value
    return found


@contextmanager
def _appending(path: Path) -> Iterator[TextIO]:
    torn = path.is_file() and path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")
    with path.open("a", encoding="utf-8") as file:
        file.write("\n" * torn)
        yield file
