"""The filter of written answers: what is cut off, what is thrown away, and why; no list of junk strings.

    clean("Sure! The first picture is darker.", Limits(min_chars=0))
    Accepted(text="The first picture is darker.", cuts=("opening",))

Rules of letters, repetition and markup hold for every language. The rules that read words (politeness,
refusals, contrast) know English and let pass what they do not know. Fluent nonsense passes too: that is for
the judge.
"""

from pcclip.generation.filters.clean import clean
from pcclip.generation.filters.tally import Tally
from pcclip.generation.filters.types import Accepted, Context, Limits, Reason, Rejected

__all__ = ["Accepted", "Context", "Limits", "Reason", "Rejected", "Tally", "clean"]
