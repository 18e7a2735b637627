"""The manifest of millions of images fits in the memory of one machine."""

import tracemalloc
from pathlib import Path

from classifier.images.manifest import Manifest
from classifier.images.store import Record, write_manifest
from tests.support.manifests import made_up

IMAGES = 100_000  # a chunk of the table, and a part of one


def test_an_image_takes_few_bytes_while_and_after_the_manifest_is_read(tmp_path: Path) -> None:
    name = "train/n01440764/n01440764_{:07d}.JPEG"
    write_manifest(
        tmp_path,
        (
            Record(
                name.format(-row % IMAGES), f"n{row % 1000:08d}", "train", "", 500, 375, "RGB",
                f"{row:032x}", f"{row:016x}", f"shard-{row // 600:05d}.tar", row, 109_000
            )
            for row in range(IMAGES)
        ),
    )  # fmt: skip
    Manifest.read(tmp_path)  # imports
    tracemalloc.start()
    manifest = Manifest.read(tmp_path)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 200 * IMAGES
    assert peak < 450 * IMAGES
    assert manifest.id[1] == name.format(1)
    assert manifest.label[1] == f"n{(IMAGES - 1) % 1000:08d}"
    assert manifest.shard[IMAGES - 1] == "shard-00000.tar"


def test_images_are_found_by_ids_of_any_length() -> None:
    """np.searchsorted of NumPy 2.4 finds wrong rows beyond 15 bytes."""
    for length in (3, 15, 16, 40):
        names = [f"{number:0{length}d}" for number in range(500)]
        manifest = made_up(["a"] * 500, id=names)
        assert manifest.rows(names[::7]).tolist() == list(range(0, 500, 7))
        assert manifest.rows(["", names[3] + "x", "z", names[499]]).tolist() == [-1, -1, -1, 499]
