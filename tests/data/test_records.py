"""Records: what is accepted, and what each refusal says."""

import json

import pytest
from shard_making import jpeg, picture, triple

from pcclip.data.records import Picture, ShardError, Triple, check_key, decode_picture

GOOD = {"schema": 1, "kind": "triple", "image1": "a", "image2": "b", "difference": "larger", "source": {}}


def test_triple_survives_json_with_any_text():
    original = triple(
        3, difference='größer, "more" \n 雪', source={"writer": "model", "deep": [1, {"x": None}]}
    )
    assert Triple.parse("t0003", original.to_json(), "s.tar") == original


def test_json_of_a_triple_does_not_depend_on_the_order_of_its_source():
    assert triple(1, source={"a": 1, "b": 2}).to_json() == triple(1, source={"b": 2, "a": 1}).to_json()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"schema": 2}, "schema 2"),
        ({"kind": "picture"}, "kind 'picture'"),
        ({"difference": ""}, "'difference' is empty"),
        ({"difference": " \n"}, "'difference' is empty"),
        ({"difference": None}, "'difference' is not a text"),
        ({"difference": ["x"]}, "'difference' is not a text"),
        ({"image1": 7}, "'image1' is not a text"),
        ({"image2": "a"}, "same picture 'a'"),
        ({"difference": "bad \ud800"}, "no valid Unicode"),
        ({"source": ["x"]}, "'source' is not a json object"),
    ],
)
def test_bad_triple_is_refused_by_shard_key_and_reason(changes, says):
    with pytest.raises(ShardError, match=says) as caught:
        Triple.parse("key7", json.dumps(GOOD | changes).encode(), "dir/s.tar")
    assert "dir/s.tar" in str(caught.value)
    assert "'key7'" in str(caught.value)


@pytest.mark.parametrize("missing", ["schema", "kind", "image1", "image2", "difference"])
def test_missing_field_is_named(missing):
    payload = json.dumps({k: v for k, v in GOOD.items() if k != missing}).encode()
    with pytest.raises(ShardError, match=f"lacks '{missing}'"):
        Triple.parse("k", payload, "s.tar")


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"7", b"null", b'"text"', b"\xff\xfe\x00"])
def test_payload_that_is_no_triple_is_refused(payload):
    with pytest.raises(ShardError, match="its json cannot be read"):
        Triple.parse("k", payload, "s.tar")


def test_picture_survives_its_members():
    original = picture(4)
    assert Picture.parse("p0004", original.members(), "s.tar") == original


@pytest.mark.parametrize(
    ("members", "captions"),
    [
        (
            {"jpg": b"x", "txt": b"a cat", "json": b'{"url": "u", "caption": "other", "status": "success"}'},
            ("a cat",),
        ),
        ({"png": b"x", "json": b'{"caption": "a dog", "schema": "theirs"}'}, ("a dog",)),
        ({"webp": b"x", "json": b"[1, 2]"}, ()),
        ({"jpeg": b"x"}, ()),
    ],
)
def test_foreign_picture_records_are_read(members, captions):
    read = Picture.parse("00001", members, "s.tar")
    assert (read.image, read.captions, read.class_name, read.attributes) == (b"x", captions, None, {})
    assert read.extension == next(iter(members))


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"txt": b"a"}, "no image"),
        ({"jpg": b"x", "txt": b"\xff\xff"}, "txt or json cannot be read"),
        ({"jpg": b"x", "json": b"{"}, "txt or json cannot be read"),
    ],
)
def test_bad_picture_record_is_refused(members, says):
    with pytest.raises(ShardError, match=says):
        Picture.parse("00001", members, "s.tar")


@pytest.mark.parametrize("key", ["", "a.b", "dir/a.b", "/a", "dir/", "a\nb"])
def test_key_that_would_not_come_back_is_refused(key):
    with pytest.raises(ShardError, match="a key is"):
        check_key(key, "s.tar")


@pytest.mark.parametrize("key", ["a", "dir.d/a", "ü-雪 1", "000000001"])
def test_good_key(key):
    assert check_key(key, "s.tar") is None, "returns, and raises nothing"


@pytest.mark.parametrize("damage", [b"", b"no picture", jpeg(1)[:-200], jpeg(1)[:30]])
def test_damaged_picture_is_refused_by_shard_and_key(damage):
    with pytest.raises(ShardError, match=r"s\.tar: record 'k9': its picture cannot be decoded"):
        decode_picture(damage, "k9", "s.tar")
