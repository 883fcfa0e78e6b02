"""Messages of libraries that say nothing to our users, each with the reason why it is dropped."""

from __future__ import annotations

import logging
import warnings

_WARNINGS = {
    # Lightning's own use of a torch function; nothing for its users to change.
    r".*isinstance\(treespec, LeafSpec\)": Warning,
    # A frozen image tower is kept in evaluation mode on purpose: its BatchNorms must not move.
    r"Found \d+ module\(s\) in eval mode at the start of training": Warning,
    # Said of diffusers' own pipeline, once a picture, where the decoder must compute in fp32.
    r"`upcast_vae` is deprecated": FutureWarning,
    # The datamodule chooses the number of workers, and says so in its settings.
    r"The '\w+' does not have many workers": Warning,
}
_LOG_STARTS = (
    "💡 Tip:",  # advertises Lightning's cloud service
    "GPU available:",  # the accelerator that is used is in the run's configuration
    "TPU available:",
    "There are modules in AutoencoderKL that should be kept in float32",  # the same; none is listed
    "No pretrained weights loaded for model",  # said by open_clip where random_init asks for just that
)


def _keep(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_LOG_STARTS)


def quiet() -> None:
    """Drop those messages in this process."""
    for message, category in _WARNINGS.items():
        warnings.filterwarnings("ignore", message, category)
    for name in (
        "",
        "lightning.pytorch.utilities.rank_zero",
        "lightning.pytorch.trainer.connectors.checkpoint_connector",
        "diffusers.models.modeling_utils",
    ):
        logging.getLogger(name).addFilter(_keep)
