"""CLIP's tokenizer: open_clip's `SimpleTokenizer` and transformers' `CLIPTokenizer`.

Both give the same ids up to the end of text, after which 0 stands in open_clip and the end's own id in
transformers. Other ids have texts that open_clip cleans first (by `ftfy` and HTML's entities): typographic
quotes, `&amp;`, ligatures. The words `<|startoftext|>` and `<|endoftext|>` are tokens for transformers and
text for open_clip.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
from transformers import AutoTokenizer, CLIPTokenizer

from pcclip.model.errors import ModelError
from pcclip.model.towers import Towers

START, END = "<|startoftext|>", "<|endoftext|>"
_SPECIAL = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}


def save_tokenizer(towers: Towers, folder: Path) -> None:
    """Write the tokenizer into a folder, so that transformers of any version reads it there.

    Files: `tokenizer.json`, `tokenizer_config.json`, `special_tokens_map.json`, for CLIP's own also
    `vocab.json` and `merges.txt`.

    Raises:
        ModelError: transformers has no such tokenizer.
    """
    tokenizer: Any = towers.tokenizer
    options: dict[str, Any] = dict(towers.model_config["text_cfg"].get("tokenizer_kwargs") or {})
    plain = options.pop("clean", None) in (None, "lower", "whitespace") and not options
    if not plain or getattr(tokenizer, "tokenizer_mode", None):
        raise ModelError(
            f"this model's tokenizer has options of open_clip's own ({towers.model_config['text_cfg']}) that "
            "transformers' cannot follow; export it --to open_clip"
        )
    if isinstance(tokenizer, HFTokenizer):
        tokenizer.save_pretrained(str(folder))
        return
    if type(tokenizer) is not SimpleTokenizer:
        raise ModelError(
            f"a {type(tokenizer).__name__} has no like in transformers; export it --to open_clip"
        )
    vocabulary = _vocabulary(tokenizer)
    merges = list(tokenizer.bpe_ranks)
    theirs = CLIPTokenizer(
        vocab=vocabulary, merges=merges, model_max_length=towers.context_length, **_SPECIAL
    )
    theirs.save_pretrained(str(folder))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _write_json(folder / "vocab.json", vocabulary)
    _write_json(folder / "special_tokens_map.json", _SPECIAL)


def read_tokenizer(folder: Path, context_length: int, vocabulary: int) -> tuple[Any, bool]:
    """The tokenizer of a transformers folder as open_clip has it.

    Args:
        folder: that of the model.
        context_length: tokens of a text at most.
        vocabulary: how many tokens the text tower knows.

    Returns:
        The tokenizer, and whether it is CLIP's own, which needs no files. A folder without tokenizer files
        gets CLIP's if the sizes agree.

    Raises:
        ModelError: there is none, and the model's vocabulary is not CLIP's.
    """
    simple = SimpleTokenizer(context_length=context_length)
    try:
        theirs = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    except Exception as error:  # the library raises many kinds for files that are damaged or not its own
        raise ModelError(f"{folder}: its tokenizer cannot be read ({error}); save it again") from error
    found = theirs.get_vocab()
    if found == _vocabulary(simple):
        return simple, True
    if len(found) > 3:  # without files transformers gives one of nothing but special tokens
        return HFTokenizer(str(folder), context_length=context_length, trust_remote_code=False), False
    if vocabulary != simple.vocab_size:
        raise ModelError(
            f"{folder}: has no tokenizer files, and its {vocabulary} tokens are not CLIP's "
            f"{simple.vocab_size}: put tokenizer.json and tokenizer_config.json there"
        )
    return simple, True


def _vocabulary(tokenizer: Any) -> dict[str, int]:
    names = {tokenizer.sot_token_id: START, tokenizer.eot_token_id: END}
    return {names.get(number, token): number for token, number in tokenizer.encoder.items()}


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
