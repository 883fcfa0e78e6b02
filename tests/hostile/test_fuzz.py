"""Random and half-right input for every reader: its own error or an answer; Hypothesis feeds the targets."""

import tarfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pcclip.generation.filters import Limits, clean
from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import TARGETS, clean_up
from tests.hostile.making import END, header, padded, pax

REGRESSIONS = Path(__file__).parent / "regressions"
EXAMPLES = {"parquet": 10, "decode": 30, "img2dataset": 15, "manifest": 15, "table": 15}


@pytest.fixture(scope="module", autouse=True)
def cleaned():
    yield
    clean_up()


@st.composite
def mutated(draw, seeds: list[bytes]) -> bytes:
    """A good input with some bytes changed, cut out, doubled or put in."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 20))
        new = draw(st.binary(max_size=8) | st.just(bytes(data[at : at + length])) | st.just(b"\xff" * 4))
        data[at : at + draw(st.sampled_from([0, length]))] = new
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_input(name):
    @settings(
        max_examples=EXAMPLES.get(name, 40),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(mutated(SEEDS[name]) | st.binary(max_size=200))
    def run(data: bytes) -> None:
        TARGETS[name](data)

    run()


OCTAL = st.integers(0, 8**11).map(lambda n: b"%011o\0" % n)
FIELD = st.binary(max_size=12) | OCTAL | st.just(b"-0000000777\0")
KEYS = st.sampled_from(["path", "size", "linkpath", "GNU.sparse.major", "GNU.sparse.map", "hdrcharset"])
NAMES = st.sampled_from([b"a.txt", b"./a.jpg", b"../a"])
RECORDS = st.dictionaries(KEYS, st.binary(max_size=40) | FIELD, max_size=3)
BLOCKS = st.one_of(
    st.builds(header, st.binary(max_size=110), FIELD, st.binary(min_size=1, max_size=1)),
    st.builds(header, NAMES, FIELD, st.sampled_from([b"0", b"5", b"L"])),
    st.builds(pax, RECORDS, st.sampled_from([b"x", b"g"])),
    st.binary(max_size=600).map(padded),
    st.just(header() + padded(b"x")),
)


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(st.lists(BLOCKS, max_size=8).map(lambda blocks: b"".join(blocks) + END))
def test_tars_of_right_and_wrong_headers(data):
    TARGETS["shard"](data)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.text(max_size=300))
def test_any_text_is_filtered_and_what_is_accepted_stays(text):
    TARGETS["answers"](text.encode("utf-8", "surrogatepass"))
    clean(text, Limits(min_chars=0))


REPEATED = [
    "a", " ", "\n", "I ", "the ", "a b ", "((", "[a](", "<a", "|a", "f(", "f(x", "x.", "Here ", "note ",
    "**", "*a*", "`", '{"a":', "&amp;", "1. ", "- ", "A_b", "?", '"', "I can't ", "the first picture ",
    "\u00e9", "\U0001f600", "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("piece", REPEATED)
def test_the_time_of_the_filter_grows_with_the_text_alone(piece):
    """No rule goes back over what it has read: the longest text takes about a second."""
    for tail in ("", "!", "."):
        started = time.process_time()
        clean(piece * (4000 // len(piece)) + tail, Limits(min_chars=0, max_chars=100_000))
        assert time.process_time() - started < 1.5
    started = time.process_time()
    clean(piece * 1_000_000, Limits(min_chars=0))
    assert time.process_time() - started < 1.5


@pytest.mark.parametrize("file", sorted(REGRESSIONS.glob("*")), ids=lambda file: file.name)
def test_what_fuzzing_has_found_stays_mended(file):
    TARGETS[file.name.split("-")[0]](file.read_bytes())


def test_the_harness_sees_what_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr(tarfile, "open", lambda *a, **k: (_ for _ in ()).throw(RuntimeError("wrong")))
    with pytest.raises(RuntimeError):
        TARGETS["shard"](SEEDS["shard"][2])
