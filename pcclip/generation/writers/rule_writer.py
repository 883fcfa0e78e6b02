"""The writer without a model: differences by rules from the rows' attributes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

from pcclip.data.sources.base import DescribedPictures
from pcclip.errors import PcclipError
from pcclip.generation.rules import RuleWriter
from pcclip.generation.vocabulary import Attribute, Degree
from pcclip.generation.writers.base import Answer, Request, Writer


@dataclass
class RuleTextWriter(Writer):
    """Writes by rules, from what is known about the pictures.

    Args:
        source: The picture source whose attributes and names for pictures are used.
        seed: With the row's key it decides every choice.
        margins: The smallest difference that is talked about, by attribute of degree, in units of the values;
            needed for attributes whose own margin is in standard deviations.
        clause_shares: Shares of texts with one, two, three ... differences.
        category_weight: How often an attribute of kind is spoken of, relative to one of degree.
    """

    name: ClassVar[str] = "rules"
    needs_prompt: ClassVar[bool] = False

    source: DescribedPictures
    seed: int = 0
    margins: dict[str, float] = field(default_factory=dict)
    clause_shares: list[float] = field(default_factory=lambda: [1.0])
    category_weight: float = 0.4

    def write(self, requests: Iterator[Request]) -> Iterator[Answer | None]:
        """Answers in the order of the requests."""
        rules = self._writer
        for request in requests:
            row = request.row
            try:
                written = rules.write(row.key, row.attributes1, row.attributes2)
            except Exception as error:  # whatever is wrong with one row's attributes is that row's error
                yield Answer(row.number, "", "error", error=f"{type(error).__name__}: {error}")
                continue
            if written is None:
                yield Answer(row.number, "", "nothing differs by its margin")
            else:
                notes = {"attributes": list(written.attributes), "frames": list(written.frames)}
                yield Answer(row.number, written.text, notes=notes)

    def describe(self) -> dict[str, Any]:
        """The settings with the words that the rules draw on."""
        words = {
            "attributes": [asdict(attribute) for attribute in self._writer.attributes],
            "references": [asdict(names) for names in self._writer.references],
        }
        digest = hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()[:16]
        return super().describe() | {"source": type(self.source).__qualname__, "words": digest}

    @cached_property
    def _writer(self) -> RuleWriter:
        """The rules; some sources read the words of their attributes from files."""
        return RuleWriter(
            tuple(map(self._with_margin, self.source.attributes())),
            self.source.references(),
            self.seed,
            self.clause_shares,
            self.category_weight,
        )

    def _with_margin(self, attribute: Attribute) -> Attribute:
        if not isinstance(attribute, Degree):
            return attribute
        if attribute.name in self.margins:
            return replace(attribute, margin=self.margins[attribute.name], margin_unit="value")
        if attribute.margin_unit == "deviation":
            raise PcclipError(
                f"writer: the margin of {attribute.name!r} is in standard deviations. Give it in units of "
                f"the values: writer.margins: {{{attribute.name}: NUMBER}}."
            )
        return attribute
