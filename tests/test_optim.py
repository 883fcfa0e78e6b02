"""Groups of parameters, and Muon and AdamW as one optimiser."""

import copy

import pytest
import torch
from torch import nn

from pcclip.model.towers import load_towers
from pcclip.model.trainable import select_trainable
from pcclip.optim import MuonAdamW, parameter_groups


def small_net():
    torch.manual_seed(0)
    layers = nn.ModuleList([nn.Linear(6, 6), nn.Linear(6, 4)])
    return nn.ModuleDict({"embedding": nn.Embedding(9, 6), "layers": layers})


def loss(net, seed):
    rows = net["embedding"](torch.randint(9, (5,), generator=torch.Generator().manual_seed(seed)))
    return net["layers"][1](net["layers"][0](rows).tanh()).square().sum()


def train(net, optimizers, seeds):
    for seed in seeds:
        loss(net, seed).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()


def same(one, two):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_groups_of_a_clip_hold_every_parameter_once():
    towers = load_towers("pcclip-mini", random_init=True)
    select_trainable(towers, "both")
    trained = [(n, p) for n, p in towers.named_parameters() if p.requires_grad]
    hidden, others, vectors = parameter_groups(trained)
    names = {id(p): n for n, p in trained}
    assert sorted(id(p) for g in (hidden, others, vectors) for p in g["params"]) == sorted(names)
    assert len(hidden["params"]) == 3 * 4  # of three text blocks: qkv, attention's output, two of the MLP
    assert all("transformer.resblocks" in names[id(p)] for p in hidden["params"])
    assert {"clip.token_embedding.weight", "clip.text_projection"} <= {names[id(p)] for p in others["params"]}
    assert all(p.ndim == 1 or p.ndim == 0 for p in vectors["params"])


def test_it_does_what_torchs_two_optimisers_do():
    ours, theirs = small_net(), small_net()
    optimizer = MuonAdamW(parameter_groups(ours.named_parameters()), lr=0.01, weight_decay=0.1)
    matrices = [layer.weight for layer in theirs["layers"]]
    biases = [layer.bias for layer in theirs["layers"]]
    others = [{"params": theirs["embedding"].weight}, {"params": biases, "weight_decay": 0.0}]
    muon = torch.optim.Muon(matrices, lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(others, lr=0.01, weight_decay=0.1, fused=True)
    train(ours, [optimizer], range(5))
    train(theirs, [muon, adamw], range(5))
    assert same(ours, theirs)
    assert not same(ours, small_net())


def test_a_restored_state_goes_on_as_if_never_stopped():
    net = small_net()
    optimizer = MuonAdamW(parameter_groups(net.named_parameters()), lr=0.01)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, 10)
    train(net, [optimizer], range(3))
    scheduler.step()
    resumed_net = copy.deepcopy(net)
    resumed = MuonAdamW(parameter_groups(resumed_net.named_parameters()), lr=9.0)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(net, [optimizer], range(3, 6))
    train(resumed_net, [resumed], range(3, 6))
    assert same(net, resumed_net)
    assert [g["lr"] for g in resumed.param_groups] == pytest.approx([0.0091] * 3)


def test_it_trains_where_no_layer_is_trained():
    net = small_net()
    net["layers"].requires_grad_(False)
    optimizer = MuonAdamW(
        parameter_groups((n, p) for n, p in net.named_parameters() if p.requires_grad), lr=0.01
    )
    before = net["embedding"].weight.detach().clone()
    train(net, [optimizer], range(2))
    assert not torch.equal(before, net["embedding"].weight)
