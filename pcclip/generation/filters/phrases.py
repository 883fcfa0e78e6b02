"""How chat models (in English) open, close, ask back and decline: patterns, one a line, in lower case."""

from __future__ import annotations

import re

from pcclip.generation.filters.languages import word_set


def any_of(*patterns: str) -> str:
    """A pattern that matches where one of the patterns does."""
    return "(?:" + "|".join(patterns) + ")"


# -- before the answer ------------------------------------------------------------------------
_COURTESIES = any_of(
    r"yes|yeah|sure(?: thing)?|certainly|of course|absolutely|okay|ok|alright|all right",
    r"(?:great|good|excellent|interesting) question|got it|understood|no problem|let's see",
    r"hello|hi(?: there)?|thanks?(?: you)?(?: for [^.!,:\n]*)?",
    r"(?:i'd be |i'm |i am |i would be )?(?:happy|glad) to help",
)
POLITE = re.compile(rf"^\W*(?:{_COURTESIES}\s*(?:[!.,:\n]+|-\s|$)\s*)+", re.I)

_ANSWER_NAMES = any_of(
    "answer", "response", "reply", "output", "a", "assistant", "ai", "model", "differences?", "result"
)
ANSWER_LABEL = re.compile(
    rf"^[\s#*>\"]*(?:(?:final|short|visual|main|key) )?{_ANSWER_NAMES} ?\d*\s?\*{{0,2}}:\*{{0,2}}\s*", re.I
)

_ANNOUNCES = any_of(
    "differences?", "differs?", "differing", "answer", "comparison", "compare[ds]?", "following"
)
_HERE = any_of("here's", "here is", "here are")
HEADING = re.compile(
    rf"^[^.!?\n]{{0,120}}?\b(?:{_ANNOUNCES}|{_HERE})\b[^.!?:\n]{{0,120}}:"
    r"(?:\s*\n|\s+(?=(?-i:[A-Z])|[\"*\d-])|\s*$|\s+(?=the (?:first|second)\b))",
    re.I,
)

# -- after the answer -------------------------------------------------------------------------
_ROLES = any_of(
    "user|human|assistant|system|bot|ai|chatbot|student|teacher|q|a|question|answer|response|reply|example",
    "input|output(?: format)?|instructions?|prompt|task|query|follow-up|caption|difference",
)
TURN = re.compile(rf"^[\s#*>]*{_ROLES}\s?\d*\s?\*{{0,2}}:", re.I)
PICTURE_LABEL = re.compile(
    r"^[\s#*>]*(?:image|picture|photo|caption|first (?:image|picture)) ?(\d*)\s?\*{0,2}:", re.I
)
SEPARATOR = re.compile(r"^\s*(?:#{1,6}(?:\s|$)|[-=*_]{3,}\s*$|```|~~~)")
_OWN_WORDS = "(?:answer|response|comparison|description|difference)"
# A later sentence that opens like this is a note, politeness, or the model about itself.
ASIDE = re.compile(
    r"^[\s(\[*_\"]*"
    + any_of(
        r"(?:please )?(?:note|remember|keep in mind)\b",
        r"it(?:'s| is) (?:\w+ )?(?:important|worth|good) (?:to note|noting)",
        r"(?:n\.?b|p\.?s|disclaimer|caveat|explanation|reasoning|rationale|source|references?)\b\W?\s?[:.]",
        r"(?:i|i'm|i've|i'd|i'll|my|you|your|you're|you'll)\b",
        r"(?:please|let me|let's|feel free|thanks?|hope|happy to)\b",
        r"(?:would|do|did|can|could|is there|are there|shall|should|may) (?:you|i|we|anything|any other)\b",
        r"have a \w+|if you\b|as an? (?:\w+ )?(?:ai|language model|assistant)\b",
        rf"(?:this|the above|these) {_OWN_WORDS}s?\b.*\b(?:based|captions?|assum)",
        r"sorry\b|(?:good|great) (?:luck|job)",
    ),
    re.I,
)

# -- instead of an answer ---------------------------------------------------------------------
_CANNOT = any_of(
    r"can(?:'t|not| not)|could(?:n't| not)|won't|will not|(?:would|'d) rather not|do(?:n't| not)",
    r"(?:am|was|'m) (?:not |\w+ly |just )?(?:able|unable|incapable)|(?:must|have to) decline",
    r"lack|aim to avoid|(?:would|'d) need|need more",
)
_DEED = any_of(
    "see|view|look|access|open|tell|say|know|determine|compare|describe|provide|answer|help|assist|give|guess",
    "do (?:that|this)|make|have|feel comfortable|process|understand|identify|display",
    "be (?:sure|certain)|images?|pictures?|information|more",
)
# What is done with the task, not with the things in the pictures.
_SAY = "(?:say|tell|know|determine|compare|describe|answer|provide|give)"
_TASK = "(?:question|task|request|difference|comparison)"
_ASK_FOR = "(?:provide|upload|attach|share|send|clarify|tell|describe|give|try)"
_PICTURES = r"(?:images?|pictures?|photos?)"
REFUSAL = re.compile(
    any_of(
        rf"\bi(?: \w+){{0,2}}?\s?{_CANNOT}(?:\W+\w+){{0,3}}?\W+{_DEED}\b",
        rf"\bwe (?:can't|cannot|can not|couldn't) (?:\w+ly )?{_SAY}\b",
        rf"\b{_TASK} (?:\w+ )?(?:can't|cannot|can not|could not|couldn't) be \w+",
        r"\bcaptions?(?: \w+){0,4} do(?:es)?(?:n't| not) (?:specify|provide|contain|mention|give|include)\b",
        r"\b(?:as|i'm|i am|i was|just) (?:an?|your) (?:\w+ ){0,2}(?:ai|language model|assistant|chatbot)\b",
        r"\b(?:i'm|i am|we're|we are) (?:\w+ )?(?:sorry|afraid|not sure)\b|\bi (?:\w+ )?apologi[sz]e",
        r"^\W*(?:sorry|apologies|my apologies|unfortunately|regrettably)\b",
        rf"\b(?:not |im)possible (?:for \w+ )?to (?:\w+ly )?{_SAY}\b",
        r"\bnot (?:\w+ )?possible (?:at|without)\b",
        r"(?:^|[.;,] )it(?:'s| is) (?:\w+ )?(?:hard|difficult) to (?:\w+ly )?(?:tell|say|know|determine)\b",
        r"\bnot (?:\w+ )?enough (?:information|detail|context)",
        rf"\bno {_PICTURES} (?:was|were|is|are|has|have) (?:been )?(?:provided|attached|given|shared)",
        rf"\bno {_PICTURES} in (?:our|this|your) (?:conversation|message|chat)",
        rf"\b(?:please|could you|can you) (?:\w+ )?{_ASK_FOR}\b",
        r"\byour (?:request|question|message|query)\b|\bcontent policy\b|\bi (?:was|am) trained\b",
    )
)
# No refusal is without one of these words, and few answers have one: searching for the pattern takes longer.
REFUSAL_WORDS = word_set(
    """i i'm i'd i've i'll we we're task question request difference comparison caption captions sorry
    apologies unfortunately regrettably possible impossible hard difficult enough no please could can your
    policy ai language assistant chatbot"""
)
SAME = re.compile(
    any_of(
        r"\b(?:no|any|without) (?:\w+ ){0,2}(?:differen\w+|change)\b|\bnothing (?:is )?different\b",
        r"\b(?:not|n't) (?:\w+ )?anything different\b",
        rf"\b(?:{_PICTURES}|they|both|scenes?) (?:(?:shown|\w+ly|both) ){{0,2}}"
        r"(?:are|is|looks?|appears?|seems?) (?:to be )?(?:\w+ly )?"
        r"(?:the same|identical|alike)\s*(?:[.,;!]|$)",
        r"^\W*(?:none|nothing|identical|(?:the )?same)\W*$",
    )
)
SAME_WORDS = word_set(
    "no any without nothing not anything same identical alike none don't doesn't isn't aren't didn't"
)
EXCEPT = re.compile(
    r"\b(?:other than|except\w*|but|although|though|only|just|apart|besides|however|while|whereas|yet)\b"
)
