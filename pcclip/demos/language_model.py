"""A small Llama with a tokenizer and a chat template of its own, in the usual format."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

from pcclip.generation.prompts import Message

disable_progress_bar()  # type: ignore[no-untyped-call]  # saving a few megabytes needs none

_START, _END, _PADDING = "<s>", "<|end|>", "<pad>"
_SPECIAL = [_START, _END, _PADDING, "<|system|>", "<|user|>", "<|assistant|>"]
_CHAT_TEMPLATE = (
    "{{ '<s>' }}{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
_VOCABULARY, _CONTEXT, _HEAD = 1000, 512, 32
_LONGEST = 48  # tokens of an answer
_AT_ONCE = 100


def make_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Byte-level BPE of some texts: a token for nearly every word of a small world; reads any text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=_SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, bos_token=_START, eos_token=_END, pad_token=_PADDING, padding_side="left"
    )
    fast.chat_template = _CHAT_TEMPLATE
    return fast


def make_model(tokenizer: PreTrainedTokenizerFast, width: int, layers: int) -> LlamaForCausalLM:
    """A Llama with random weights."""
    heads = max(1, width // _HEAD)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=_CONTEXT,
        tie_word_embeddings=True,  # what is copied from a prompt is read out as it was read in
        initializer_range=0.06,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def encode_prompts(tokenizer: PreTrainedTokenizerFast, chats: Sequence[Sequence[Message]]) -> list[list[int]]:
    """Chats as the tokens that an engine sees, up to where the answer begins."""
    texts = tokenizer.apply_chat_template(
        [list(chat) for chat in chats], add_generation_prompt=True, tokenize=False
    )
    return tokenizer(texts, add_special_tokens=False)["input_ids"]


def write_texts(
    model: Any,  # transformers types `generate` so that no model fits
    tokenizer: PreTrainedTokenizerFast,
    chats: Sequence[Sequence[Message]],
    top_p: float,
    seed: int,
) -> list[str]:
    """Answers by plain transformers, to look at a model before an engine is started."""
    torch.manual_seed(seed)
    model.train(False)
    texts: list[str] = []
    for start in range(0, len(chats), _AT_ONCE):
        prompts = encode_prompts(tokenizer, chats[start : start + _AT_ONCE])
        padded = tokenizer.pad({"input_ids": prompts}, return_tensors="pt")
        with torch.inference_mode():
            written = model.generate(**padded, max_new_tokens=_LONGEST, do_sample=True, top_p=top_p, top_k=0)
        answers = written[:, padded["input_ids"].shape[1] :]
        texts += [text.strip() for text in tokenizer.batch_decode(answers, skip_special_tokens=True)]
    return texts
