"""Reads difference texts without knowing their frames: which picture is said to have more of what.

Written independently of `pcclip.generation`: from English word order and marks of comparison only, so that a
frame that says the wrong thing is found.
"""

import re

MORE = {
    "size": ["larger", "bigger", "less small"],
    "number": ["more objects", "more shapes", "a greater number of objects", "more crowded", "fuller"],
    "brightness": ["brighter", "lighter", "less dark", "more light"],
    "horizontal": ["further to the right", "more to the right", "further right", "closer to the right"],
    "vertical": ["higher up", "higher", "nearer the top", "closer to the top"],
    "texture": ["rougher", "coarser", "busier", "less smooth", "more structure"],
    "green": ["greener", "more green", "a stronger green tone"],
    "blue": ["bluer", "more blue", "a stronger blue tone"],
    "red": ["redder", "more red", "a stronger red tone"],
}
LESS = {
    "size": ["smaller", "tinier", "less large"],
    "number": ["fewer objects", "fewer shapes", "a smaller number of objects", "less crowded", "less full"],
    "brightness": ["darker", "dimmer", "less bright", "less light"],
    "horizontal": ["further to the left", "more to the left", "further left", "closer to the left"],
    "vertical": ["lower down", "lower", "nearer the bottom", "closer to the bottom"],
    "texture": ["smoother", "calmer", "less rough", "less structure"],
    "green": ["less green", "a weaker green tone"],
    "blue": ["less blue", "a weaker blue tone"],
    "red": ["less red", "a weaker red tone"],
}
_PICTURE = "(?:picture|image|photo)"
_NAMES = [
    (1, rf"the first(?: {_PICTURE}| one)?|{_PICTURE} (?:one|1|A)|the former"),
    (2, rf"the second(?: {_PICTURE}| one)?|{_PICTURE} (?:two|2|B)|the latter"),
    (0, rf"the other(?: {_PICTURE}| one)?"),
]
_NAME = re.compile("|".join(rf"(?P<n{number}>\b(?:{names})\b)" for number, names in _NAMES))
# A picture named right after one of these is what the subject is compared with.
_COMPARAND = re.compile(
    r"\b(?:than|than in|compared with|compared to|in contrast to|relative to|in comparison with|against"
    r"|unlike|not like|differs from|from|and not)(?: the (?:object|shape|surface|one)s?(?: in)?)? $"
)
_NEGATED = re.compile(r"\b(?:not|instead of|rather than)(?: an?)? $")


def read(text: str, categories: dict[str, list[str]]) -> list[tuple[str, int, str]]:
    """Everything a text claims.

    Returns:
        (attribute, picture, claim): picture 1 or 2 has "more" or "less", or has the value `claim`; or "not
        VALUE" where the text says that it does not.
    """
    claims = []
    for part in re.split(r"; |\. |, and ", text):
        claims += _read_part(part, categories)
    return claims


def _read_part(part: str, categories: dict[str, list[str]]) -> list[tuple[str, int, str]]:
    said = _said(part, categories)
    names = [(m.start(), int((m.lastgroup or "n0")[1:]), m) for m in _NAME.finditer(part)]
    known = [number for _, number, _ in names if number]
    named = [(at, number or 3 - known[0], m) for at, number, m in names]
    assert said, f"nothing is said in {part!r}"
    claims = []
    for attribute in {attribute for _, attribute, _ in said}:
        about = [(at, claim) for at, a, claim in said if a == attribute]
        positive = [(at, claim) for at, claim in about if not _NEGATED.search(part[:at])]
        if len(positive) == 2:
            # "x is larger while y is smaller": pictures and claims come in the same order.
            assert len(named) == 2, part
            claims += [(attribute, n, claim) for (_, n, _), (_, claim) in zip(named, positive, strict=True)]
            continue
        assert len(positive) == 1, f"{part!r} says {about} of {attribute}"
        subject = _subject(part, named)
        claims.append((attribute, subject, positive[0][1]))
        claims += [(attribute, subject, f"not {c}") for at, c in about if (at, c) not in positive]
    return claims


def _subject(part: str, named: list) -> int:
    compared = [n for at, n, _ in named if _COMPARAND.search(part[:at])]
    subjects = [n for at, n, _ in named if not _COMPARAND.search(part[:at])]
    assert len(set(subjects)) <= 1, f"two subjects in {part!r}"
    if subjects:
        assert not compared or compared[0] != subjects[0], part
        return subjects[0]
    # No subject: image1 is meant, and only image2 can be what it is compared with.
    assert compared in ([], [2]), part
    return 1


def _said(part: str, categories: dict[str, list[str]]) -> list[tuple[int, str, str]]:
    phrases = [(p, a, "more") for a, ps in MORE.items() for p in ps]
    phrases += [(p, a, "less") for a, ps in LESS.items() for p in ps]
    phrases += [(v, a, v) for a, values in categories.items() for v in values]
    found: list[tuple[int, int, str, str]] = []
    for phrase, attribute, claim in sorted(phrases, key=lambda p: -len(p[0])):
        plural = "s?" if attribute in categories else ""
        for match in re.finditer(rf"\b{re.escape(phrase)}{plural}\b", part):
            if not any(start < match.end() and match.start() < end for start, end, _, _ in found):
                found.append((match.start(), match.end(), attribute, claim))
    return sorted((start, attribute, claim) for start, _, attribute, claim in found)
