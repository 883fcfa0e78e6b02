import os

import pytest

from pcclip.data.batches import TrainingBatches, TripleSource, make_stream
from pcclip.data.index import ShardIndex
from pcclip.data.remote.options import RemoteOptions
from pcclip.data.sets import resolve_shards
from pcclip.data.stream import ResumableLoader
from pcclip.data.tokens import TextTokens
from tests.data.remote.loading import Padded, plain
from tests.data.shard_making import write_triples


@pytest.fixture(scope="session")
def triples(tmp_path_factory):
    """240 triples with pictures, in 12 shards."""
    return write_triples(tmp_path_factory.mktemp("triples") / "set", 240, 20, pixels=True)


@pytest.fixture
def options(tmp_path):
    """Patient enough for a slow machine, and quick to try again."""
    return RemoteOptions(cache_dir=str(tmp_path / "cache"), cache_gb=1, timeout_s=20, max_wait_s=0.2)


@pytest.fixture
def loader():
    """Makes a training loader; closes it afterwards."""
    made = []

    def make(spec, options=None, batch_size=16, workers=0, method=None, shuffle_shards=3, rank=0, world=1):
        indexes = [ShardIndex.load(path) for path in resolve_shards(spec, options)]
        source = TripleSource(indexes, "pixels", TextTokens(Padded()), preprocess=plain)
        stream = make_stream(
            source, str(spec), batch_size, rank=rank, world=world, seed=3, shuffle_shards=shuffle_shards
        )
        batches = TrainingBatches({"differences": stream})
        made.append(ResumableLoader(batches, batches.steps, {}, workers, method))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(autouse=True)
def _no_proxy_nor_cache_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("PCCLIP_REMOTE_CACHE", str(tmp_path / "default-cache"))
    assert os.environ["NO_PROXY"]
