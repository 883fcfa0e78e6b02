"""What a fit does not wait for when it starts."""

from __future__ import annotations

import subprocess
import sys

START = """
import gc, sys
from pcclip.lean_imports import import_torchmetrics, uncollected
with uncollected():
    import_torchmetrics()
    import pcclip.trainer_cli, pcclip.callbacks.evaluation
    print(gc.isenabled())
print(gc.isenabled(), gc.get_freeze_count())
import pcclip.evaluation.protocols.zero_shot, pcclip.evaluation.protocols.difference
print(*(name for name in ("scipy.signal", "scipy.stats", "matplotlib.pyplot") if name in sys.modules))

# Metrics that compute with scipy, and whoever asks for the packages, find them as ever.
import torch, torchmetrics
from torchmetrics.functional.audio.pit import permutation_invariant_training
from torchmetrics.utilities.imports import _SCIPY_AVAILABLE
from lightning_utilities.core.imports import RequirementCache, package_available
found = permutation_invariant_training(torch.ones(1, 4, 8), torch.ones(1, 4, 8), lambda a, b: (a * b).sum(-1))
print(float(found[0]), bool(_SCIPY_AVAILABLE), package_available("scipy"))
print(bool(RequirementCache("matplotlib")))
"""


def test_a_fit_starts_without_plots_and_statistics():
    done = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["False", "True 0", "", "8.0 True True", "True"]
