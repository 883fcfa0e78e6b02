"""Whether an answer is a program, a data structure or a page instead of a sentence."""

from __future__ import annotations

import re

from pcclip.generation.filters.types import Limits

_MARKUP = re.compile(
    r"""
      </?[a-zA-Z!?][^<>]{0,200}>              # a tag
    | </?[a-zA-Z]\w*\b[^<>]{0,40}$            # a tag that was not closed
    | https?:// | \bwww\.                     # a link
    | !?\[[^\]]*\]\([^)]*\)                   # a Markdown link or picture
    | \[\[ | \]\] | \{\{ | \}\}               # wiki and templates
    | \\[a-zA-Z]+\s*\{ | \$\\                 # LaTeX
    | \|[^|\n]*\|[^|\n]*\|                    # a table row
    | &\w{2,8};                               # an entity
    | [\u0120\u010a\u2581] | \#\# | </w>      # marks of tokenizers
    | ^[ \t]*[{\[]\s*["'{\[]                     # JSON
    """,
    re.X | re.M,
)
_CODE = re.compile(
    r"""
      ```
    | ^[ \t]*(?:\#!|\#\s*(?:include|define|if|ifdef|error)\b|>>>\s|\$\s\w|@\w+[.(])
    | ^[ \t]*(?:def|class|function|fn|func)\s+\w+\s*[(:{<]
    | ^[ \t]*(?:import\s+[\w.{*]+(?:\s+as\s+\w+|\s+from\b)?\s*(?:;|$)|from\s+[\w.]+\s+import\b)
    | \b(?:public|private|protected|static)\s+(?:class|static|void|final|int)\b
    | \b(?:const|let|var)\s+\w+\s*=
    | \b\w+\((?:[^()\n]|\([^()\n]*\))*\)\s*(?:;|\{|:$)        # a call or a function, closed like one
    | \b\w+\.\w+\(                                            # a method
    | \b\w+\[\w+\]
    | \w\(["'\[{]                                             # a call with a literal
    | \b\w+\s(?:=|==|===|!=|\+=|-=|:=|=>|->|&&|\|\||<-)\s*\S    # operators
    | ^[ \t]*(?:Traceback\b|SELECT\s.+\bFROM\b|INSERT\s+INTO\b)
    | \b[a-z]+_[a-z]\w*\b                                     # snake_case
    | ^[ \t]*\w+:\s*(?:true|false|null|\d+)\s*$                  # settings
    | ;[ \t]*\n.*;[ \t]*$
    """,
    re.X | re.M,
)
# Without one of these a text can be neither; most texts have none, and searching for them is quick.
_MARKUP_SIGN = re.compile(r"[<>|\[\]{}\\&#$\u0120\u010a\u2581]|://|www\.", re.I)
_CODE_SIGN = re.compile(r"[^\w\s.,'\"!?\-]|_|\bimport\b")
_SYMBOLS = frozenset("{}[]()<>=;_/\\|&%$#@^~*+`")


def markup_fault(text: str) -> str | None:
    """The first thing in a text that belongs to markup; None: there is none."""
    match = _MARKUP_SIGN.search(text) and _MARKUP.search(text)
    return f"{match.group()[:30]!r}" if match else None


def code_fault(text: str, limits: Limits) -> str | None:
    """The first thing in a text that belongs to code, or too many symbols; None: neither."""
    if not _CODE_SIGN.search(text):
        return None
    match = _CODE.search(text)
    if match:
        return f"{match.group().strip()[:30]!r}"
    symbols = sum(c in _SYMBOLS for c in text)
    if symbols >= 4 and symbols > limits.max_symbols * len(text):
        return f"{symbols} symbols in {len(text)} characters"
    return None
