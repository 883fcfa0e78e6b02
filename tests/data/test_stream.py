"""Orders, cuts, cursors and loaders: the same samples whatever ranks, workers and interruptions."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from shard_making import write_triples
from torch.utils.data import Dataset

from pcclip.data.batches import TrainingBatches, TripleSource, ValidationBatches, make_stream
from pcclip.data.index import ShardIndex
from pcclip.data.sets import resolve_shards
from pcclip.data.stream import BatchLoader, Cut, Failure, GlobalOrder, ResumableLoader
from pcclip.data.tokens import TextTokens
from pcclip.errors import PcclipError

SIZES = [10, 7, 0, 1, 25, 10, 3]


def whole_epoch(order, epoch):
    return list(zip(*(part.tolist() for part in order.locate(epoch, np.arange(len(order)))), strict=True))


@pytest.mark.parametrize("window", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("epoch", [0, 1, 5])
def test_every_record_once_per_epoch(window, epoch):
    order = GlobalOrder(SIZES, seed=3, shuffle_shards=window)
    everything = [(shard, record) for shard, size in enumerate(SIZES) for record in range(size)]
    assert sorted(whole_epoch(order, epoch)) == everything
    assert whole_epoch(order, epoch) != everything
    assert whole_epoch(GlobalOrder(SIZES, 3, shuffle=False), epoch) == everything


def test_order_depends_on_seed_and_epoch_alone():
    order = GlobalOrder(SIZES, seed=3, shuffle_shards=2)
    epochs = [whole_epoch(order, epoch) for epoch in range(4)]
    assert len({tuple(epoch) for epoch in epochs}) == 4
    again = pickle.loads(pickle.dumps(order))
    for epoch in (2, 0, 3):  # in any order of asking, one by one or all at once
        one_by_one = [again.locate(epoch, np.array([at])) for at in range(len(order))]
        assert [(int(s[0]), int(r[0])) for s, r in one_by_one] == epochs[epoch]
    assert whole_epoch(GlobalOrder(SIZES, seed=4, shuffle_shards=2), 0) != epochs[0]


def test_order_is_the_same_in_every_release():
    """A run that is resumed by a later version, or with another numpy, must go on with its own order."""
    shards, records = GlobalOrder([5, 5, 5], seed=1, shuffle_shards=2).locate(2, np.arange(8))
    assert list(zip(shards.tolist(), records.tolist(), strict=True)) == GOLDEN


GOLDEN = [(2, 2), (1, 2), (1, 1), (2, 3), (2, 1), (1, 4), (1, 3), (2, 0)]


def test_records_of_a_window_are_mixed():
    order = GlobalOrder([100] * 8, seed=0, shuffle_shards=4)
    shards, _ = order.locate(0, np.arange(100))
    assert len(set(shards.tolist())) == 4


@pytest.mark.parametrize("world", [1, 2, 3, 6])
def test_training_batches_do_not_depend_on_the_number_of_ranks(world):
    cuts = [Cut(100, 12 // world, rank, world) for rank in range(world)]
    assert {len(cut) for cut in cuts} == {8}
    for batch in range(8):
        together = np.concatenate([cut.positions(batch) for cut in cuts])
        assert together.tolist() == list(range(batch * 12, batch * 12 + 12))


@pytest.mark.parametrize("records", [1, 2, 5, 16, 17, 33, 100])
@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_validation_gives_every_sample_once_and_every_rank_something(records, world):
    cuts = [Cut(records, 8, rank, world, whole=True) for rank in range(world)]
    if records < world:
        with pytest.raises(PcclipError, match=f"too few records: {records} in 1 shards, but {world}"):
            cuts[0].check("data.validation_triples=x", 1)
        return
    cuts[0].check("x", 1)
    batches = [cut.positions(batch) for cut in cuts for batch in range(len(cut))]
    assert sorted(np.concatenate(batches).tolist()) == list(range(records))
    assert all(0 < len(batch) <= 8 for batch in batches)
    assert all(len(cut) >= 1 for cut in cuts)


def test_too_few_records_for_a_step():
    with pytest.raises(PcclipError, match=r"data.triples=here: too few records: 63 in 4 shards, but 64 are "):
        Cut(63, 32, 0, 2).check("data.triples=here", 4)
    Cut(64, 32, 0, 2).check("data.triples=here", 4)


class Numbers(Dataset):
    def __getitem__(self, at):
        epoch, batch = at
        if (epoch, batch) == (9, 3):
            return Failure(PcclipError("shard x, record y"))
        return {"at": at, "values": torch.arange(3) + batch}


def at(loader):
    return [batch["at"] for batch in loader]


IDENTITY = {"seed": 1, "global_batch": 64, "fingerprint": "abc"}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("taken", [0, 1, 4, 6])
def test_goes_on_with_exactly_the_next_batch(workers, taken):
    loader = ResumableLoader(Numbers(), 6, IDENTITY, workers)
    assert at(loader) == [(0, batch) for batch in range(6)]
    assert len(loader) == 6
    loader.cursor.set_epoch(1)
    iterator = iter(loader)
    for _ in range(taken):
        next(iterator)
    state = loader.state_dict()
    assert state == {"epoch": 1, "batch": taken, "samples": taken * 64, **IDENTITY}  # not what was prefetched
    resumed = ResumableLoader(Numbers(), 6, IDENTITY, 2 - workers)
    resumed.load_state_dict(state)
    resumed.cursor.set_epoch(1)
    rest = [(1, batch) for batch in range(taken, 6)]
    assert len(resumed) == 6
    assert at(resumed) == (rest or [(2, batch) for batch in range(6)])
    resumed.cursor.set_epoch(3)
    assert at(resumed) == [(3, batch) for batch in range(6)]


def test_iterator_made_before_the_epoch_is_known():
    loader = ResumableLoader(Numbers(), 3, IDENTITY, 1)
    iterator = iter(loader)
    loader.cursor.set_epoch(5)
    assert next(iterator)["at"] == (5, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 2}, "seed 1, now 2"),
        ({"global_batch": 32}, "global_batch 64, now 32"),
        ({"fingerprint": "xyz"}, "fingerprint 'abc', now 'xyz'"),
    ],
)
def test_state_of_another_order_is_refused(change, message):
    state = ResumableLoader(Numbers(), 6, IDENTITY).state_dict()
    with pytest.raises(PcclipError, match=message):
        ResumableLoader(Numbers(), 6, IDENTITY | change).load_state_dict(state)


@pytest.mark.parametrize("workers", [0, 1])
def test_error_in_a_worker_is_the_users_error_alone(workers):
    loader = BatchLoader(Numbers(), [(9, batch) for batch in range(5)], workers)
    with pytest.raises(PcclipError) as caught:
        list(loader)
    assert str(caught.value) == "shard x, record y"


def plain(picture):
    return torch.zeros(1)


def source(folder):
    indexes = [ShardIndex.load(path) for path in resolve_shards(folder)]
    return TripleSource(indexes, "pixels", TextTokens(Padded()), preprocess=plain)


class Padded:
    def __call__(self, texts):
        ids = torch.zeros(len(texts), 12, dtype=torch.long)
        for row, text in zip(ids, texts, strict=True):
            words = [len(word) for word in text.split()[:11]] + [99]
            row[: len(words)] = torch.tensor(words)
        return ids


@pytest.fixture(scope="module")
def triples(tmp_path_factory):
    return write_triples(tmp_path_factory.mktemp("triples") / "set", 50, 10, pixels=True)


def rank_keys(triples, rank, world, start_method, workers, epochs=2):
    stream = make_stream(source(triples), "x", 12 // world, rank=rank, world=world, seed=5, shuffle_shards=2)
    batches = TrainingBatches({"differences": stream})
    loader = ResumableLoader(batches, batches.steps, {}, workers, start_method)
    return [[batch["differences"]["keys"].tolist() for batch in loader] for _ in range(epochs)]


@pytest.mark.parametrize(
    "start_method",
    [
        "fork",
        pytest.param("spawn", marks=pytest.mark.slow),
        pytest.param("forkserver", marks=pytest.mark.slow),
    ],
)
def test_ranks_and_workers_are_disjoint_under_every_start_method(triples, start_method):
    alone = rank_keys(triples, 0, 1, None, 0)
    ranks = [rank_keys(triples, rank, 2, start_method, 2) for rank in range(2)]
    for epoch in range(2):
        joined = [first + second for first, second in zip(ranks[0][epoch], ranks[1][epoch], strict=True)]
        assert joined == alone[epoch]
        keys = [key for batch in joined for key in batch]
        assert len(set(keys)) == len(keys) == 48
    assert alone[0] != alone[1]


@pytest.mark.parametrize("workers", [0, 2])
def test_validation_loader(triples, workers):
    seen = []
    for rank in range(3):
        stream = make_stream(source(triples), "x", 8, rank=rank, world=3, training=False)
        batches = ValidationBatches({"differences": stream, "again": stream})
        loader = BatchLoader(batches, [(0, batch) for batch in range(len(batches))], workers)
        first, second = ([b for b in loader if name in b] for name in ("differences", "again"))
        seen += [key for batch in first for key in batch["differences"]["keys"]]
        assert [b["again"]["keys"].tolist() for b in second] == [
            b["differences"]["keys"].tolist() for b in first
        ]
        assert all(len(batch) == 1 for batch in first + second)
    assert sorted(seen) == [f"t{i:04d}" for i in range(50)]


def test_a_dataset_travels_without_a_model(triples):
    stream = make_stream(source(triples), "x", 4)
    assert len(pickle.dumps(TrainingBatches({"differences": stream}))) < 20_000


_LEFT_OPEN = """
import sys, time
import torch.utils.data
from torch.utils.data import Dataset
from pcclip.data.stream import ResumableLoader

torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL = 0.5  # seconds, not 5, that torch gives each worker

class Batches(Dataset):
    def __getitem__(self, at):
        if at[1] > 0 and sys.argv[2] == "stuck":
            time.sleep(1000)
        return {"x": at}

if __name__ == "__main__":
    loader = ResumableLoader(Batches(), 100, {"global_batch": 1}, 2, sys.argv[1])
    batches = iter(loader)
    print(next(batches))
    if sys.argv[2] == "cycle":  # collected there, the loader cannot tell its workers any more
        import gc
        cycle = [loader, batches]
        cycle.append(cycle)
        del loader, batches, cycle
        gc.collect()
"""


@pytest.mark.parametrize(
    ("method", "state"), [("fork", "idle"), ("spawn", "idle"), ("fork", "stuck"), ("fork", "cycle")]
)
def test_a_process_that_leaves_its_loader_open_still_ends(tmp_path, method, state):
    script = tmp_path / "script.py"
    script.write_text(_LEFT_OPEN)
    done = subprocess.run(
        [sys.executable, str(script), method, state], capture_output=True, text=True, timeout=90
    )
    assert (done.returncode, done.stdout) == (0, "{'x': (0, 0)}\n"), done.stderr
