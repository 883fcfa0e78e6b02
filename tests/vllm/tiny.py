"""A tiny Llama and a tokenizer of real captions, saved in the usual format; random, or taught for seconds."""

import json
import random
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SPECIAL = ["<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
CHAT_TEMPLATE = (
    "{{ '<s>' }}{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
STEPS = 120  # of teaching: sentences in the way of the lessons, in less than half a minute


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


def make_model(folder: Path, texts: list[str], context: int = 1024, lessons: list[str] | None = None) -> Path:
    """Saves a model; with `lessons`, rendered chats, it is taught to write their answers, else it babbles."""
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
    if lessons:
        teach(model, fast, lessons)
    else:
        with torch.no_grad():  # spread the logits, so that texts differ and the end comes now and then
            model.lm_head.weight.mul_(8)
    model.save_pretrained(folder)
    return folder


def teach(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, lessons: list[str]) -> None:
    """Trains on the answers of chats; the loss leaves the questions out."""
    answer = tokenizer.convert_tokens_to_ids("<|assistant|>")
    chats = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in lessons]
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    rng = random.Random(0)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = 5e-3 * (1 - step / STEPS)
        some = rng.sample(chats, 32)
        longest = max(map(len, some))
        ids = torch.tensor([chat + [0] * (longest - len(chat)) for chat in some])
        labels = torch.tensor(
            [
                [-100] * (chat.index(answer) + 1)
                + chat[chat.index(answer) + 1 :]
                + [-100] * (longest - len(chat))
                for chat in some
            ]
        )
        model(input_ids=ids, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()


def coco_captions(annotations: Path) -> dict[int, list[str]]:
    """All captions of COCO's file by picture."""
    found: dict[int, list[str]] = {}
    for annotation in json.loads(annotations.read_text())["annotations"]:
        found.setdefault(annotation["image_id"], []).append(annotation["caption"])
    return found
