"""A tiny Llama with random weights and a tokenizer of real captions, saved in the usual format."""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SPECIAL = ["<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
CHAT_TEMPLATE = (
    "{{ '<s>' }}{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def make_tokenizer(texts: list[str], special: list[str]) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=2000,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="<|end|>")


def make_model(folder: Path, texts: list[str], context: int = 1024) -> Path:
    fast = make_tokenizer(texts, SPECIAL)
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=context,
        bos_token_id=0,
        eos_token_id=SPECIAL.index("<|end|>"),
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():  # spread the logits, so that texts differ and the end comes now and then
        model.lm_head.weight.mul_(8)
    model.save_pretrained(folder)
    return folder


def coco_captions(annotations: Path) -> dict[int, list[str]]:
    """All captions of COCO's file by picture."""
    found: dict[int, list[str]] = {}
    for annotation in json.loads(annotations.read_text())["annotations"]:
        found.setdefault(annotation["image_id"], []).append(annotation["caption"])
    return found
