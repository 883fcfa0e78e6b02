"""The kernel for short texts against PyTorch's attention, run by Triton's interpreter."""

import os
import subprocess
import sys

import pytest

CHECK = """
import torch
from torch.nn.functional import scaled_dot_product_attention
from pcclip.model import packing
from pcclip.model.short_attention import causal_attention

lengths, heads, width = [3, 16, 17, 40, 77, 64, 1, 128], 2, 16
packed = packing.pack(lengths, torch.tensor(lengths) - 1)
assert [size for size, _ in packed.buckets] == [16, 32, 64, 128]
assert sorted(i for _, part in packed.buckets for i in part.tolist()) == list(range(len(lengths) + 1))
assert packed.read.tolist() == [sum(lengths[: i + 1]) - 1 for i in range(len(lengths))]
for dtype, near in ((torch.float32, 1e-5), (torch.float16, 5e-3)):
    torch.manual_seed(0)
    qkv = torch.randn(len(packed.texts), 3 * heads * width, dtype=dtype, requires_grad=True)
    dy = torch.randn(len(qkv), heads * width, dtype=dtype)
    expected = []
    for part in qkv.float().split(torch.diff(packed.ends).tolist()):
        q, k, v = part.view(-1, 3, heads, width).permute(1, 2, 0, 3)
        y = scaled_dot_product_attention(q, k, v, is_causal=True)
        expected.append(y.transpose(0, 1).reshape(-1, heads * width))
    expected = torch.cat(expected)
    (theirs,) = torch.autograd.grad(expected, qkv, dy.float())
    found = causal_attention(qkv, packed.ends, packed.buckets, heads)
    (ours,) = torch.autograd.grad(found, qkv, dy)
    torch.testing.assert_close(found.float(), expected, atol=near, rtol=near)
    torch.testing.assert_close(ours, theirs, atol=near, rtol=near)
print("equal")
"""


def test_equals_scaled_dot_product_attention_with_gradients() -> None:
    pytest.importorskip("triton")
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CHECK],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "equal"
