"""Text-driven picture retrieval: a picture and a change find the changed picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pcclip.errors import PcclipError
from pcclip.evaluation.protocol import Subject
from pcclip.evaluation.protocols.change_cases import Others, change_cases
from pcclip.evaluation.protocols.change_directions import caption_rows, image_directions, text_directions
from pcclip.evaluation.protocols.change_search import ChangeProtocol, ChangeQueries
from pcclip.evaluation.protocols.difference_cases import draw_pictures
from pcclip.evaluation.protocols.difference_tasks import Gallery


@dataclass(frozen=True)
class ChangeRetrieval(ChangeProtocol):
    """Finds a picture in which one attribute has changed as a text says and all others have stayed.

    The task of SIMAT (Couairon et al. 2022) on the attributes that a set's questions ask about. The query is
    g(picture) + weight * direction; candidates are N pictures of the split without that picture. Right is a
    candidate with the named value (category), or a value that differs by more than the question's margin in
    the named sense (degree), whose other attributes are all the same: equal categories, degrees within the
    tolerance. Where several are right, the first of them counts; a candidate that misses one tolerance is
    wrong, however near it is.
    Pictures are asked about only where a right candidate exists, once for each such change.

    Methods, side by side:

    - `sentence`: the direction is f("the first is larger than the second"), the changed picture being the
      first, as the text tower is finetuned to read it; `direction` takes off the sentence about the swapped
      pair. Both with seen wordings and, after `-unseen`, with held-out ones;
    - `text_difference` (training-free): f("a large object") - f("a small object"), of length 1 as the above;
    - `word_delta` (training-free, SIMAT's): f(caption of the changed picture) - f(caption of the picture),
      the two differing in the changed words, as long as it is;
    - `nearest`: the picture alone, weight 0;
    - `sentence_alone`, `caption_alone`: without the picture, by the sentence, by a caption of the changed
      picture (which knows the picture's categories);
    - `image_direction`: the mean difference of train pictures with the one value and with the other: what a
      direction that is the same for all pictures can do, were the text perfect;
    - `chance`: a random order, exactly.

    Metrics: `change_retrieval/S-mean/METHOD_SCORE`, S being the set's name, as means over questions (the
    median rank over all queries); `change_retrieval/S-ATTRIBUTE/METHOD_recall_at_K` with the largest K;
    `-unseen` behind those. Scores, the choice of the weight and the curve over it: see `ChangeProtocol`.

    Attributes:
        queries: Per question, drawn by chance; all, where there are fewer.
        candidates: N; queries are drawn among them too.
        tolerance: Two pictures are the same in a degree if they differ by at most so many of its question's
            margins.
        caption: Caption template for `word_delta`, with categories in braces ("a {colour} {kind}"); null for
            the plain phrases of all categories. The phrase of a degree that changes is put behind it.
        learned_on: Split of which `image_direction` is the mean; null leaves it out.
        label: Put behind the set's name, to tell apart several of these on one set.
    """

    name: ClassVar[str] = "change_retrieval"

    queries: int = 300
    candidates: int = 2000
    tolerance: float = 1.0
    caption: str | None = None
    learned_on: str | None = "train"
    label: str = ""

    def task(self) -> str:
        """The label."""
        return self.label

    def asked(self, subject: Subject) -> tuple[Gallery, list[ChangeQueries], dict[str, Any]]:
        """Draws pictures for every question.

        Raises:
            PcclipError: There are no questions, or no picture is a changed one of another.
        """
        data = subject.data
        if not data.questions:
            raise PcclipError(
                f"{data.path}: has no 'questions', so nothing is known to change between its pictures. Use "
                "change_table.ChangeTable with a table of changes, or leave this evaluation out."
            )
        pictures = draw_pictures(data, self.candidates, self.seed)
        others = Others.of(data, self.tolerance)
        found: list[ChangeQueries] = []
        for question in data.questions:
            cases = change_cases(data, question, others, pictures, self.queries, self.seed)
            if cases is None:
                continue
            directions, alone = text_directions(cases, subject.encoders)
            changed, own = caption_rows(data, cases, others, self.caption or "", subject.encoders)
            directions["word_delta"], alone["caption_alone"] = changed - own, changed
            if self.learned_on is not None:
                directions["image_direction"] = image_directions(
                    cases, subject.split(self.learned_on), self.seed
                )
            found.append(ChangeQueries(question.attribute, cases.first, cases.right, directions, alone))
        if not found:
            raise PcclipError(
                f"{data.path}: no two of {len(pictures)} pictures of split {data.split!r} differ in one "
                "attribute and are the same in all others. Raise 'tolerance' or 'candidates'."
            )
        notes = {"questions without a query": len(data.questions) - len(found)}
        return Gallery.of(pictures, subject.features), found, notes
