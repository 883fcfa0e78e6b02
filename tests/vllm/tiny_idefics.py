"""A tiny Idefics3 with random weights, saved in the usual format: it sees pictures, without torchvision."""

from pathlib import Path

import torch
from tiny import SPECIAL, make_tokenizer
from transformers import (
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    LlamaConfig,
)

SIDE, PATCH, SCALE = 112, 14, 2
IMAGE, MARK, GLOBAL = "<image>", "<fake_token_around_image>", "<global-img>"
PICTURE_TOKENS = (SIDE // PATCH // SCALE) ** 2 + 3  # and the marks around them
CHAT_TEMPLATE = (
    "{{ '<s>' }}{% for m in messages %}{{ '<|' + m['role'] + '|>' }}"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for part in m['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<image>' }}{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{% endif %}{{ '<|end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def make_vision_language_model(folder: Path, texts: list[str], context: int = 1024) -> Path:
    tokenizer = make_tokenizer(texts, [*SPECIAL, IMAGE, MARK, GLOBAL, "<end_of_utterance>"])
    tokenizer.chat_template = CHAT_TEMPLATE
    size = {"longest_edge": SIDE}
    Idefics3Processor(
        Idefics3ImageProcessorPil(size=size, max_image_size=size, do_image_splitting=False),
        tokenizer,
        image_seq_len=PICTURE_TOKENS - 3,
        chat_template=CHAT_TEMPLATE,
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = Idefics3Config(
        vision_config={
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": SIDE,
            "patch_size": PATCH,
        },
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=context,
            bos_token_id=0,
            eos_token_id=SPECIAL.index("<|end|>"),
            pad_token_id=SPECIAL.index("</s>"),
        ).to_dict(),
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
        pad_token_id=SPECIAL.index("</s>"),
        scale_factor=SCALE,
    )
    model = Idefics3ForConditionalGeneration(config)
    with torch.no_grad():  # spread the logits, so that texts differ and the end comes now and then
        model.lm_head.weight.mul_(8)
        # Untrained, it would look at pictures hardly, and at everything alike, wherever it stands.
        for name, weight in model.named_parameters():
            if "vision_model" in name and weight.ndim > 1:
                weight.mul_(4)
            elif "q_proj" in name or "k_proj" in name:
                weight.mul_(12)
    model.save_pretrained(folder)
    return folder
