"""TensorBoard's page of custom scalars, by purpose: training health, what improved, what it cost."""

from __future__ import annotations

from collections.abc import Sequence

from pcclip.callbacks.dashboard.changes import CHANGE, COSTS, GAINS, HIGH, LOW, chosen
from pcclip.evaluation.comparing.rows import describe

Layout = dict[str, dict[str, list[str | list[str]]]]
"""As `SummaryWriter.add_custom_scalars` takes it: category -> chart -> [kind, tags]."""

_HEALTH = {
    "loss": r"^(train|validation)/loss$",
    "loss by part": r"^train/(difference|caption)_loss$",
    "gradient norm, before clipping": r"^train/gradient_norm$",
    "learning rate": r"^train/learning_rate$",
    "temperature": r"^train/(caption_)?temperature$",
    "samples per second, all ranks": r"^train/samples_per_second$",
    "share of time that waits for the loader": r"^train/loader_wait_share$",
}
_IN_BATCH = {"right pair found within a training batch, share": r"^in_batch/.+$"}


def layout(metrics: Sequence[str], temperature: bool, in_batch: bool) -> Layout:
    """The page of a run.

    Args:
        metrics: Names of all metrics that were measured at step 0.
        temperature: Whether the objectives have one.
        in_batch: Whether accuracies within a batch are logged.
    """
    health = {name: tag for name, tag in _HEALTH.items() if temperature or name != "temperature"}
    if in_batch:
        health |= _IN_BATCH
    page: Layout = {"1. Training health": {name: ["Multiline", [tag]] for name, tag in health.items()}}
    for title, patterns in (
        ("2. What improved: change against step 0, 95 %, validation data", GAINS),
        ("3. What it cost: change against step 0, 95 %, validation data", COSTS),
    ):
        if names := chosen(metrics, patterns):
            page[title] = {
                describe(name).label: ["Margin", [tag.format(name) for tag in (CHANGE, LOW, HIGH)]]
                for name in reversed(
                    names
                )  # TensorBoard shows charts with margins from the last to the first
            }
    return page
