"""Where predictions go: a terminal, CSV, JSON, a submission for a contest, a gallery.

Each takes answers one by one and writes as it goes, into a file that appears when it is whole.
Where thresholds decide, the answer, a class, *not sure* or *none of these*, stands before the first
guesses.
"""

import base64
import io
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from classifier.core.csv_files import row_writer
from classifier.core.errors import UserError
from classifier.core.files import replacing
from classifier.core.types import UInt8Array
from classifier.core.wording import printable
from classifier.inference.inputs import InputImage
from classifier.inference.predict import Answer
from classifier.models.decision import NONE_OF_THESE, NOT_SURE, Decision, Verdict

if TYPE_CHECKING:
    from classifier.inference.neighbors import Neighbor, TrainingImages

GALLERY = 300  # images that a gallery shows: the first ones
_NAME, _CLASS = 40, 24  # letters of a terminal line for the image's and for the class's name
_PAGE = Path(__file__).with_name("gallery")


class Sink(Protocol):
    """Takes answers, in order."""

    def __call__(self, answer: Answer) -> None:
        """Write one answer, or leave it out."""
        ...


def best(probabilities: np.ndarray, classes: Sequence[str], top: int) -> list[tuple[str, float]]:
    """The ``top`` most probable classes and their probabilities, the first of equals first."""
    order = np.argsort(-probabilities, kind="stable")[:top]
    return [(classes[index], float(probabilities[index])) for index in order]


def percent(probability: float) -> str:
    """A probability for people: 97.3 %, and never 100 % for less."""
    text = f"{100 * probability:.1f}"
    return f"{'>99.9' if text == '100.0' and probability < 1 else text} %"


def table(
    classes: Sequence[str], top: int, most: int | None = None, decision: Decision | None = None
) -> Sink:
    """Print a line for each image that can be read, the first ``most`` of them, as they come."""
    printed = 0
    shown = [printable(name) for name in classes]
    width = min(_CLASS, max(map(len, shown)))
    longest = NONE_OF_THESE if decision and decision.known_by else NOT_SURE
    wide = min(_CLASS, max(width, len(longest)))

    def write(answer: Answer) -> None:
        nonlocal printed
        if answer.probabilities is None:
            return
        printed += 1
        if most is not None and printed > most:
            if printed == most + 1:
                print("…")
            return
        name = printable(answer.image.name)
        name = name if len(name) <= _NAME else f"…{name[1 - _NAME :]}"
        cells = [
            f"{kind[:_CLASS]:{width}} {percent(probability):>7}"
            for kind, probability in best(answer.probabilities, shown, top)
        ]
        if decision:
            said = printable(answer.decided(decision, classes).text(classes))
            cells = [f"{said[:_CLASS]:{wide}}", *cells]
        print(f"{name:{_NAME}}  {'   '.join(cells)}")

    return write


def out(
    path: Path, classes: Sequence[str], top: int, decision: Decision | None = None
) -> AbstractContextManager[Sink]:
    """Write ``path`` as CSV or JSON, by its ending.

    CSV: id, predicted, probability, and for the following places predicted_2, probability_2 …;
    images that were skipped are left out, but for those that a table lists: they have empty
    cells. JSON: a list of {"id", "classes": [{"class", "probability"}, …]}, or {"id", "error"} for
    an image that was skipped. With a decision there is "answer" after the id; JSON has null for
    *not sure* and *none of these*, and "known": false for the latter, where the model tells them.

    Raises:
        UserError: the name ends in neither .csv nor .json.
    """
    makers = {".csv": _csv, ".json": _json}
    if path.suffix.lower() not in makers:
        raise UserError(f"--out {path}: the name must end in .csv or .json.")
    return makers[path.suffix.lower()](path, classes, min(top, len(classes)), decision)


@contextmanager
def _csv(path: Path, classes: Sequence[str], top: int, decision: Decision | None) -> Iterator[Sink]:
    places = ["", *(f"_{place}" for place in range(2, top + 1))]
    columns = [f"{name}{n}" for n in places for name in ("predicted", "probability")]
    columns = [*(["answer"] if decision else []), *columns]
    with row_writer(path, ["id", *columns]) as append:

        def write(answer: Answer) -> None:
            if answer.probabilities is not None:
                found = best(answer.probabilities, classes, top)
                cells = [
                    cell for kind, probability in found for cell in (kind, f"{probability:.6g}")
                ]
                said = [answer.decided(decision, classes).text(classes)] if decision else []
                append([[answer.image.name, *said, *cells]])
            elif answer.image.listed:
                append([[answer.image.name, *("" for _ in columns)]])

        yield write


@contextmanager
def _json(
    path: Path, classes: Sequence[str], top: int, decision: Decision | None
) -> Iterator[Sink]:
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write("[")
        separator = "\n"

        def write(answer: Answer) -> None:
            nonlocal separator
            entry: dict[str, object] = {"id": answer.image.name}
            if answer.probabilities is None:
                entry["error"] = answer.problem
            else:
                if decision:
                    said = answer.decided(decision, classes)
                    entry["answer"] = classes[said.label] if said.sure else None
                    if decision.known_by:
                        entry["known"] = said.known
                entry["classes"] = [
                    {"class": kind, "probability": float(f"{probability:.6g}")}
                    for kind, probability in best(answer.probabilities, classes, top)
                ]
            file.write(separator + json.dumps(entry, ensure_ascii=False))
            separator = ",\n"

        yield write
        file.write("\n]\n")


@contextmanager
def submission(
    path: Path,
    classes: Sequence[str],
    columns: Sequence[str],
    probabilities: bool,
    decision: Decision | None = None,
) -> Iterator[Sink]:
    """Write a CSV as contests want it: an id and a class, or an id and every class's probability.

    The id is what a table calls the image, or a file's name without folder and extension. Every
    row of a table is there; an image that was skipped has empty cells in it. A contest wants a
    class: the one that thresholds give, sure or not.

    Args:
        columns: names of the id column and of the class column; the latter is not used with
            ``probabilities``, whose columns are the classes.
    """
    columns = [columns[0], *(classes if probabilities else columns[1:])]
    # As they are: contests compare names by their bytes.
    with row_writer(path, columns, exact=True) as append:

        def write(answer: Answer) -> None:
            image, found = answer.image, answer.probabilities
            name = image.name if image.listed else Path(image.name).stem
            if found is not None:
                cells = [f"{one:.6g}" for one in found.tolist()] if probabilities else []
                label = answer.decided(decision, classes).label
                append([[name, *(cells or [classes[label]])]])
            elif image.listed:
                append([[name, *("" for _ in columns[1:])]])

        yield write


@contextmanager
def gallery(
    path: Path,
    classes: Sequence[str],
    decision: Decision | None = None,
    known: "TrainingImages | None" = None,
    start: str = "",
) -> Iterator[Sink]:
    """Show the first GALLERY images with their classes, as PNG or as one HTML file.

    The page can be sorted, and filtered by answer and confidence.

    Args:
        path: of the file.
        classes: their names.
        decision: how an answer follows from the probabilities.
        known: training images, of which the nearest are shown beside each image.
        start: the folder that names begin at.

    Raises:
        UserError: the name ends in neither .png nor .html.
    """
    if path.suffix.lower() not in (".png", ".html"):
        raise UserError(f"--gallery {path}: the name must end in .png or .html.")
    shown: list[Answer] = []
    total = 0

    def write(answer: Answer) -> None:
        nonlocal total
        total += answer.pixels is not None
        if answer.pixels is not None and len(shown) < GALLERY:
            shown.append(answer._replace(pixels=answer.pixels.copy()))  # lets go of its batch

    yield write
    if not shown:
        print(f"{path} not written: there is no image to show.", file=sys.stderr)
        return
    pixels = np.stack([answer.pixels for answer in shown if answer.pixels is not None])
    shots = [
        _Shot(_short(answer.image, start), image, answer.decided(decision, classes), near)
        for answer, image, near in zip(
            shown, pixels, known.beside(pixels) if known else [[]] * len(shown), strict=True
        )
    ]
    if path.suffix.lower() == ".png":
        _draw(path, shots, classes)
    else:
        _write_page(path, shots, classes, total, len(known) if known else 0)


class _Shot(NamedTuple):
    """An image of a gallery: its name, pixels [S, S, C], what is said of it, and the nearest
    training images."""

    name: str
    pixels: UInt8Array
    said: Verdict
    near: "list[Neighbor]"

    def caption(self, classes: Sequence[str]) -> str:
        guess = f"{classes[self.said.label]} {percent(self.said.confidence)}"
        return guess if self.said.sure else f"{self.said.text(classes)}: {guess}"


def _short(image: InputImage, start: str) -> str:
    """The name of an image from the folder ``start`` on; a table's own names stay."""
    name = os.path.normpath(image.name)
    inside = start and not image.listed and name.startswith(os.path.join(start, ""))  # noqa: PTH118
    return name[len(start) :].lstrip(os.sep) if inside else image.name


def _draw(path: Path, shots: Sequence[_Shot], classes: Sequence[str]) -> None:
    from classifier.report.figures import style
    from classifier.report.figures.tiles import Tile, sheet

    tiles = []
    for shot in shots:
        near = f" · near: {', '.join(one.label for one in shot.near)}" if shot.near else ""
        strip = [shot.pixels, *(one.pixels for one in shot.near)]
        name = f"{Path(shot.name).name}{near}"
        tiles.append(Tile(strip, shot.caption(classes), name, places=len(strip)))
    style.save(sheet(tiles, 112), path)


def _write_page(
    path: Path, shots: Sequence[_Shot], classes: Sequence[str], total: int, among: int
) -> None:
    import jinja2

    tiles = [
        {
            "image": png_address(shot.pixels),
            "caption": shot.caption(classes),
            "answer": shot.said.text(classes),
            "confidence": f"{shot.said.confidence:.6f}",
            "name": shot.name,
            "near": [{"image": png_address(one.pixels), "label": one.label} for one in shot.near],
        }
        for shot in shots
    ]
    order = [*classes, NOT_SURE, NONE_OF_THESE]
    answers = Counter(str(tile["answer"]) for tile in tiles)
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(_PAGE), autoescape=True)
    text = environment.get_template("gallery.html.j2").render(
        tiles=tiles,
        answers=[(name, answers[name]) for name in order if answers[name]],
        number=f"{len(tiles):,}",
        total=f"{total:,}",
        among=f"{among:,}" if among else "",
        rendering="pixelated" if len(shots[0].pixels) < 96 else "auto",
    )
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def png_address(pixels: UInt8Array) -> str:
    """An image [S, S, C] as the data: address of a PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
