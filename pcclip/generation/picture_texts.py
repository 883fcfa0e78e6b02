"""What a picture set says in words, read without its pictures."""

from __future__ import annotations

from collections.abc import Iterator

from pcclip.data.records import Picture, image_extension
from pcclip.data.shards import ShardIndex, resolve_shards


def picture_texts(pictures: str) -> Iterator[Picture]:
    """The pictures of a set in order, with `image` empty: only captions and notes are read from the disk.

    Raises:
        PcclipError: No shard matches, or a record is broken.
    """
    for path in resolve_shards(pictures):
        index = ShardIndex.load(path)
        for at in range(len(index)):
            yield picture_text(index, at)


def picture_text(index: ShardIndex, at: int) -> Picture:
    """One of them."""
    present = index.extensions(at)
    members: dict[str, bytes] = {name: index.read(at, name) for name in ("txt", "json") if name in present}
    if (extension := image_extension(present)) is not None:
        members[extension] = b""
    return Picture.parse(index.key(at), members, index.path)
