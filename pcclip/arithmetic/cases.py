"""What is changed in what: cases of a subject ("leopard") and an attribute ("snowy"), from a data file."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pcclip.evaluation.data_files import read_data_file
from pcclip.evaluation.questions import Fields

SCHEMA = 1
PACKAGED = Path(__file__).with_name("tables")
"""Case files that come with the package; they are named without folder and ending."""


@dataclass(frozen=True)
class Case:
    """One subject and the attribute that it is to get.

    Attributes:
        subject: What is drawn: "leopard".
        attribute: What it is to have more of, by its name in the data file: "arctic".
        base: The prompt that the arithmetic starts from: "a photo of a leopard".
        change: The text whose embedding is added: "snowier".
        opposite: The text of the opposite change: "less snowy"; None where there is none.
        target: The subject with the attribute in words: "a photo of a leopard in the snow".
        against: The subject with the opposite in words; None where there is none.
        groups: Names under which cases are averaged, such as "place".
    """

    subject: str
    attribute: str
    base: str
    change: str
    opposite: str | None
    target: str
    against: str | None
    groups: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """`SUBJECT/ATTRIBUTE`, fit for folders."""
        return f"{slug(self.subject)}/{slug(self.attribute)}"


@dataclass(frozen=True)
class CaseFile:
    """The cases of a data file.

    A file is a YAML mapping with `schema: 1`, `name`, `source`, `prompt` (the base prompt) and `attributes`:
    by name each one's `change`, `opposite` (or null), `target`, `against` (or null), `groups` and `subjects`.
    In prompts `{}` stands for the subject and `{a}` for the subject with its article.

    Attributes:
        path: The file.
        name: Short; results are called by it.
        source: Where subjects and attributes come from.
        cases: All of them, by attribute.
    """

    path: Path
    name: str
    source: str
    cases: tuple[Case, ...]

    @classmethod
    def load(cls, name: str) -> CaseFile:
        """Reads a file, or one that comes with the package.

        Args:
            name: Path of a YAML file, or the name of a packaged one, such as `cifar100-awa2`.

        Raises:
            PcclipError: It is missing or broken.
        """
        path = Path(name)
        if not path.suffix and not path.exists():
            path = PACKAGED / f"{name}.yaml"
        fields = read_data_file(path, "file of cases", PACKAGED, SCHEMA)
        prompt = fields.text("prompt")
        attributes = Fields(fields.raw.get("attributes"), f"{path}: attributes")
        cases = [
            case
            for attribute in attributes.raw
            for case in _cases(str(attribute), Fields(attributes.raw[attribute],
                                                      f"{path}: attributes: {attribute}"), prompt)
        ]  # fmt: skip
        if not cases:
            raise fields.error("has no cases: list 'subjects' under each of its 'attributes'")
        twice = [name for name, count in Counter(case.name for case in cases).items() if count > 1]
        if twice:
            raise fields.error(f"has the case {twice[0]!r} twice")
        return cls(path, fields.text("name"), fields.text("source"), tuple(cases))


def slug(text: str) -> str:
    """A text as part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _cases(attribute: str, fields: Fields, prompt: str) -> list[Case]:
    def optional(key: str) -> str | None:
        return None if fields.raw.get(key) is None else fields.text(key)

    target, against = fields.text("target"), optional("against")
    return [
        Case(
            subject,
            attribute,
            _filled(prompt, subject),
            fields.text("change"),
            optional("opposite"),
            _filled(target, subject),
            None if against is None else _filled(against, subject),
            fields.texts("groups", optional=True),
        )
        for subject in fields.texts("subjects")
    ]


def _filled(template: str, subject: str) -> str:
    article = "an" if subject[:1].lower() in "aeiou" else "a"
    return template.replace("{a}", f"{article} {subject}").replace("{}", subject)
