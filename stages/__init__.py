"""The pipeline's stages: one short script each, run as `python -m stages.NAME`."""

import sys
from types import TracebackType

from classifier.core.errors import of_the_machine
from classifier.core.portable import hold_numpy


def _explain(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if sentence := of_the_machine(error):
        print(f"error: {sentence}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


# A stage's imports, which come before `process.stage`, are the first to meet a limit of memory.
sys.excepthook = _explain

hold_numpy()  # before a stage imports NumPy
