"""Losses against formulas written out by hand, in chunks against at once, two gloo processes against one."""

import itertools
import math
import os

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.utils._python_dispatch import TorchDispatchMode

from pcclip.objective import (
    CaptionInfoNCE,
    CaptionInputs,
    DifferenceInfoNCE,
    DifferenceInputs,
    DifferenceMSE,
    DifferenceSigmoid,
    World,
)

ALONE = World()


def triples(n=6, width=5, seed=0):
    g = torch.Generator().manual_seed(seed)
    rows = lambda: torch.randn(n, width, generator=g)  # noqa: E731
    ids = torch.arange(n)
    return DifferenceInputs(rows(), rows(), rows(), ids + 100, ids, ids + 50)


def by_hand(inputs, temperature):
    """InfoNCE in plain Python floats."""
    n = len(inputs.text)
    norm = lambda v: [x / math.sqrt(sum(y * y for y in v)) for x in v]  # noqa: E731
    texts = [norm(t) for t in inputs.text.tolist()]
    images = zip(inputs.image1.tolist(), inputs.image2.tolist(), strict=True)
    directions = [norm([x - y for x, y in zip(norm(a), norm(b), strict=True)]) for a, b in images]
    logit = [[sum(x * y for x, y in zip(t, d, strict=True)) / temperature for d in directions] for t in texts]
    rows = sum(math.log(sum(math.exp(x) for x in logit[i])) - logit[i][i] for i in range(n)) / n
    columns = sum(math.log(sum(math.exp(logit[j][i]) for j in range(n))) - logit[i][i] for i in range(n)) / n
    return (rows + columns) / 2


@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_infonce_equals_the_formula(temperature):
    inputs = triples()
    loss = DifferenceInfoNCE(temperature)(inputs, ALONE).item()
    assert loss == pytest.approx(by_hand(inputs, temperature), rel=1e-5)


def test_swapping_images_and_negating_texts_changes_nothing():
    i = triples()
    swapped = DifferenceInputs(-i.text, i.image2, i.image1, i.text_id, i.image2_id, i.image1_id)
    loss = DifferenceInfoNCE(0.2)
    assert loss(i, ALONE).item() == pytest.approx(loss(swapped, ALONE).item(), rel=1e-6)


def test_masked_pairs_are_no_negatives():
    i = triples(3)
    same_text = DifferenceInputs(
        i.text, i.image1, i.image2, torch.tensor([7, 7, 8]), i.image1_id, i.image2_id
    )
    only_third = lambda loss: loss(same_text, ALONE).item()  # noqa: E731
    assert only_third(DifferenceInfoNCE(1.0)) < only_third(DifferenceInfoNCE(1.0, mask_same_text=False))
    masked = DifferenceInfoNCE(1.0, mask_shared_images=True)
    chain = DifferenceInputs(
        i.text, i.image1, i.image2, i.text_id, torch.tensor([0, 1, 2]), torch.tensor([9, 0, 1])
    )
    assert masked(chain, ALONE).item() < DifferenceInfoNCE(1.0)(chain, ALONE).item()
    star = DifferenceInputs(i.text, i.image1, i.image2, i.text_id, torch.zeros(3), torch.tensor([1, 2, 3]))
    assert masked(star, ALONE).item() == pytest.approx(0, abs=1e-6)


def test_reversed_negative_adds_exactly_the_opposite_logit():
    i = triples(1)
    cosine = torch.cosine_similarity(
        i.text, torch.nn.functional.normalize(i.image1) - torch.nn.functional.normalize(i.image2)
    ).item()
    expected = math.log(math.exp(cosine) + math.exp(-cosine)) - cosine
    loss = DifferenceInfoNCE(1.0, reversed_negative=True)(i, ALONE).item()
    assert loss == pytest.approx(expected / 2, rel=1e-5)


def test_mse_is_zero_exactly_at_the_raw_difference():
    i = triples()
    target = torch.nn.functional.normalize(i.image1) - torch.nn.functional.normalize(i.image2)
    at = DifferenceInputs(target, i.image1, i.image2, i.text_id, i.image1_id, i.image2_id)
    assert DifferenceMSE()(at, ALONE).item() == pytest.approx(0, abs=1e-10)
    expected = (i.text - target).square().sum(-1).mean().item()
    assert DifferenceMSE()(i, ALONE).item() == pytest.approx(expected)


def test_sigmoid_equals_the_formula():
    i = triples(4)
    loss = DifferenceSigmoid(temperature=0.5, bias=-1.0)
    text = torch.nn.functional.normalize(i.text)
    d = torch.nn.functional.normalize(
        torch.nn.functional.normalize(i.image1) - torch.nn.functional.normalize(i.image2)
    )
    z = text @ d.T / 0.5 - 1.0
    sign = 2 * torch.eye(4) - 1
    expected = torch.log1p(torch.exp(-sign * z)).sum(1).mean()
    assert loss(i, ALONE).item() == pytest.approx(expected.item(), rel=1e-5)


def test_caption_loss_equals_open_clips():
    from open_clip.loss import ClipLoss

    text, image = torch.randn(7, 4), torch.randn(7, 4)
    ids = torch.arange(7)
    ours = CaptionInfoNCE(0.1)(CaptionInputs(text, image, ids, ids), ALONE)
    unit = torch.nn.functional.normalize
    theirs = ClipLoss()(unit(image), unit(text), logit_scale=torch.tensor(10.0))
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)


@pytest.mark.parametrize("learned", [True, False])
def test_temperature_is_a_parameter_only_when_learned(learned):
    assert len(list(DifferenceInfoNCE(0.1, learn_temperature=learned).parameters())) == int(learned)


def combinations(cls, **options):
    """An id and a maker `make(**more)` for each combination of options."""
    for values in itertools.product(*options.values()):
        given = dict(zip(options, values, strict=True))
        name = cls.__name__ + "".join(f" {o}" for o, value in given.items() if value)
        yield pytest.param(lambda given=given, **more: cls(**given, **more), id=name)


BOTH = (False, True)
CHUNKED = [
    *combinations(
        DifferenceInfoNCE,
        learn_temperature=BOTH,
        mask_shared_images=BOTH,
        mask_same_text=BOTH,
        reversed_negative=BOTH,
        reversed_weight=(0.0, 0.5),
    ),
    *combinations(DifferenceSigmoid, mask_shared_images=BOTH, mask_same_text=BOTH),
    *combinations(CaptionInfoNCE, learn_temperature=BOTH, mask_same_text=BOTH),
]


def embedded(n=50, width=16):
    """Leaves, ids of which several are equal, and the inputs of both kinds of loss."""
    g = torch.Generator().manual_seed(5)
    leaves = [torch.randn(n, width, generator=g).requires_grad_() for _ in range(3)]
    ids = [torch.randint(0, high, (n,), generator=g) for high in (20, 60, 60)]
    return leaves, DifferenceInputs(*leaves, *ids), CaptionInputs(*leaves[:2], *ids[:2])


def loss_and_gradients(objective):
    leaves, difference, caption = embedded()
    loss = objective(caption if isinstance(objective, CaptionInfoNCE) else difference, ALONE)
    loss.backward()
    wanted = leaves[:2] if isinstance(objective, CaptionInfoNCE) else leaves
    return [loss.detach(), *(leaf.grad for leaf in wanted), *(p.grad for p in objective.parameters())]


@pytest.mark.parametrize("make", CHUNKED)
@pytest.mark.parametrize("chunk_rows", [1, 7, 50])
def test_chunks_give_the_loss_and_gradients_of_the_whole_matrix(make, chunk_rows):
    whole, chunked = loss_and_gradients(make()), loss_and_gradients(make(chunk_rows=chunk_rows))
    for one, other in zip(whole, chunked, strict=True):
        if chunk_rows == 50:  # as many as there are: the same computation
            assert torch.equal(one, other)
        else:
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


class Watched(TorchDispatchMode):
    """Notes what operations ran, and the largest tensor that one of them made."""

    def __init__(self):
        super().__init__()
        self.largest, self.ran = 0, set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        made = out if isinstance(out, tuple | list) else [out]
        self.largest = max([self.largest, *(o.numel() for o in made if isinstance(o, torch.Tensor))])
        self.ran.add(func.name())
        return out


@pytest.mark.parametrize("make", CHUNKED)
def test_in_chunks_nothing_is_quadratic_and_nothing_waits_for_the_device(make):
    objective = make(chunk_rows=7)
    with Watched() as watched:
        loss_and_gradients(objective)
    assert watched.largest <= max(7 * (50 + 1), 50 * 16)
    assert "aten::mm" in watched.ran
    assert not watched.ran & {"aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero"}


@pytest.mark.parametrize("make", [DifferenceInfoNCE, DifferenceSigmoid, CaptionInfoNCE])
def test_chunks_without_rows_are_refused(make):
    with pytest.raises(ValueError, match="chunk_rows must be at least 1"):
        make(chunk_rows=0)


def many_options(**more):
    return DifferenceInfoNCE(
        0.1, True, mask_shared_images=True, reversed_negative=True, reversed_weight=0.5, **more
    )


OBJECTIVES = {
    "infonce": lambda: DifferenceInfoNCE(0.1, learn_temperature=True),
    "infonce-options": many_options,
    "infonce-no-masks": lambda: DifferenceInfoNCE(0.1, mask_same_text=False),
    "infonce-options-chunks": lambda: many_options(chunk_rows=3),
    "mse": DifferenceMSE,
    "sigmoid": DifferenceSigmoid,
    "sigmoid-chunks": lambda: DifferenceSigmoid(mask_shared_images=True, chunk_rows=3),
    "caption": lambda: CaptionInfoNCE(0.1, learn_temperature=True),
    "caption-chunks": lambda: CaptionInfoNCE(0.1, learn_temperature=True, chunk_rows=3),
}


class Toy(torch.nn.Module):
    """Linear text and image towers before an objective."""

    def __init__(self, name):
        super().__init__()
        torch.manual_seed(3)
        self.text, self.image = torch.nn.Linear(6, 4), torch.nn.Linear(5, 4)
        self.name, self.objective = name, OBJECTIVES[name]()

    def forward(self, rows, world):
        text, image1, image2, *ids = rows
        text, image1, image2 = self.text(text), self.image(image1), self.image(image2)
        if self.name.startswith("caption"):
            return self.objective(CaptionInputs(text, image1, ids[0], ids[1]), world)
        return self.objective(DifferenceInputs(text, image1, image2, *ids), world)


def global_rows():
    g = torch.Generator().manual_seed(1)
    n = 8
    ids = [torch.randint(0, high, (n,), generator=g) for high in (6, 12, 12)]
    return [*(torch.randn(n, width, generator=g) for width in (6, 5, 5)), *ids]


def one_rank(rank, port, queue):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    found = {}
    for name in OBJECTIVES:
        unused = name.startswith("caption")
        model = torch.nn.parallel.DistributedDataParallel(Toy(name), find_unused_parameters=unused)
        rows = [r[rank * 4 : rank * 4 + 4] for r in global_rows()]
        loss = model(rows, World(rank, 2))
        loss.backward()
        total = loss.detach().clone()
        dist.all_reduce(total)
        grads = {n: p.grad.tolist() for n, p in model.module.named_parameters() if p.grad is not None}
        found[name] = total.item() / 2, grads
    if rank == 0:
        queue.put(found)
    dist.barrier()  # neither may go while the other still needs it
    os._exit(0)  # gloo's threads sometimes abort the process where the interpreter tears them down


def test_two_processes_give_the_loss_and_gradients_of_one(free_port):
    queue = mp.get_context("spawn").SimpleQueue()
    mp.spawn(one_rank, args=(free_port, queue), nprocs=2)
    for name, (loss, grads) in queue.get().items():
        alone = Toy(name)
        expected = alone(global_rows(), ALONE)
        expected.backward()
        assert loss == pytest.approx(expected.item(), abs=1e-5), name
        compared = {n: p.grad for n, p in alone.named_parameters() if p.grad is not None}
        assert compared.keys() == grads.keys(), name
        for key, grad in compared.items():
            assert torch.allclose(grad, torch.tensor(grads[key]), atol=1e-5), (name, key)
