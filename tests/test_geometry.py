import pytest
import torch

from pcclip.geometry import comparative_update, difference, interpolate, raw_difference, unit


def test_difference_flips_sign_and_has_unit_length():
    a, b = torch.randn(5, 8), 3 * torch.randn(5, 8)
    d = difference(a, b)
    assert torch.allclose(d, -difference(b, a))
    assert torch.allclose(d.norm(dim=-1), torch.ones(5))
    assert torch.allclose(d, difference(7 * a, 0.1 * b), atol=1e-6), "embedding length must not matter"


def test_raw_difference_keeps_its_length():
    a = torch.tensor([[1.0, 0.0]])
    assert raw_difference(a, -2 * a).tolist() == [[2.0, 0.0]]


def test_unit_is_fp32_and_keeps_zero():
    rows = unit(torch.tensor([[3.0, 4.0], [0.0, 0.0]], dtype=torch.bfloat16))
    assert rows.dtype == torch.float32
    assert torch.allclose(rows, torch.tensor([[0.6, 0.8], [0.0, 0.0]]))


def test_interpolation_is_exact_at_both_ends_and_linear_between():
    base, tuned = {"w": torch.rand(1000)}, {"w": torch.rand(1000)}
    assert torch.equal(interpolate(base, tuned, 0)["w"], base["w"])
    assert torch.equal(interpolate(base, tuned, 1)["w"], tuned["w"])
    assert torch.allclose(interpolate(base, tuned, 0.25)["w"], 0.75 * base["w"] + 0.25 * tuned["w"])


def test_interpolation_refuses_other_names():
    with pytest.raises(ValueError, match="'b'"):
        interpolate({"a": torch.ones(1)}, {"a": torch.ones(1), "b": torch.ones(1)}, 0.5)


def test_comparative_update_is_the_published_formula():
    torch.manual_seed(0)
    classes, comparisons = unit(torch.randn(5, 8)), unit(torch.randn(3, 8))
    reference, updated = torch.tensor([0, 3, 2]), torch.tensor([1, 1, 4])
    found = comparative_update(classes, reference, updated, comparisons, 0.8)
    mean = (classes[0] - comparisons[0] + classes[3] - comparisons[1]) / 2
    assert torch.allclose(found[1], unit(0.8 * classes[1] + 0.2 * mean))
    assert torch.allclose(found[4], unit(0.8 * classes[4] + 0.2 * (classes[2] - comparisons[2])))
    assert torch.equal(found[[0, 2, 3]], classes[[0, 2, 3]]), "no comparison updates these"
    assert torch.equal(comparative_update(classes, reference, updated, comparisons, 1), classes)
