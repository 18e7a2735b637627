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
from classifier.core.files import remove_partial, write_json
from classifier.images import decode, hashing, store
from classifier.images.parallel import ordered_map
from classifier.sources.classes import check_kept
from classifier.sources.naming import suffix, why_no_image
from classifier.sources.source_index import Encoded, Item, Listing, Rejected, Span, read

# A piece of work, which becomes a shard, has so many images and bytes at most. It starts small, so
# that a few hundred photographs occupy all cores, and grows, so that millions make few files.
_SHARD_ITEMS = 4096
_LEAST_BYTES, _MOST_BYTES = 8 * 2**20, 64 * 2**20
_SENT_BYTES = 16 * 2**20  # at most, of images that are no files: the memory holds a few pieces
_GROWTH = 32  # the bytes before a piece are at least so many times its own, from _LEAST_BYTES on


class Summary(NamedTuple):
    """What was taken in."""

    images: int
    classes: int
    unlabelled: int
    rejected: int
    blank: Sequence[str]  # ids of images of one color alone
    remarks: Sequence[str] = ()  # Pillow's warnings, each with the name of its file


class _Piece(NamedTuple):
    """Images to take in, and the shard that they go into."""

    shard: Path
    items: list[Item]


class _Taken(NamedTuple):
    """What a worker hands back for a piece: rows; the bytes are in the shard."""

    records: list[store.Record]
    rejected: list[Rejected]
    blank: list[str]
    remarks: list[str]


def ingest(listing: Listing, folder: Path, *, max_rejected: float, workers: int = 0) -> Summary:
    """Write a source's images to ``folder`` (made here) as tar shards and a manifest.

    The images keep their encoded bytes; pixel arrays become uncompressed PNG. Each worker writes
    whole shards. The files depend on the images alone, not on the workers.

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
    remarks: list[str] = []
    total = listing.total + len(rejected)
    with _progress(listing.total) as bar:
        for taken in ordered_map(_take, _pieces(listing.items, folder), workers):
            records += taken.records
            rejected += taken.rejected
            blank += taken.blank
            remarks += taken.remarks
            bar.update(len(taken.records) + len(taken.rejected))
    remove_partial(folder)
    with row_writer(folder / store.REJECTED, Rejected._fields[:3]) as write:
        write(one[:3] for one in rejected)
    check_kept(((record.label, record.origin) for record in records), rejected)
    _check_share(rejected, total, max_rejected)
    store.write_manifest(folder, records)
    write_json(folder / store.SOURCE, _facts(listing, records, rejected))
    write_classes(folder, listing.classes)
    unlabelled = sum(not record.label for record in records)
    counts = len(records), len(listing.classes), unlabelled, len(rejected)
    return Summary(*counts, blank, tuple(remarks))


def write_classes(folder: Path, classes: Iterable[str]) -> None:
    """classes.json: the class names in their one order."""
    import json

    text = json.dumps(list(classes), indent=2, ensure_ascii=False)
    (folder / store.CLASSES).write_text(text + "\n", encoding="utf-8")


def _take(piece: _Piece) -> _Taken:
    """Runs in a worker: decode and hash the images of a piece, and write its shard."""
    taken = _Taken([], [], [], [])
    thumbnails: list[np.ndarray] = []
    with store.shard_writer(piece.shard) as add:
        for item in piece.items:
            said: list[str] = []
            try:
                data, decoded = _read(item, said)
            except (ValueError, OSError) as error:
                path = _shown(item.image)
                reason = _reason(path, error)
                taken.rejected.append(Rejected(item.id, path, reason, item.label, item.origin))
                continue
            taken.remarks.extend(f"{_shown(item.image)}: {remark}" for remark in said)
            image = decoded.preview
            thumbnails.append(hashing.thumbnail(image))
            content = hashing.content_hash(decoded.pixels)
            taken.blank.extend([item.id] if hashing.is_blank(image) else [])
            (width, height), location = image.size, add(_member(item), data)
            taken.records.append(
                store.Record(
                    item.id, item.label, item.origin, item.group,
                    width, height, decoded.mode, content, "", *location,
                )
            )  # fmt: skip
    hashes = map(hashing.hash_hex, hashing.perceptual_hashes(thumbnails))
    hashed = [
        record._replace(phash=found) for record, found in zip(taken.records, hashes, strict=True)
    ]
    return taken._replace(records=hashed)


def _reason(path: str, error: ValueError | OSError) -> str:
    if isinstance(error, OSError):
        return f"it cannot be read ({error.strerror or error})"
    return why_no_image(path) or str(error)


def _member(item: Item) -> str:
    """An image's path inside the tar file."""
    # Ids may lack the extension, and ids from a table may start outside of the table's folder.
    extension = ".png" if isinstance(item.image, np.ndarray) else suffix(_shown(item.image))
    name = item.id if item.id.lower().endswith(extension) else item.id + extension
    return "/".join(
        part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")
    )


def _read(item: Item, said: list[str]) -> tuple[bytes, decode.Decoded]:
    if not isinstance(item.image, np.ndarray):
        data = read(item.image)
        return data, decode.inspect(data, said)
    image = Image.fromarray(item.image)
    buffer = io.BytesIO()
    # Stored, not deflated: images this small hardly shrink, it takes no time, and the bytes
    # (so DVC's hash of the folder) do not depend on which zlib Pillow was built with.
    image.save(buffer, "PNG", compress_level=0)
    return buffer.getvalue(), decode.Decoded(image, image.mode)


def _pieces(items: Iterable[Item], folder: Path) -> Iterator[_Piece]:
    """Cut a source into shards by the sizes of its files alone, before anyone reads them."""
    shard: list[Item] = []
    number = size = before = 0
    for item in items:
        shard.append(item)
        size += _size(item.image)
        most = _MOST_BYTES if isinstance(item.image, Path | Span) else _SENT_BYTES
        limit = min(max(_LEAST_BYTES, before // _GROWTH), most)
        if len(shard) >= _SHARD_ITEMS or size >= limit:
            yield _Piece(folder / f"shard-{number:05d}.tar", shard)
            number, before = number + 1, before + size
            shard, size = [], 0
    if shard:
        yield _Piece(folder / f"shard-{number:05d}.tar", shard)


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
