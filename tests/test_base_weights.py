"""The base model of a run whose image tower trains: its weights come back with their BatchNorm statistics."""

import pytest
import torch

from pcclip.geometry import interpolate
from pcclip.objective import DifferenceInfoNCE
from pcclip.training import DifferenceTraining


@pytest.fixture
def moved() -> tuple[DifferenceTraining, torch.Tensor, torch.Tensor]:
    """A module after steps that moved weights and statistics, pixels, and what the base made of them."""
    torch.manual_seed(0)
    module = DifferenceTraining(
        "pcclip-mini", random_init=True, trainable="both", objective=DifferenceInfoNCE()
    )
    size = module.towers.preprocess_config()["size"]
    pixels = torch.randn(8, 3, *size)
    with torch.no_grad():
        before = module.towers.eval().encode_images(pixels)
        module.towers.train()
        for _ in range(5):
            module.towers.encode_images(3 * pixels + 1)
        for parameter in module.towers.visual.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    module.towers.eval()
    return module, pixels, before


@torch.no_grad()
def test_base_weights_make_the_base_model_again(moved):
    module, pixels, before = moved
    tuned = {name: tensor.clone() for name, tensor in module.tower_weights()}
    after = module.towers.encode_images(pixels)
    assert not torch.allclose(after, before, atol=1e-3)
    module.set_tower_weights(interpolate(module.interpolation_base(tuned), tuned, 0.0))
    assert torch.equal(module.towers.encode_images(pixels), before)
    module.set_tower_weights(interpolate(module.interpolation_base(tuned), tuned, 1.0))
    assert torch.equal(module.towers.encode_images(pixels), after)


def test_a_frozen_image_tower_has_no_statistics_among_its_weights():
    module = DifferenceTraining(
        "pcclip-tiny", random_init=True, trainable="text", objective=DifferenceInfoNCE()
    )
    assert all(isinstance(tensor, torch.nn.Parameter) for _, tensor in module.tower_weights())
