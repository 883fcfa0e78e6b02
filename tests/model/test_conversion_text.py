"""Text towers as transformers computes them."""

from collections.abc import Callable

import open_clip
import pytest
import torch

from pcclip.model.conversion import text_model
from pcclip.model.errors import ModelError
from pcclip.model.towers import Towers
from pcclip.model.trainable import select_trainable
from tests.model.conftest import TEXTS
from tests.model.conversions import SMALL, towers_of


@pytest.mark.parametrize("quick_gelu", [False, True])
@pytest.mark.parametrize("custom_text", [False, True])
def test_text_embeddings(
    quick_gelu: bool, custom_text: bool, stir: Callable[[torch.nn.Module], None]
) -> None:
    towers = towers_of({**SMALL, "quick_gelu": quick_gelu, "custom_text": custom_text})
    stir(towers)
    model = text_model(towers)
    tokens = towers.tokenizer(TEXTS)
    with torch.no_grad():
        output = model(input_ids=tokens, output_hidden_states=True)
        torch.testing.assert_close(output.text_embeds, towers.encode_texts(tokens), rtol=0, atol=1e-5)
    assert model.config.hidden_act == ("quick_gelu" if quick_gelu else "gelu")
    assert not model.training
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_token_states(tiny: Towers) -> None:
    """Those of open_clip after each block."""
    tokens = tiny.tokenizer(TEXTS)
    with torch.no_grad():
        theirs = text_model(tiny)(input_ids=tokens, output_hidden_states=True).hidden_states
        ours = tiny.clip.forward_intermediates(text=tokens)["text_intermediates"]
    assert len(theirs) == len(ours) + 1
    for their, our in zip(theirs[1:], ours, strict=True):
        torch.testing.assert_close(their, our, rtol=0, atol=1e-5)


def test_weights_are_copies(tiny: Towers) -> None:
    before = torch.get_rng_state()
    model = text_model(tiny)
    assert torch.equal(torch.get_rng_state(), before)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert all(p.abs().sum() > 0 for n, p in tiny.clip.named_parameters() if n.endswith("c_fc.weight"))


def test_adapters_are_merged(tiny: Towers, stir: Callable[[torch.nn.Module], None]) -> None:
    select_trainable(tiny, "lora")
    stir(tiny)
    tokens = tiny.tokenizer(TEXTS)
    with torch.no_grad():
        theirs = text_model(tiny)(input_ids=tokens).text_embeds
        torch.testing.assert_close(theirs, tiny.encode_texts(tokens), rtol=0, atol=1e-5)


def test_highest_id_is_read_without_a_tokenizers_word_for_it() -> None:
    towers = towers_of({**SMALL, "text_cfg": {**SMALL["text_cfg"], "vocab_size": 100}})
    tokens = torch.randint(0, 100, (8, 77), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        theirs = text_model(towers)(input_ids=tokens).text_embeds
        torch.testing.assert_close(theirs, towers.encode_texts(tokens), rtol=0, atol=1e-5)


def test_named_end_of_text() -> None:
    text = {**SMALL["text_cfg"], "vocab_size": 100, "pool_type": "eos", "eos_id": 7}
    towers = towers_of({**SMALL, "text_cfg": text})
    tokens = torch.randint(8, 100, (4, 77), generator=torch.Generator().manual_seed(0))
    tokens[:, 20] = 7
    with torch.no_grad():
        theirs = text_model(towers)(input_ids=tokens).text_embeds
        torch.testing.assert_close(theirs, towers.encode_texts(tokens), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"no_causal_mask": True}, "no causal mask"),
        ({"pool_type": "last"}, "'last'"),
        ({"pool_type": "eos", "eos_id": 2}, "token 2"),
        ({"proj_type": "none"}, "no projection"),
        ({"proj_bias": True}, "has a bias"),
        ({"ls_init_value": 0.1}, "layer scale"),
        ({"qk_norm": True}, "other blocks"),
        ({"embed_cls": True}, "class token"),
    ],
)
def test_refused_text_towers(change: dict[str, object], reason: str) -> None:
    text = {**SMALL["text_cfg"], **change}
    with pytest.raises(ModelError, match=f"{reason}.*open_clip"):
        text_model(towers_of({**SMALL, "custom_text": True, "text_cfg": text}))


def test_coca_is_refused() -> None:
    config = {**SMALL, "multimodal_cfg": {"width": 64, "heads": 2, "layers": 1, "context_length": 77}}
    with pytest.raises(ModelError, match="CoCa"):
        text_model(towers_of(config, kind=open_clip.CoCa))
