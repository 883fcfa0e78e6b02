"""Ragged text encoding against open_clip's own, by family of text tower."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from open_clip.transformer import TextTransformer
from torch.utils.flop_counter import FlopCounterMode

from pcclip.model.errors import ModelError
from pcclip.model.text import TextEncoder

VOCABULARY, CONTEXT, END = 600, 32, 599
VISION = {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16}
TEXT = {"context_length": CONTEXT, "vocab_size": VOCABULARY, "width": 64, "heads": 4, "layers": 3}

# family: (class, options of the model, options of the text tower, path, trimmed tokens are enough)
FAMILIES: dict[str, tuple[type, dict[str, Any], dict[str, Any], str, bool]] = {
    "clip": (open_clip.CLIP, {}, {}, "ragged", True),
    "clip quickgelu": (open_clip.CLIP, {"quick_gelu": True}, {}, "ragged", True),
    "clip layer scale": (open_clip.CLIP, {}, {"ls_init_value": 0.3}, "ragged", True),
    "clip one layer": (open_clip.CLIP, {}, {"layers": 1}, "ragged", True),
    "custom text": (open_clip.CustomTextCLIP, {}, {}, "ragged", True),
    "custom text, eos": (open_clip.CustomTextCLIP, {}, {"pool_type": "eos", "eos_id": END}, "ragged", True),
    "custom text, no projection": (open_clip.CustomTextCLIP, {}, {"proj_type": "none"}, "ragged", True),
    "causal, last": (open_clip.CustomTextCLIP, {}, {"pool_type": "last"}, "ragged", False),
    "siglip": (
        open_clip.CustomTextCLIP,
        {"init_logit_bias": -10},
        {"no_causal_mask": True, "pool_type": "last", "proj_bias": True, "norm_kwargs": {"eps": 1e-6}},
        "ragged",
        False,
    ),
    "bidirectional": (open_clip.CustomTextCLIP, {}, {"no_causal_mask": True}, "ragged", False),
    "custom blocks": (open_clip.CustomTextCLIP, {}, {"scale_fc": True, "qk_norm": True}, "open_clip", False),
}


def batch(texts: int = 7) -> torch.Tensor:
    """Token ids of texts from empty to cut off, padded with 0."""
    tokens = torch.zeros(texts, CONTEXT, dtype=torch.long)
    for row, length in enumerate(torch.linspace(2, CONTEXT, texts).long().tolist()):
        tokens[row, :length] = torch.randint(1, END - 1, (length,))
        tokens[row, length - 1] = END
    return tokens[torch.randperm(texts)]


def build(family: str, stir: Callable) -> torch.nn.Module:
    kind, options, text, _, _ = FAMILIES[family]
    torch.manual_seed(0)
    model = kind(embed_dim=48, vision_cfg=VISION, text_cfg={**TEXT, **text}, **options)
    stir(model)
    return model.eval()


def gradients(model: torch.nn.Module, embeddings: torch.Tensor) -> dict[str, torch.Tensor]:
    weights = torch.linspace(-1, 1, embeddings.numel()).view_as(embeddings)
    wanted = {n: p for n, p in model.named_parameters() if not n.startswith(("visual", "logit"))}
    found = torch.autograd.grad((embeddings * weights).sum(), list(wanted.values()))
    return dict(zip(wanted, found, strict=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_equals_open_clip_with_gradients(family: str, stir: Callable) -> None:
    model = build(family, stir)
    tokens = batch()
    encoder = TextEncoder(model)
    assert (encoder.path, encoder.trim) == FAMILIES[family][3:]
    expected, found = model.encode_text(tokens), encoder(tokens)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    theirs, ours = gradients(model, expected), gradients(model, found)
    for name, gradient in theirs.items():
        scale = gradient.abs().max().item()
        torch.testing.assert_close(ours[name], gradient, atol=1e-5 * max(scale, 1), rtol=0, msg=name)


@pytest.mark.parametrize("family", FAMILIES)
def test_trimmed_tokens(family: str, stir: Callable) -> None:
    model = build(family, stir)
    encoder = TextEncoder(model)
    tokens = batch()
    tokens = tokens[tokens.argmax(1) < 20]
    if not encoder.trim:
        assert encoder.trim_tokens(tokens) is tokens
        with pytest.raises(ModelError, match=f"takes exactly {CONTEXT}"):
            encoder(tokens[:, :20])
        return
    short = encoder.trim_tokens(tokens)
    assert short.shape[1] == tokens.argmax(1).max() + 1
    expected = model.encode_text(tokens)
    torch.testing.assert_close(encoder(short), expected, atol=1e-5, rtol=0)
    lengths = encoder.real_lengths(tokens).tolist()
    torch.testing.assert_close(encoder(tokens, lengths), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("pool", ["argmax", "eos", "first", "last"])
def test_padding_mask(pool: str, stir: Callable) -> None:
    model = build("custom text", stir)
    torch.manual_seed(0)
    model.text = TextTransformer(
        context_length=CONTEXT, vocab_size=VOCABULARY, width=64, heads=4, layers=3, output_dim=48,
        no_causal_mask=True, use_pad_mask=True, pool_type=pool, eos_id=END,
    )  # fmt: skip
    stir(model.text)
    tokens = batch()
    tokens[:, 1] = 0  # padding may stand anywhere
    encoder = TextEncoder(model)
    assert encoder.path == ("open_clip" if pool == "last" else "ragged")
    assert encoder.trim == (pool != "last")
    torch.testing.assert_close(encoder(tokens), model.encode_text(tokens), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        encoder(encoder.trim_tokens(tokens)), model.encode_text(tokens), atol=1e-5, rtol=0
    )


def test_coca_is_left_to_open_clip(stir: Callable) -> None:
    torch.manual_seed(0)
    text = {**TEXT, "embed_cls": True, "output_tokens": True}
    decoder = {**TEXT, "attn_pooler_heads": 4}
    vision = {**VISION, "attentional_pool": True, "attn_pooler_heads": 4, "output_tokens": True}
    model = open_clip.CoCa(embed_dim=64, vision_cfg=vision, text_cfg=text, multimodal_cfg=decoder).eval()
    stir(model)
    tokens = batch()
    encoder = TextEncoder(model)
    assert (encoder.path, encoder.trim) == ("open_clip", False)
    assert torch.equal(encoder(tokens), model.encode_text(tokens, normalize=False))


def test_transformers_tower(tmp_path: Path, stir: Callable) -> None:
    pytest.importorskip("transformers")
    config = {
        "model_type": "roberta", "vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": CONTEXT + 2, "pad_token_id": 1,  # noqa: E501
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    text = {"hf_model_name": str(tmp_path), "hf_model_pretrained": False, "hf_pooler_type": "mean_pooler"}
    torch.manual_seed(0)
    model = open_clip.CustomTextCLIP(embed_dim=48, vision_cfg=VISION, text_cfg=text).eval()
    stir(model)
    tokens = batch()[:5].masked_fill(batch()[:5] == 0, 1)
    tokens[:, 20:] = 1
    encoder = TextEncoder(model)
    assert (encoder.path, encoder.trim) == ("open_clip", True)
    short = encoder.trim_tokens(tokens)
    assert short.shape[1] <= 20
    torch.testing.assert_close(encoder(short), model.encode_text(tokens), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["ViT-B-32", "ViT-B-32-quickgelu", "ViT-B-16-SigLIP", "ViT-H-14-CLIPA"])
def test_published_text_towers(name: str) -> None:
    """At their real size, but for the depth of the largest."""
    config = open_clip.get_model_config(name)
    config["text_cfg"]["layers"] = min(config["text_cfg"].get("layers", 12), 12)
    kind = open_clip.CustomTextCLIP if config.pop("custom_text", False) else open_clip.CLIP
    torch.manual_seed(0)
    model = kind(**{**config, "vision_cfg": VISION}).eval()
    context, vocabulary = model.context_length, model.vocab_size
    tokens = torch.randint(1, vocabulary - 1, (3, context))
    for row, length in enumerate((3, context // 2, context)):
        tokens[row, length - 1] = vocabulary - 1
        tokens[row, length:] = 0
    with torch.no_grad():
        torch.testing.assert_close(TextEncoder(model)(tokens), model.encode_text(tokens), atol=1e-5, rtol=0)


def test_cost_grows_with_real_tokens(stir: Callable) -> None:
    model = build("clip", stir)
    encoder = TextEncoder(model)
    tokens = torch.zeros(16, CONTEXT, dtype=torch.long)
    cost = {}
    for length in (4, 8, 16, CONTEXT):
        tokens[:] = torch.randint(1, END - 1, tokens.shape)
        tokens[:, length - 1] = END
        tokens[:, length:] = 0
        tokens[0, 4 - 1] = END  # one short text: never the dense case
        with FlopCounterMode(display=False) as counter:
            encoder(tokens).sum().backward()
        cost[length] = counter.get_total_flops()
    with FlopCounterMode(display=False) as counter:
        model.encode_text(tokens).sum().backward()
    assert 1.6 < cost[8] / cost[4] < 2.4
    assert 1.6 < cost[16] / cost[8] < 2.4
    assert cost[CONTEXT] < 0.85 * counter.get_total_flops()  # the last block reads one token


def test_mixed_precision(stir: Callable) -> None:
    model = build("clip", stir)
    tokens = batch()
    with torch.autocast("cpu", torch.bfloat16):
        expected, found = model.encode_text(tokens), TextEncoder(model)(tokens)
    assert found.dtype == expected.dtype
    exact = model.encode_text(tokens)
    error, theirs = ((x.float() - exact).abs().max() for x in (found, expected))
    assert error < 2 * theirs
    found.float().sum().backward()
    assert model.transformer.resblocks[0].mlp.c_fc.weight.grad.dtype == torch.float32


def test_same_for_a_text_in_any_batch(stir: Callable) -> None:
    model = build("clip", stir)
    encoder = TextEncoder(model)
    tokens = batch()
    alone = torch.cat([encoder(row[None]) for row in tokens])
    torch.testing.assert_close(encoder(tokens), alone, atol=1e-5, rtol=0)


def test_too_many_columns(stir: Callable) -> None:
    encoder = TextEncoder(build("clip", stir))
    with pytest.raises(ModelError, match="33 columns, this text tower takes at most 32"):
        encoder(torch.ones(1, CONTEXT + 1, dtype=torch.long))
