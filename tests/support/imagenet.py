"""ImageNet in small: the official tar files and the development kit, in their format."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from tests.support.archives import random_images
from tests.support.image_files import encoded

# WordNet ID, names, and the number that the development kit gives it, as in the original.
SYNSETS = (
    ("n01440764", "tench, Tinca tinca", 449),
    ("n02012849", "crane", 2),
    ("n03126707", "crane", 517),
    ("n02113186", "Cardigan, Cardigan Welsh corgi", 4),
    ("n02963159", "cardigan", 474),
)
NAMES = ("tench", "crane (n02012849)", "Cardigan, Cardigan Welsh corgi", "cardigan (n02963159)",
         "crane (n03126707)")  # fmt: skip


def tar(files: Mapping[str, bytes], kind: str = "") -> bytes:
    """A tar file of these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{kind}") as packed:  # type: ignore[call-overload]
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            packed.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def images(per_class: int, seed: int) -> dict[str, list[bytes]]:
    """JPEG files of images that tell their class, by the WordNet ID."""
    pixels, labels = random_images(len(SYNSETS), per_class, 24, 3, seed)
    found: dict[str, list[bytes]] = {synset: [] for synset, _, _ in SYNSETS}
    for one, label in zip(pixels, labels, strict=True):
        found[SYNSETS[label][0]].append(encoded(Image.fromarray(one), "JPEG", quality=95))
    return found


def training(per_class: int) -> dict[str, dict[str, bytes]]:
    """The files of each synset by their names."""
    return {
        synset: {f"{synset}_{number}.JPEG": data for number, data in enumerate(files, 1)}
        for synset, files in images(per_class, 0).items()
    }


def validation(per_class: int) -> tuple[dict[str, bytes], list[str]]:
    """The files of the validation set, mixed, and the WordNet ID of each."""
    mixed = [
        (synset, data)
        for number in range(per_class)
        for synset, files in sorted(images(per_class, 1).items(), reverse=number % 2 == 0)
        for data in [files[number]]
    ]
    files = {f"ILSVRC2012_val_{number:08d}.JPEG": data for number, (_, data) in enumerate(mixed, 1)}
    return files, [synset for synset, _ in mixed]


def kit(truth: list[str]) -> dict[str, bytes]:
    """The files of the development kit that matter, by their names."""
    from scipy.io import savemat

    rows = [(number, synset, words, 0) for synset, words, number in SYNSETS]
    rows.append((1001, "n00001740", "entity", 2))  # an inner node of WordNet
    kinds = [
        ("ILSVRC2012_ID", object),
        ("WNID", object),
        ("words", object),
        ("num_children", object),
    ]
    table = np.array(rows, dtype=kinds).reshape(-1, 1)
    buffer = io.BytesIO()
    savemat(buffer, {"synsets": table}, do_compression=True)
    numbers = {synset: number for synset, _, number in SYNSETS}
    lines = "".join(f"{numbers[synset]}\n" for synset in truth)
    return {"meta.mat": buffer.getvalue(), "ILSVRC2012_validation_ground_truth.txt": lines.encode()}


def write_tars(folder: Path, per_class: int = 3) -> None:
    """The three official files."""
    folder.mkdir(parents=True, exist_ok=True)
    inner = {f"{synset}.tar": tar(files) for synset, files in training(per_class).items()}
    (folder / "ILSVRC2012_img_train.tar").write_bytes(tar(inner))
    files, truth = validation(per_class)
    (folder / "ILSVRC2012_img_val.tar").write_bytes(tar(files))
    data = {f"ILSVRC2012_devkit_t12/data/{name}": one for name, one in kit(truth).items()}
    (folder / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(tar(data, "gz"))


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Files by their paths in a folder."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
