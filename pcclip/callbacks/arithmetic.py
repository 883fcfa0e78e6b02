"""Pictures from embedding arithmetic before a fit, during it and after it."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from pcclip.arithmetic.command import PICTURES, keep, log, results_folder
from pcclip.arithmetic.evaluation import PictureArithmetic
from pcclip.callbacks.validations import Validations
from pcclip.callbacks.weights import other_weights
from pcclip.crew import Crew
from pcclip.model.towers import Towers
from pcclip.sharding import with_whole_weights
from pcclip.training import DifferenceTraining


class PicturesFromArithmetic(Callback):
    """Draws and measures pictures by the base tower at step 0, and by the tuned one beside it later.

    The first rank draws while the others wait, however long that is: with several, take a small `sample`,
    and leave the whole to `pcclip arithmetic`, which takes the pictures over. The generator is loaded each
    time and let go afterwards.

    Args:
        pictures: what is drawn and how it is measured.
        suite: name of this evaluation.
        every_n_validations: cadence during the fit; 0 draws before and after it only.
    """

    def __init__(self, pictures: PictureArithmetic, suite: str, every_n_validations: int = 0) -> None:
        """See the class."""
        self.pictures = pictures
        self.suite = suite
        self.every_n_validations = every_n_validations
        self.drawn_at: int | None = None
        self.finished = False
        self.base: Towers | None = None
        self.crew: Crew | None = None

    @with_whole_weights
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw by the base tower; a run that goes on has done so."""
        assert isinstance(pl_module, DifferenceTraining)
        if trainer.global_step == 0:
            self._measure(trainer, pl_module, tuned=False)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw by the weights as they are, where it is due."""
        assert isinstance(pl_module, DifferenceTraining)
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        if self.every_n_validations and Validations.number(trainer) % self.every_n_validations == 0:
            self._measure(trainer, pl_module, tuned=True)

    @with_whole_weights
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw by the tuned tower."""
        assert isinstance(pl_module, DifferenceTraining)
        if not self._crew().agree(trainer.received_sigterm):
            self._finish(trainer, pl_module)
        self.finished = True

    @with_whole_weights
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The same for a run that was stopped after its last step: Lightning skips `on_train_end`."""
        assert isinstance(pl_module, DifferenceTraining)
        if not self.finished:
            self._finish(trainer, pl_module)

    def _finish(self, trainer: Trainer, module: DifferenceTraining) -> None:
        if self.drawn_at != trainer.global_step:  # else the validation after the last step has done it
            self._measure(trainer, module, tuned=True)

    def _measure(self, trainer: Trainer, module: DifferenceTraining, tuned: bool) -> None:
        self._crew().lead(lambda: self._draw(trainer, module, tuned))
        self.drawn_at = trainer.global_step

    def _draw(self, trainer: Trainer, module: DifferenceTraining, tuned: bool) -> None:
        towers = {"base": self._base(module)}
        if tuned:
            towers["tuned"] = _copy(module)
        run = Path(trainer.logger.log_dir if trainer.logger is not None else ".")  # type: ignore[arg-type]
        with torch.autocast(module.device.type, enabled=False), torch.random.fork_rng():
            outcome = self.pictures.run(towers, run / PICTURES / self.suite, str(run), str(module.device))
        keep(outcome, results_folder(run, self.suite))
        if isinstance(trainer.logger, TensorBoardLogger):
            log(outcome, trainer.logger.experiment, trainer.global_step)

    def _crew(self) -> Crew:
        if self.crew is None:
            self.crew = Crew.of_job()
        return self.crew

    def _base(self, module: DifferenceTraining) -> Towers:
        if self.base is None:
            with other_weights(module, module.base_weights):
                self.base = _copy(module)
        return self.base


def _copy(module: DifferenceTraining) -> Towers:
    """The towers as they are now, on the CPU; those that train stay where they are."""
    return copy.deepcopy(module.towers).cpu().eval()
