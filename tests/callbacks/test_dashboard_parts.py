"""Parts of the dashboard against values worked out by hand."""

import pytest
import torch

from pcclip.callbacks.dashboard.confusion import confusion_figure
from pcclip.callbacks.dashboard.hardest import compared
from pcclip.callbacks.dashboard.hparams import settings_of
from pcclip.callbacks.dashboard.serve import link_runs, main
from pcclip.evaluation.exhibits.kinds import Confusion


def test_the_hardest_pairs_come_first_and_equal_texts_do_not_compete():
    cosines = torch.tensor(
        [[0.1, 0.9, 0.0, 0.3], [0.2, 0.5, 0.4, 0.0], [0.7, 0.1, 0.2, 0.1], [0.9, 0.2, 0.0, 0.6]]
    )
    same = torch.eye(4, dtype=torch.bool)
    same[0, 3] = same[3, 0] = True
    found = compared(cosines, same, 3)
    # Text 3 fits pair 0 best, but says what its own does: text 2 is what was preferred, by 0.6.
    assert [(one.row, one.preferred) for one in found.hardest] == [(0, 2), (1, 0), (2, 1)]
    assert found.hardest[0].own_cosine == pytest.approx(0.1)
    assert found.hardest[0].preferred_cosine == pytest.approx(0.7)
    assert found.text_accuracy == 0.25  # pair 3 alone
    assert found.image_accuracy == 0.5  # texts 1 and 3


def test_a_batch_of_one_text_has_no_hard_pairs():
    assert compared(torch.ones(3, 3), torch.ones(3, 3, dtype=torch.bool), 3).hardest == []


def _titles(confusion: Confusion) -> list[str]:
    return [panel.get_title() for panel in confusion_figure(confusion).axes]


def test_confusions_say_how_many_are_right_of_the_classes_that_have_pictures():
    small = Confusion(
        "zero_shot/s",
        ["a", "b", "none"],
        [[3, 1, 0], [2, 2, 0], [0, 0, 0]],
        [[4, 0, 0], [2, 2, 0], [0, 0, 0]],
    )
    assert _titles(small) == ["base, 62.5 % right", "tuned, 75.0 % right", "change, +12.5 points; blue: more"]


def test_of_many_classes_those_that_are_confused_most_are_drawn():
    names = [f"class {number}" for number in range(40)]
    base = [[10.0 * (row == column) for column in range(40)] for row in range(40)]
    base[7][31], base[7][7] = 4.0, 6.0
    figure = confusion_figure(Confusion("zero_shot/s", names, base, base))
    shown = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(shown) == 25
    assert {"class 7", "class 31"} <= set(shown)
    assert "25 most confused" in figure.get_suptitle()


def test_settings_have_the_names_of_their_options(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(
        "experiment: e\nseed_everything: 3\ntrainer: {max_steps: 5, callbacks: [a]}\n"
        "model:\n  class_path: pcclip.training.DifferenceTraining\n  init_args:\n    compile_text: false\n"
        "    lora: null\n"
        "    optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 0.1, betas: [0.9, 0.98]}}\n"
        "data: {class_path: pcclip.data.datamodule.DifferenceData, init_args: {batch_size: 4}}\n"
    )
    assert settings_of(config) == {
        "experiment": "e",
        "seed_everything": 3,
        "model.compile_text": "false",
        "model.optimizer": "AdamW",
        "model.optimizer.lr": 0.1,
        "model.optimizer.betas": "0.9, 0.98",
        "data.batch_size": 4,
        "trainer.max_steps": 5,
    }


def test_tensorboard_gets_every_run_once(tmp_path):
    runs, mirror = tmp_path / "runs", tmp_path / "mirror"

    def make(name: str) -> None:
        (runs / name).mkdir(parents=True)
        (runs / name / "events.out.tfevents.1").touch()

    def linked() -> set[str]:
        return {str(link.relative_to(mirror)) for link in mirror.glob("*/*") if link.exists()}

    make("a/seed0")
    make("a/seed0/arithmetic")  # below a run: it comes with it
    (runs / "a/latest").symlink_to("seed0")
    (runs / "a/empty").mkdir()
    link_runs(runs, mirror)
    assert linked() == {"a/seed0"}
    make("b/v000")
    (runs / "a").rename(tmp_path / "gone")
    link_runs(runs, mirror)
    assert linked() == {"b/v000"}
    link_runs(runs / "b/v000", tmp_path / "one")
    assert [link.name for link in (tmp_path / "one").iterdir()] == ["v000"]


def test_a_folder_of_runs_that_is_not_there_is_named(tmp_path, capsys):
    assert main([str(tmp_path / "nothing")]) == 1
    assert str(tmp_path / "nothing") in capsys.readouterr().err
