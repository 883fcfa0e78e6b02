"""Bad settings and bad files: the real command says what is wrong, where, and what to do."""

import io
import json
import tarfile

import pytest
from fitting import fit_words, unmeasured

from pcclip.cli import main


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model.name=local-dir:nowhere"], "nowhere"),
        (["--trainer.precision=bf16-true"], "keeps no fp32 master weights"),
        (["--data.batch_size=100000"], "too few records"),
        (["--data.payload=keys"], "data.bank is null"),
        (["--data.triples=nowhere/*.tar"], "no shard matches"),
    ],
)
def test_bad_settings_name_the_key_and_the_remedy(place, words, message, capsys):
    assert main(fit_words(place, f"bad-{len(list(place.glob('runs/small/*')))}", *words)) == 1
    assert message in capsys.readouterr().err


def test_a_checkpoint_of_another_architecture_is_refused(place, whole, tmp_path, capsys):
    from pcclip.model.checkpoint import save_folder
    from pcclip.model.towers import load_towers

    save_folder(load_towers("pcclip-mini", random_init=True), tmp_path / "other")
    ckpt = f"--ckpt_path={whole / 'checkpoints/last.ckpt'}"
    assert main(fit_words(place, "other", f"--model.name=local-dir:{tmp_path / 'other'}", ckpt)) == 1
    assert "they differ in" in capsys.readouterr().err


def test_an_unknown_key_is_an_error(place, capsys):
    with pytest.raises(SystemExit):
        main(fit_words(place, "typo", "--model.temprature=1"))
    assert "temprature" in capsys.readouterr().err


def test_unknown_verbs_list_the_known_ones(capsys):
    assert main(["fitt"]) == 2
    assert "resume" in capsys.readouterr().err


def damaged(place, folder, change):
    """The glob of copies of the training triples in which `change` made new bytes, or None, of each file."""
    folder.mkdir()
    for path in sorted((place / "data/triples/train").glob("*.tar")):
        with tarfile.open(path) as old, tarfile.open(folder / path.name, "w") as new:
            for member in old:
                data = change(member.name, old.extractfile(member).read())
                if data is not None:
                    member.size = len(data)
                    new.addfile(member, io.BytesIO(data))
    return f"{folder}/*.tar"


def without_difference(name, data):
    return json.dumps(json.loads(data) | {"difference": " "}).encode() if name.endswith(".json") else data


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda name, data: None if ".2." in name else data, ["has no picture .2.", "payload"]),
        (lambda name, data: data[:40] if ".1." in name else data, ["cannot be decoded"]),
        (without_difference, ["difference", "empty"]),
    ],
    ids=["missing picture", "unreadable picture", "empty difference"],
)
def test_a_bad_record_stops_the_fit_by_file_and_key(place, tmp_path, capsys, change, says):
    shards = damaged(place, tmp_path / "bad", change)
    assert main(unmeasured(place, f"bad-{tmp_path.name}", f"--data.triples={shards}")) == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error[error.index("pcclip fit:") :]
    for text in (str(tmp_path / "bad/0000"), *says):
        assert text in error
    shard = next(path for path in (tmp_path / "bad").glob("*.tar") if str(path) in error)
    with tarfile.open(shard) as members:
        assert any(name.split(".")[0] in error for name in members.getnames())


def test_a_truncated_shard_is_refused_before_the_first_step(place, tmp_path, capsys):
    shards = damaged(place, tmp_path / "cut", lambda name, data: data)
    shard = tmp_path / "cut/000000.tar"
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size * 2 // 3])
    assert main(fit_words(place, "cut", f"--data.triples={shards}")) == 1
    error = capsys.readouterr().err
    assert str(shard) in error
    assert "truncated" in error
    assert not list((place / "runs/small/cut").glob("checkpoints/*"))


def test_a_shard_of_another_size_than_its_set_says_is_refused(place, tmp_path, capsys):
    damaged(place, tmp_path / "set", lambda name, data: data)
    listed = place / "data/triples/train/set.json"
    (tmp_path / "set/set.json").write_bytes(listed.read_bytes())
    with (tmp_path / "set/000000.tar").open("ab") as shard:
        shard.write(b"\0" * 512)
    assert main(fit_words(place, "resized", f"--data.triples={tmp_path / 'set'}")) == 1
    assert "set.json lists it with" in capsys.readouterr().err


def test_a_bank_of_another_model_is_refused(place, tmp_path, capsys):
    import torch

    from pcclip.model.checkpoint import save_folder
    from pcclip.model.towers import load_towers

    torch.manual_seed(1)
    save_folder(load_towers("pcclip-tiny", random_init=True), tmp_path / "other")
    bank = f"--data.bank={tmp_path / 'bank'}"
    assert main(unmeasured(place, "own", bank, "--trainer.max_steps=1")) == 0
    capsys.readouterr()
    assert main(fit_words(place, "foreign", bank, f"--model.name=local-dir:{tmp_path / 'other'}")) == 1
    error = capsys.readouterr().err
    assert "this bank was made with image weights and preprocessing of fingerprint" in error
    assert str(tmp_path / "bank") in error
