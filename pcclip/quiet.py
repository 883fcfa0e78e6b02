"""Messages of libraries that say nothing to our users, each with the reason why it is dropped."""

from __future__ import annotations

import logging
import os
import sys
import warnings

_WARNINGS = {
    # Lightning's own use of a torch function; nothing for its users to change.
    r".*isinstance\(treespec, LeafSpec\)": Warning,
    # A frozen image tower is kept in evaluation mode on purpose: its BatchNorms must not move.
    r"Found \d+ module\(s\) in eval mode at the start of training": Warning,
    # Said of diffusers' own pipeline, once a picture, where the decoder must compute in fp32.
    r"`upcast_vae` is deprecated": FutureWarning,
    # NumPy's, of diffusers' schedulers, which hand it a torch tensor.
    r"__array__ implementation doesn't accept a copy keyword": DeprecationWarning,
    # The datamodule chooses the number of workers, and says so in its settings.
    r"The '\w+' does not have many workers": Warning,
    # So it is on every resume, which is meant to write there.
    r"Checkpoint directory .* exists and is not empty": Warning,
    # A checkpoint may be of another run, whose folder is its own.
    r"The dirpath has changed from": Warning,
    # Lightning 2.6 calls jsonargparse by names that it has given up since 4.49; ours are the new ones.
    r"\s*``ArgumentParser\.add_instantiator`` was deprecated": DeprecationWarning,
    r"\s*``instantiate_classes`` was deprecated": DeprecationWarning,
    r"\s*skip_none parameter was deprecated": DeprecationWarning,
    # Said by jsonargparse before the first of those.
    r"\s*By default only one JsonargparseDeprecationWarning per type is shown": DeprecationWarning,
}
_LOG_STARTS = (
    "💡 Tip:",  # advertises Lightning's cloud service
    "GPU available:",  # the accelerator that is used is in the run's configuration
    "TPU available:",
    "There are modules in AutoencoderKL that should be kept in float32",  # the same; none is listed
    "No pretrained weights loaded for model",  # said by open_clip where random_init asks for just that
    "Seed set to",  # it is in the run's configuration
    "`Trainer.fit` stopped: `max_steps=",  # the progress has just said so
)


class _Plain(logging.Formatter):
    """`warning: ...` as other programs say it, without the logger's name."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return text if record.levelno < logging.WARNING else f"{record.levelname.lower()}: {text}"


def _keep(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_LOG_STARTS)


def lively() -> bool:
    """Whether something may be drawn: standard error is a terminal, and it is not a CI's (`CI=1`)."""
    return (
        sys.stderr.isatty()
        and os.environ.get("CI", "") in ("", "0", "false")
        and os.environ.get("TERM") != "dumb"
    )


def quiet() -> None:
    """Drop those messages in this process; our own logs go to standard error, plainly."""
    if not lively():
        os.environ.setdefault("TQDM_DISABLE", "1")  # libraries draw bars at downloads even into files
    own = logging.getLogger("pcclip")
    if not own.handlers and not logging.getLogger().handlers:  # else others care for logs
        handler = logging.StreamHandler()
        handler.setFormatter(_Plain())
        own.addHandler(handler)
        own.propagate = False  # a library's call of `logging.warning` gives the root a handler later
    for message, category in _WARNINGS.items():
        warnings.filterwarnings("ignore", message, category)
    for name in (
        "",
        "lightning.pytorch.utilities.rank_zero",
        "lightning.fabric.utilities.seed",
        "lightning.fabric.utilities.rank_zero",
        "lightning.pytorch.trainer.connectors.checkpoint_connector",
        "diffusers.models.modeling_utils",
    ):
        logging.getLogger(name).addFilter(_keep)
