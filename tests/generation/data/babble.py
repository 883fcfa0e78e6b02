"""Babble of models that have learned nothing: what the filter meets when a job runs an untrained model."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import open_clip
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

_PROMPTS = ("chat", "labels", "qa")


def make_babble(captions_file: Path) -> list[dict[str, Any]]:
    """Some fifty answers, of six sorts of model, each about two captions of the file."""
    captions = [a["caption"] for a in json.loads(captions_file.read_text())["annotations"]]
    rng = random.Random(11)
    records = []
    for number, (made, answer) in enumerate(_answers(captions, rng)):
        records.append(
            {
                "kind": "babble",
                "made": made,
                "split": "test" if number % 2 else "dev",
                "answer": answer,
                "cut_off": False,
                "keeps": [],
                "context": {"captions": rng.sample(captions, 2), "prompt": _PROMPTS[number % 3]},
            }
        )
    return records


def _answers(captions: list[str], rng: random.Random) -> Iterator[tuple[str, str]]:
    words = re.findall(r"[a-z]+", " ".join(captions).lower())
    vocabulary = sorted(Counter(words))
    for size, count in ((4000, 14), (500, 6)):
        yield from (("untrained llama", text) for text in _llama(captions, size, count))
    yield from (("random clip tokens", _clip(rng)) for _ in range(10))
    yield from (("words by frequency", _joined(rng, lambda: rng.choice(words))) for _ in range(8))
    yield from (("words at random", _joined(rng, lambda: rng.choice(vocabulary))) for _ in range(6))
    yield from (("letters at random", _joined(rng, lambda: _letters(rng))) for _ in range(4))
    yield from (("bytes at random", rng.randbytes(80).decode("utf-8", "replace")) for _ in range(4))


def _llama(captions: list[str], vocabulary: int, count: int) -> Iterator[str]:
    """What a Llama with random weights writes, with a tokenizer that was trained on captions."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(captions, trainer)
    torch.manual_seed(vocabulary)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=256,
        )
    )
    start = torch.tensor([tokenizer.encode("The first picture").ids])
    for number in range(count):
        out = model.generate(
            start,
            attention_mask=torch.ones_like(start),
            do_sample=number % 7 != 0,
            max_new_tokens=24 + 3 * number,
            pad_token_id=0,
            eos_token_id=None,
        )
        yield tokenizer.decode(out[0, start.shape[1] :].tolist())


def _clip(rng: random.Random) -> str:
    tokenizer = open_clip.SimpleTokenizer()
    return tokenizer.decode([rng.randrange(len(tokenizer.encoder) - 2) for _ in range(rng.randint(14, 50))])


def _joined(rng: random.Random, word: Callable[[], str]) -> str:
    return " ".join(word() for _ in range(rng.randint(12, 45)))


def _letters(rng: random.Random) -> str:
    return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(2, 9)))
