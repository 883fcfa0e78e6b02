"""Texts to ids, sooner than the tokenizer makes them, and the very same."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip import SimpleTokenizer
from open_clip.tokenizer import HFTokenizer

from pcclip.data.tokens import TextTokens, quick

ODD = [
    "",
    "   ",
    "The FIRST picture's sky isn't darker,\tthe second\nis.",
    "caf\u00e9 \u201cquoted\u201d &amp; &lt;b&gt; a&b \u00a0 na\u00efve",
    "\u4e00\u53ea\u732b \u043a\u043e\u0448\u043a\u0430 \U0001f469\u200d\U0001f467 \ufb01n",
    "<|startoftext|> <start_of_text> <end_of_text> x<|endoftext|>y",
    "a\x00b\x07c\x0bd\x0ce\x1b[31m\x7f\x85\u2028f",
    "snow " * 100,
    "w" * 500,
    "1234567890 3.5% -- ...!?",
]
TOKENIZERS = [
    SimpleTokenizer(context_length=length, clean=clean)
    for length, clean in ((77, "lower"), (9, "lower"), (77, "whitespace"), (77, "canonicalize"))
]


@pytest.mark.parametrize(
    "tokenizer", TOKENIZERS, ids=lambda one: f"{one.context_length} {one.clean_fn.__name__}"
)
def test_ids_are_the_tokenizers_own(tokenizer):
    mine = quick(tokenizer)
    assert isinstance(mine, TextTokens)
    assert quick(tokenizer) is mine
    for texts in (ODD, ODD[::-1], ODD[:1]):
        assert torch.equal(mine(texts), tokenizer(texts))

    @settings(max_examples=40, deadline=None, derandomize=True, database=None)
    @given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), min_size=1, max_size=4))
    def any_text(texts):
        assert torch.equal(mine(texts), tokenizer(texts))

    any_text()


def test_what_cannot_be_had_sooner_is_left_as_it_is():
    def other(texts):
        return torch.zeros(len(texts), 3)

    reducing = SimpleTokenizer(reduction_mask="syntax")
    assert quick(other) is other
    assert quick(reducing) is reducing
    theirs = HFTokenizer.__new__(HFTokenizer)
    assert quick(theirs) is theirs
