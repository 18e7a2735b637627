"""Take a source's images in: decode each one fully, hash it, pack it, and list what is broken."""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
from PIL import Image
from tqdm import tqdm

from classifier.core.csv_files import row_writer
from classifier.core.errors import UserError
from classifier.core.files import write_json
from classifier.images import decode, hashing, store
from classifier.images.parallel import ordered_map
from classifier.sources.classes import check_kept
from classifier.sources.naming import suffix, why_no_image
from classifier.sources.source_index import Encoded, Item, Listing, Rejected, Span, read

# A piece of work is small enough that a few of them fit into memory whatever their images.
_CHUNK_ITEMS = 256
_CHUNK_BYTES = 8 * 2**20

_PIXELS = Path("pixels.png")  # stands for pixel arrays, which need not travel back from a worker


class Summary(NamedTuple):
    """What was taken in."""

    images: int
    classes: int
    unlabelled: int
    rejected: int
    blank: Sequence[str]  # ids of images of one color alone


class _Taken(NamedTuple):
    """What a worker hands back for one image: its facts and bytes, or the reason against it."""

    item: Item
    data: bytes
    width: int
    height: int
    mode: str
    content: str
    phash: str
    blank: bool
    reason: str


def ingest(listing: Listing, folder: Path, *, max_rejected: float, workers: int = 0) -> Summary:
    """Write a source's images to ``folder`` (made here) as tar shards and a manifest.

    The images keep their encoded bytes; pixel arrays become uncompressed PNG. The files depend
    on the images alone, not on the number of workers.

    Args:
        listing: the images, in the order that the manifest will have.
        folder: where manifest.csv, shard-*.tar, classes.json, rejected.csv, source.json go.
        max_rejected: the fraction of broken images (0..1) above which the set is refused.
        workers: processes that decode; 0 for one a core.

    Raises:
        UserError: too many images are broken, or a class has none that can be used.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rejected = list(listing.rejected)
    records: list[store.Record] = []
    blank: list[str] = []
    total = listing.total + len(rejected)
    with store.ShardWriter(folder) as shards, _progress(listing.total) as bar:
        for taken in ordered_map(_take_all, _chunks(listing.items), workers):
            for one in taken:
                if one.reason:
                    item, path = one.item, _shown(one.item.image)
                    rejected.append(Rejected(item.id, path, one.reason, item.label, item.origin))
                else:
                    records.append(_store(one, shards))
                    blank += [one.item.id] if one.blank else []
            bar.update(len(taken))
    with row_writer(folder / store.REJECTED, Rejected._fields[:3]) as write:
        write(one[:3] for one in rejected)
    check_kept(((record.label, record.origin) for record in records), rejected)
    _check_share(rejected, total, max_rejected)
    store.write_manifest(folder, records)
    write_json(folder / store.SOURCE, _facts(listing, records, rejected))
    write_classes(folder, listing.classes)
    unlabelled = sum(not record.label for record in records)
    return Summary(len(records), len(listing.classes), unlabelled, len(rejected), blank)


def write_classes(folder: Path, classes: Iterable[str]) -> None:
    """classes.json: the class names in their one order."""
    import json

    text = json.dumps(list(classes), indent=2, ensure_ascii=False)
    (folder / store.CLASSES).write_text(text + "\n", encoding="utf-8")


def _take_all(items: list[Item]) -> list[_Taken]:
    """Runs in a worker: decode and hash the images of one piece."""
    taken: list[_Taken] = []
    thumbnails: list[np.ndarray] = []
    for item in items:
        try:
            data, decoded = _read(item)
        except ValueError as error:
            reason = why_no_image(_shown(item.image)) or str(error)
            taken.append(_Taken(item, b"", 0, 0, "", "", "", False, reason))
            continue
        except OSError as error:
            reason = f"it cannot be read ({error.strerror or error})"
            taken.append(_Taken(item, b"", 0, 0, "", "", "", False, reason))
            continue
        image = decoded.preview
        thumbnails.append(hashing.thumbnail(image))
        content, blank = hashing.content_hash(decoded.pixels), hashing.is_blank(image)
        kept = item._replace(image=_kept(item.image))
        taken.append(_Taken(kept, data, *image.size, decoded.mode, content, "", blank, ""))
    hashes = iter(hashing.perceptual_hashes(thumbnails))
    return [
        one if one.reason else one._replace(phash=hashing.hash_hex(next(hashes))) for one in taken
    ]


def _read(item: Item) -> tuple[bytes, decode.Decoded]:
    if not isinstance(item.image, np.ndarray):
        data = read(item.image)
        return data, decode.inspect(data)
    image = Image.fromarray(item.image)
    buffer = io.BytesIO()
    # Stored, not deflated: images this small hardly shrink, it takes no time, and the bytes
    # (so DVC's hash of the folder) do not depend on which zlib Pillow was built with.
    image.save(buffer, "PNG", compress_level=0)
    return buffer.getvalue(), decode.Decoded(image, image.mode)


def _kept(image: Path | Span | Encoded | np.ndarray) -> Path | Span | Encoded | np.ndarray:
    """What travels back from a worker of where an image came from."""
    if isinstance(image, np.ndarray):
        return _PIXELS
    return image._replace(data=b"") if isinstance(image, Encoded) else image


def _chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    chunk: list[Item] = []
    size = 0
    for item in items:
        chunk.append(item)
        size += _size(item.image)
        if len(chunk) >= _CHUNK_ITEMS or size >= _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _size(image: Path | Span | Encoded | np.ndarray) -> int:
    if isinstance(image, np.ndarray):
        return image.nbytes
    if isinstance(image, Span):
        return image.size
    if isinstance(image, Encoded):
        return len(image.data)
    try:
        return image.stat().st_size
    except OSError:  # the worker says why
        return 0


def _store(one: _Taken, shards: store.ShardWriter) -> store.Record:
    item = one.item
    # Ids may lack the extension, and ids from a table may start outside of the table's folder.
    extension = suffix(_shown(item.image))
    name = item.id if item.id.lower().endswith(extension) else item.id + extension
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    location = shards.add("/".join(parts), one.data)
    return store.Record(
        item.id, item.label, item.origin, item.group,
        one.width, one.height, one.mode, one.content, one.phash, *location,
    )  # fmt: skip


def _shown(image: Path | Span | Encoded | np.ndarray) -> str:
    if isinstance(image, np.ndarray):
        return ""
    return image.as_posix() if isinstance(image, Path) else image.name


def _check_share(rejected: list[Rejected], total: int, limit: float) -> None:
    if len(rejected) <= limit * total:
        return
    first = "; ".join(f"{one.path}: {one.reason}" for one in rejected[:3])
    more = f"; and {len(rejected) - 3:,} more" if len(rejected) > 3 else ""
    raise UserError(
        f"{len(rejected):,} of {total:,} images cannot be used, more than "
        f"download.max_rejected = {limit:g} allows ({first}{more}): mend or remove them, "
        "or raise download.max_rejected."
    )


def _facts(
    listing: Listing, records: list[store.Record], rejected: list[Rejected]
) -> dict[str, object]:
    origins: dict[str, int] = {}
    for record in records:
        origins[record.origin or "unsplit"] = origins.get(record.origin or "unsplit", 0) + 1
    return {
        **asdict(listing.about),
        "classes": len(listing.classes),
        "images": len(records),
        "unlabelled": sum(not record.label for record in records),
        "rejected": len(rejected),
        "origins": origins,
    }


def _progress(total: int) -> "tqdm[NoReturn]":
    # disable=None: quiet where stderr is not a terminal.
    return tqdm(total=total, unit=" images", desc="decode", disable=None, dynamic_ncols=True)
