"""`predict`: say what is in images that the model never saw."""

import argparse
import sys
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from classifier.commands import model_option
from classifier.core.errors import UserError
from classifier.core.wording import printable
from classifier.inference import outputs
from classifier.inference.inputs import folder_of, images

if TYPE_CHECKING:
    from classifier.inference.neighbors import TrainingImages
    from classifier.inference.predictor import Predictor

SHOWN = 40  # lines in the terminal when the answers also go to a file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `predict`."""
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="an image, a folder (searched with its folders), a pattern in quotes, or a table "
        "(.csv, .tsv, .txt, .jsonl) that names images",
    )
    model_option.add_arguments(parser)
    parser.add_argument("--top", type=int, default=3, help="classes to tell of each (default: 3)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write a .csv or .json file")
    parser.add_argument(
        "--gallery",
        type=Path,
        metavar="FILE",
        help=f"also show the first {outputs.GALLERY} images, as .html or .png",
    )
    parser.add_argument("--submission", type=Path, metavar="FILE", help="also write id and class")
    parser.add_argument(
        "--submission-columns",
        default="id,label",
        metavar="ID,LABEL",
        help="their names (default: id,label)",
    )
    parser.add_argument(
        "--submission-probabilities",
        action="store_true",
        help="every class's probability in the place of the class",
    )
    parser.add_argument("--image-column", metavar="NAME", help="of a table, that names the files")
    parser.add_argument(
        "--image-folder",
        metavar="FOLDER",
        help="that a table's names start from (default: its own)",
    )
    parser.add_argument(
        "--backend",
        choices=("auto", "torch", "onnx"),
        default="auto",
        help="what computes (auto: ONNX Runtime where `export` has written the same model beside"
        " it, else torch)",
    )
    parser.add_argument("--workers", type=int, default=0, help="threads (default: one a core)")


def run(args: argparse.Namespace) -> int:
    """Predict every image; 1 if one had to be skipped."""
    columns = args.submission_columns.split(",")
    if len(columns) != 2 or not all(columns):
        raise UserError("--submission-columns: give two names with a comma, such as id,label.")
    if args.top < 1 or args.workers < 0:
        raise UserError("--top must be at least 1 and --workers at least 0.")
    found = images(args.paths, args.image_column, args.image_folder)
    first = next(found)  # a wrong path is known before the network is loaded
    chosen = model_option.choose(args)

    from classifier.inference.open_predictor import exported, open_predictor
    from classifier.inference.predict import predict
    from classifier.models.buffers import keep_large_buffers

    keep_large_buffers()
    faster = None
    if args.backend == "auto" and not args.gallery:  # which torch alone explains
        faster = exported(chosen.path, chosen.decision)
    predictor = open_predictor(faster or chosen.path, args.backend, 1, chosen.decision)
    classes, decision = predictor.spec.classes, predictor.spec.decision
    files = [name for name in (args.out, args.gallery, args.submission) if name]
    done, skipped = 0, 0
    with ExitStack() as stack:
        sinks = [outputs.table(classes, args.top, SHOWN if files else None, decision)]
        if args.out:
            sinks.append(stack.enter_context(outputs.out(args.out, classes, args.top, decision)))
        if args.gallery:
            known = _training_images(predictor, args.gallery)
            start = folder_of(args.paths)
            made = outputs.gallery(args.gallery, classes, decision, known, start)
            sinks.append(stack.enter_context(made))
        if args.submission:
            written = outputs.submission(
                args.submission, classes, columns, args.submission_probabilities, decision
            )
            sinks.append(stack.enter_context(written))
        for answer in predict(predictor, chain([first], found), args.workers):
            done += answer.probabilities is not None
            if answer.problem:
                skipped += 1
                print(printable(f"{answer.image.name}: skipped, {answer.problem}"), file=sys.stderr)
            for sink in sinks:
                sink(answer)
    if files:
        print(f"\n{done:,} images, written to {', '.join(map(str, files))}")
    if skipped:
        print(f"{skipped:,} of {done + skipped:,} images were skipped.", file=sys.stderr)
    return 1 if skipped else 0


def _training_images(predictor: "Predictor", path: Path) -> "TrainingImages | None":
    """Those that a gallery shows beside each image, or None, said why."""
    from classifier.inference.neighbors import training_images

    known = training_images(predictor)
    if isinstance(known, str):
        print(f"{path} shows no nearest training images: {known}.", file=sys.stderr)
        return None
    return known
