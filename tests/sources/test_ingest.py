"""A source is cut into shards before it is read: few, even of millions, and small at the start."""

from pathlib import Path

import numpy as np

from classifier.sources.ingest import _pieces, ingest
from classifier.sources.source_index import About, Encoded, Item, Listing, Span

MEBIBYTE = 1 << 20


def cut(images: list[Span | Encoded], folder: Path) -> list[int]:
    """The bytes of each shard."""
    items = [Item(str(number), "", "", "", image) for number, image in enumerate(images)]
    pieces = list(_pieces(items, folder))
    assert [item for piece in pieces for item in piece.items] == items
    names = [f"shard-{number:05d}.tar" for number in range(len(pieces))]
    assert [piece.shard.name for piece in pieces] == names
    assert all(len(piece.items) <= 4096 for piece in pieces)
    return [
        sum(len(image.data) if isinstance(image, Encoded) else image.size for image in shard)
        for shard in ([item.image for item in piece.items] for piece in pieces)
    ]


def test_shards_grow_with_the_set(tmp_path: Path) -> None:
    sizes = cut([Span(Path("a.zip"), 0, 100_000, "a")] * 200_000, tmp_path)
    assert len(sizes) < 500  # of 20 GB
    assert max(sizes[:10]) < 8 * MEBIBYTE + 100_000
    assert 40 * MEBIBYTE < max(sizes) < 64 * MEBIBYTE + 100_000


def test_images_that_are_no_files_travel_a_few_at_a_time(tmp_path: Path) -> None:
    image = Encoded(bytes(MEBIBYTE), "a")
    assert max(cut([image] * 2000, tmp_path)) == 16 * MEBIBYTE


def test_many_small_images_occupy_several_workers(tmp_path: Path) -> None:
    assert len(cut([Span(Path("a.zip"), 0, 300, "a")] * 60_000, tmp_path)) == 15


def test_what_a_killed_worker_left_is_no_output(tmp_path: Path) -> None:
    """Another worker did its piece again; the folder holds what the first had begun, too."""
    left = tmp_path / ".shard-00000.tar.node-2.77.partial"
    left.touch()
    image = np.zeros((8, 8), np.uint8)
    items = [Item(label, label, "", "", image) for label in "ab"]
    ingest(Listing(About("zeros", ""), ("a", "b"), items, 2), tmp_path, max_rejected=0, workers=1)
    assert not left.exists()
    assert (tmp_path / "shard-00000.tar").exists()
