"""A writer for smoke runs: one sentence for any prompt, without a model."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from pcclip.generation.writers.base import Answer, Request, Writer


@dataclass
class StandIn(Writer):
    """Says something about the row's own captions or classes, in the form that the prompt asks for."""

    name = "stand-in"

    def tokenizer_name(self) -> str:
        return "./none"  # a dry run asks no hub for it

    def write(self, requests: Iterator[Request]) -> Iterator[Answer | None]:
        for request in requests:
            row = request.row
            one, two = (given[0] if given else name for given, name in
                        ((row.captions1, row.image1), (row.captions2, row.image2)))  # fmt: skip
            text = f"The first picture shows {one.strip('. ')} in a brighter and larger way"
            text += f" than the second one, which shows {two.strip('. ')}." if two else "."
            if request.schema is not None:
                (field,) = request.schema["required"]
                text = json.dumps({field: text})
            yield Answer(row.number, text)
