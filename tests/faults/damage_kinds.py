"""Every kind of file that pcclip reads back, and how it is read."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.faults.damage_world import world


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        folder: Copied for each test; gives it from the world.
        file: Glob of the file within the copy.
        use: Reads the copy as pcclip does.
        sure: Whether every change of what is found must show at once; where not, `pcclip inspect` shows it.
        slow: Whether a use takes as long as a command.
    """

    folder: Callable[[], Path]
    file: str
    use: Callable[[Path], Any]
    sure: bool = True
    slow: bool = False


def equal(one: Any, other: Any) -> bool:
    """Whether two finds are the same, arrays included."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return equal(one.numpy(), other.numpy())
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    return one == other


def _triples(folder: Path) -> Any:
    from pcclip.data.records import Triple
    from pcclip.data.shards import ShardIndex, resolve_shards

    indexes = [ShardIndex.load(path) for path in resolve_shards(folder)]
    return [Triple.parse(i.key(n), i.read(n, "json"), i.path) for i in indexes for n in range(len(i))]


def _pictures(folder: Path) -> Any:
    from pcclip.data.records import Picture, decode_picture
    from pcclip.data.shards import ShardIndex, resolve_shards

    found = []
    for index in (ShardIndex.load(path) for path in resolve_shards(folder)):
        for number in range(len(index)):
            one = Picture.parse(index.key(number), index.read_record(number), index.path)
            found.append(
                (
                    one.key,
                    one.captions,
                    one.attributes,
                    np.asarray(decode_picture(one.image, one.key, index.path)),
                )
            )
    return found


def _bank(folder: Path) -> Any:
    from pcclip.data.bank import Bank

    bank = Bank.open(folder, None)
    known = list(Bank.open(world() / "round/bank", None).keys())
    return bank.embeddings(bank.rows(known)), bank.fingerprint, bank.dtype, bank.source


def _checkpoint(folder: Path) -> Any:
    from pcclip.callbacks.checkpoint_file import WholeCheckpoints

    return WholeCheckpoints().load_checkpoint(folder / "last.ckpt", weights_only=True)


_META = ("architecture", "base", "fingerprints", "trained", "tokenizer_fingerprint")


def _model(folder: Path) -> Any:
    from pcclip.model.saved import read_meta
    from pcclip.model.towers import load_towers

    towers = load_towers(f"local-dir:{folder}")
    state = {name: tensor.clone() for name, tensor in towers.clip.state_dict().items()}
    return (
        state,
        towers.architecture(),
        towers.preprocess_config(),
        {name: value for name, value in read_meta(folder).items() if name in _META},
    )


def _results(folder: Path) -> Any:
    from pcclip.evaluation.measured import Measured

    return Measured.load(folder).estimates()


_RECORD = ("id", "pcclip", "model", "base", "evaluations")
_SUMMARY = ("experiment", "seed", "steps", "base", "tuned", "delta", "alpha", "interpolated")


def _record(folder: Path) -> Any:
    from pcclip.evaluation.record import read_record

    return {name: value for name, value in read_record(folder).items() if name in _RECORD}


def _summary(folder: Path) -> Any:
    from pcclip.evaluation.finished import finished_runs

    return [[one.summary.get(name) for name in _SUMMARY] for one in finished_runs([folder])]


def _job(folder: Path) -> Any:
    """The same job once more: it makes again what is not as it was written."""
    from pcclip.generation.write import write

    job = folder / "again"
    shutil.rmtree(job, ignore_errors=True)
    shutil.copytree(folder / "written", job)
    shutil.rmtree(job / "triples")
    (job / "CARD.md").unlink()
    write(**_write_arguments(), out=str(job), chunk_rows=100, progress=False)
    triples = job / "triples"
    found = {file.name: file.read_bytes() for file in sorted(triples.glob("*.tar"))}
    shutil.rmtree(job)
    return found


def _write_arguments() -> dict[str, Any]:
    from pcclip.data.sources.shapes import Shapes
    from pcclip.generation.pairs import PairPlan
    from pcclip.generation.picture_pairs import PicturePairs
    from pcclip.generation.writers.rule_writer import RuleTextWriter

    pictures = world() / "round/data/pictures/train"
    rows = PicturePairs(str(pictures), PairPlan(80, 300), "soak")
    return {"rows": rows, "writer": RuleTextWriter(Shapes(train=80, validation=40, test=40))}


def _features(folder: Path) -> Any:
    from pcclip.evaluation.encoding import features

    (file,) = folder.glob("features-*.npy")
    return np.array(features._read(file, 40))


def _texts(folder: Path) -> Any:
    from pcclip.evaluation.encoding.text_cache import TextCache

    (file,) = folder.glob("texts-*.npz")
    cache = TextCache(folder, "any")
    cache._file = file
    return cache._read()


def _note(folder: Path) -> Any:
    """The model's fingerprints, from the note of an earlier run."""
    from pcclip.evaluation.encoding.models import NamedModel
    from pcclip.evaluation.encoding.named import Named

    return NamedModel(Named(f"local-dir:{world() / 'base'}"), "cpu", folder).fingerprints


def _gallery(folder: Path) -> Any:
    from pcclip.inference.gallery_files import Kept

    kept = Kept(folder.parent, world() / "round/photos", "any")
    kept._folder, kept._index = folder, folder / "index.npz"
    found = kept.read()
    assert found is not None
    return found.listing.names, found.listing.stamps, found.readable, np.array(found.rows)


def _only(pattern: str) -> Callable[[], Path]:
    """A folder with just the first file of the caches that fits."""

    def find() -> Path:
        folder = world() / f"one-{pattern.split('-')[0]}"
        if not folder.exists():
            folder.mkdir()
            file = min(
                (world() / "round/cache").glob(pattern),
                key=lambda file: (file.stat().st_size != _size40(file), file.name),
            )
            shutil.copy2(file, folder)
        return folder

    return find


def _size40(file: Path) -> int:
    """The size that a file of 40 embeddings has; features of the photos are kept elsewhere."""
    return file.stat().st_size if file.suffix != ".npy" else 128 + 40 * 64 * 4 + 4


def _gallery_folder() -> Path:
    return min(one for one in (world() / "round/cache").glob("gallery-*") if one.is_dir())


def _note_folder() -> Path:
    folder = world() / "one-note"
    if not folder.exists():
        folder.mkdir()
        _note(folder)
    return folder


def _job_folder() -> Path:
    folder = world() / "one-job"
    if not folder.exists():
        folder.mkdir()
        shutil.copytree(world() / "round/written", folder / "written")
    return folder


def _at(path: str) -> Callable[[], Path]:
    return lambda: world() / "round" / path


KINDS: dict[str, Kind] = {
    "shard of triples": Kind(_at("written/triples"), "000000.tar", _triples, False),
    "shard of pictures": Kind(_at("data/pictures/test"), "000000.tar", _pictures, False),
    "set.json": Kind(_at("data/pictures/test"), "set.json", _pictures),
    "index of a shard": Kind(_at("written/triples"), ".pcclip-cache/*.index.npz", _triples),
    "bank: embeddings": Kind(_at("bank"), "embeddings.npy", _bank, False),
    "bank: hashes": Kind(_at("bank"), "hashes.npy", _bank),
    "bank: rows": Kind(_at("bank"), "hash_rows.npy", _bank),
    "bank: key ends": Kind(_at("bank"), "key_ends.npy", _bank),
    "bank: keys": Kind(_at("bank"), "keys.bin", _bank),
    "bank.json": Kind(_at("bank"), "bank.json", _bank),
    "checkpoint": Kind(_at("runs/soak/v000/checkpoints"), "last.ckpt", _checkpoint),
    "model: weights": Kind(_at("runs/soak/v000/model"), "*.safetensors", _model, slow=True),
    "model: config": Kind(_at("runs/soak/v000/model"), "open_clip_config.json", _model, slow=True),
    "model: pcclip.json": Kind(_at("runs/soak/v000/model"), "pcclip.json", _model, slow=True),
    "results": Kind(_at("runs/soak/v000/results/soak/tuned"), "*.npz", _results),
    "record of results": Kind(_at("runs/soak/v000/results/soak/tuned"), "record.json", _record),
    "summary": Kind(_at("runs/soak/v000"), "summary.json", _summary),
    "job.json": Kind(_job_folder, "written/job.json", _job, slow=True),
    "manifest of a job": Kind(_job_folder, "written/manifest.jsonl", _job, slow=True),
    "chunk of answers": Kind(_job_folder, "written/answers/000001.jsonl", _job, slow=True),
    "feature cache": Kind(_only("features-*.npy"), "features-*.npy", _features),
    "text cache": Kind(_only("texts-*.npz"), "texts-*.npz", _texts),
    "note of fingerprints": Kind(_note_folder, "model-*.json", _note),
    "gallery: index": Kind(_gallery_folder, "index.npz", _gallery),
    "gallery: embeddings": Kind(_gallery_folder, "features-*.npy", _gallery),
}
