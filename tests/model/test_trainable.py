"""What trains, counted by formulas of our own, and what must not move."""

from pathlib import Path

import pytest
import torch
from torch.func import functional_call

from pcclip.model.checkpoint import load_trainable_state, save_folder, trainable_state
from pcclip.model.errors import ModelError
from pcclip.model.towers import Towers, load_towers
from pcclip.model.trainable import LoraOptions, select_trainable
from tests.model.conftest import TEXTS

# name: (text layers, text width, embedding, parameters of the image tower)
SIZES = {
    # patches 3*8*8*64, class 64, positions 17*64, 3 norms of 128 in and out, 2 blocks, projection 64*64
    "pcclip-tiny": (2, 64, 64, 3 * 64 * 64 + 64 + 17 * 64 + 2 * 128 + 2 * (12 * 64**2 + 13 * 64) + 64 * 64),
    "ViT-B-32": (
        12, 512, 512,
        3 * 32 * 32 * 768 + 768 + 50 * 768 + 4 * 768 + 12 * (12 * 768**2 + 13 * 768) + 768 * 512,
    ),
}  # fmt: skip
VOCABULARY, CONTEXT = 49408, 77


def expected_count(name: str, part: str) -> int:
    layers, width, embedding, image = SIZES[name]
    # attention 4 w^2 + 4 w, MLP 8 w^2 + 5 w, two norms 4 w
    blocks = layers * (12 * width**2 + 13 * width)
    rest = CONTEXT * width + 2 * width + width * embedding
    return {
        "blocks": blocks,
        "text": blocks + rest + VOCABULARY * width,
        "text_no_embeddings": blocks + rest,
        "projection_norms": layers * 4 * width + 2 * width + width * embedding,
        # rank 8: qkv (w + 3w), out (w + w), fc (w + 4w), proj (4w + w)
        "lora": layers * 8 * 16 * width,
        "both": blocks + rest + VOCABULARY * width + image,
    }[part]


@pytest.fixture(scope="module", params=SIZES)
def towers(request: pytest.FixtureRequest) -> Towers:
    return load_towers(request.param, random_init=True)


# Adapters last: they stay in the towers of the module.
@pytest.mark.parametrize("part", ["blocks", "text", "text_no_embeddings", "projection_norms", "both", "lora"])
def test_exact_counts(towers: Towers, part: str) -> None:
    report = select_trainable(towers, part)
    assert report.total == expected_count(towers.name, part)
    training = [n for n, p in towers.named_parameters() if p.requires_grad]
    assert list(report.names) == training
    assert (
        sum(towers.get_parameter(n).numel() for n in training) == report.total == sum(report.counts.values())
    )
    assert report.of == expected_count(towers.name, "both") + 1  # the logit scale
    assert f"training {report.total:,} of {report.of:,}" in str(report)


@pytest.mark.parametrize(
    ("options", "per_width"),
    [
        (LoraOptions(rank=4, targets=("attn",)), 4 * 6),
        (LoraOptions(rank=2, targets=("c_fc",)), 2 * 5),
        (LoraOptions(rank=3, targets=("c_fc", "c_proj")), 3 * 10),
    ],
)
def test_lora_options(tiny: Towers, options: LoraOptions, per_width: int) -> None:
    assert select_trainable(tiny, "lora", options).total == 2 * 64 * per_width


def test_names_by_part(tiny: Towers) -> None:
    names = select_trainable(tiny, "blocks").names
    assert all(n.startswith("clip.transformer.resblocks.") for n in names)
    names = select_trainable(tiny, "projection_norms").names
    assert {n.split(".")[-2] for n in names} == {"clip", "ln_1", "ln_2", "ln_final"}
    assert "clip.logit_scale" not in select_trainable(tiny, "both").names


@pytest.mark.parametrize("part", ["blocks", "text", "projection_norms", "lora"])
def test_only_the_part_moves(part: str) -> None:
    """The image tower bit for bit, BatchNorm statistics too, whatever mode is asked for."""
    torch.manual_seed(0)
    towers = load_towers("pcclip-small", random_init=True)
    names = set(select_trainable(towers, part).names)
    before = {n: t.clone() for n, t in towers.state_dict().items()}
    fingerprint, text = towers.image_fingerprint(), towers.text_fingerprint()
    optimizer = torch.optim.AdamW([p for p in towers.parameters() if p.requires_grad], lr=1e-2)
    tokens = towers.tokenizer(TEXTS)
    for start in (towers.train, towers.clip.train, towers.visual.train):
        start(True)
        images = towers.encode_images(torch.randn(len(TEXTS), 3, 64, 64))
        assert not images.requires_grad
        (towers.encode_texts(tokens) * images).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    changed = {n for n, t in towers.state_dict().items() if not torch.equal(t, before[n])}
    assert changed == names
    assert towers.image_fingerprint() == fingerprint
    assert towers.text_fingerprint() != text


def test_frozen_image_tower_stays_in_evaluation_mode(tiny: Towers) -> None:
    select_trainable(tiny, "blocks")
    parent = torch.nn.ModuleDict({"towers": tiny})
    parent.train()
    assert tiny.training
    assert not tiny.visual.training
    select_trainable(tiny, "both")
    parent.train()
    assert tiny.visual.training
    assert tiny.encode_images(torch.randn(2, 3, 32, 32)).requires_grad


def test_lora_equals_its_merged_model(tiny: Towers, tmp_path: Path) -> None:
    select_trainable(tiny, "lora", LoraOptions(rank=4, alpha=8))
    for name, parameter in tiny.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    tokens = tiny.tokenizer(TEXTS)
    live = tiny.encode_texts(tokens)
    merged = load_towers(f"local-dir:{save_folder(tiny, tmp_path / 'merged')}")
    plain = load_towers("pcclip-tiny", random_init=True)
    assert merged.clip.state_dict().keys() == plain.clip.state_dict().keys()
    torch.testing.assert_close(live, merged.clip.encode_text(tokens), atol=1e-5, rtol=0)
    torch.testing.assert_close(live, tiny.encode_texts(tokens), atol=0, rtol=0)  # the live model is as before
    assert merged.text_fingerprint() == tiny.text_fingerprint()


def test_lora_gradients(tiny: Towers) -> None:
    """Against open_clip on weights into which the adapters were merged differentiably."""
    plain = load_towers("pcclip-tiny", random_init=True).clip
    plain.load_state_dict(tiny.clip.state_dict())
    select_trainable(tiny, "lora", LoraOptions(rank=4, alpha=8))
    adapters = [p for p in tiny.parameters() if p.requires_grad]
    for parameter in adapters:
        torch.nn.init.normal_(parameter, std=0.1)
    merged = dict(plain.named_parameters())
    for name, module in tiny.clip.named_modules():
        if hasattr(module, "lora_A"):
            own = name.replace(".base_layer", "") + (
                ".in_proj_weight" if name.endswith("attn") else ".weight"
            )
            merged[own] = merged[own] + 2 * module.lora_B["default"].weight @ module.lora_A["default"].weight

    class Encode(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.clip = plain

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return self.clip.encode_text(tokens)

    tokens = tiny.tokenizer(TEXTS)
    expected = functional_call(Encode(), {f"clip.{n}": t for n, t in merged.items()}, (tokens,))
    found = tiny.encode_texts(tokens)
    weights = torch.linspace(-1, 1, found.numel()).view_as(found)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    theirs = torch.autograd.grad((expected * weights).sum(), adapters)
    ours = torch.autograd.grad((found * weights).sum(), adapters)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("part", ["blocks", "lora", "both"])
def test_trained_weights_come_back(part: str) -> None:
    models = []
    for seed in (0, 1):
        torch.manual_seed(0)
        towers = load_towers("pcclip-small", random_init=True)
        torch.manual_seed(seed)
        select_trainable(towers, part)
        models.append(towers)
    first, second = models
    first.train()
    first.encode_images(torch.randn(4, 3, 64, 64))
    with torch.no_grad():
        for parameter in first.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter))
    load_trainable_state(second, trainable_state(first))
    assert first.text_fingerprint() == second.text_fingerprint()
    assert first.image_fingerprint() == second.image_fingerprint()


def test_weights_of_another_part_are_refused(tiny: Towers) -> None:
    select_trainable(tiny, "blocks")
    state = trainable_state(tiny)
    select_trainable(tiny, "projection_norms")
    with pytest.raises(ModelError, match=r"not of the part that trains: .* select the same part"):
        load_trainable_state(tiny, state)


def test_options_that_do_not_fit(tiny: Towers) -> None:
    with pytest.raises(ModelError, match="'head' is unknown: choose one of blocks, text"):
        select_trainable(tiny, "head")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="lora options are given but the trainable part is 'blocks'"):
        select_trainable(tiny, "blocks", LoraOptions())
    with pytest.raises(ModelError, match="rank >= 1"):
        select_trainable(tiny, "lora", LoraOptions(rank=0))
    select_trainable(tiny, "lora")
    with pytest.raises(ModelError, match="load them again"):
        select_trainable(tiny, "text")
