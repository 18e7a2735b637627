"""`embed`: write what the network sees in images, a vector for each."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from classifier.commands import model_option
from classifier.core.errors import UserError, not_installed
from classifier.core.files import replacing
from classifier.core.types import Float32Array
from classifier.core.wording import printable
from classifier.inference.inputs import images

if TYPE_CHECKING:
    from classifier.inference.embed import Seen

_BLOCK = 4096  # rows that are written together


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `embed`."""
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="an image, a folder (searched with its folders), a pattern in quotes, or a table",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="a .parquet file: id, and vector (float32), the input of the network's last layer",
    )
    model_option.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Embed every image; 1 if one had to be skipped."""
    if args.out.suffix != ".parquet":
        raise UserError(f"--out {args.out}: the name must end in .parquet.")
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise not_installed("pyarrow", "embed") from None
    found = images(args.paths)
    first = next(found)  # a wrong path is known before the network is loaded
    chosen = model_option.choose(args)

    from classifier.inference.embed import look
    from classifier.inference.torch_backend import TorchPredictor

    predictor = TorchPredictor(chosen.path)
    done, skipped = 0, 0
    with _parquet(args.out, predictor.network.last_linear.in_features) as write:
        for seen in look(predictor, chain([first], found)):
            if seen.embedding is None:
                skipped += 1
                print(printable(f"{seen.image.name}: skipped, {seen.problem}"), file=sys.stderr)
            else:
                done += 1
                write(seen)
        if not done:
            raise UserError(f"{args.out} not written: no image could be read.")
    print(f"{done:,} images, written to {args.out}")
    if skipped:
        print(f"{skipped:,} of {done + skipped:,} images were skipped.", file=sys.stderr)
    return 1 if skipped else 0


@contextmanager
def _parquet(path: Path, width: int) -> Iterator[Callable[["Seen"], None]]:
    """Yield a function that appends a row; the file appears when it is whole."""
    import numpy as np
    import pyarrow
    from pyarrow import parquet

    vectors = pyarrow.list_(pyarrow.float32(), width)
    schema = pyarrow.schema({"id": pyarrow.string(), "vector": vectors})
    names: list[str] = []
    rows: list[Float32Array] = []

    with replacing(path) as temporary, parquet.ParquetWriter(temporary, schema) as writer:

        def flush() -> None:
            flat = pyarrow.array(np.concatenate(rows))
            block = pyarrow.FixedSizeListArray.from_arrays(flat, width)
            writer.write_table(pyarrow.table([names, block], schema=schema))
            names.clear()
            rows.clear()

        def write(seen: "Seen") -> None:
            assert seen.embedding is not None
            names.append(seen.image.name)
            rows.append(seen.embedding)
            if len(rows) == _BLOCK:
                flush()

        yield write
        if rows:
            flush()
