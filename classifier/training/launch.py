"""Training in several processes, on one machine or on many: torchrun's launcher starts them.

All that happens to the processes comes down to one sentence a machine and an exit status.
"""

import contextlib
import logging
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist

from classifier.core.errors import UserError

# The environment variable with which the launcher names a file to its ranks, for their sentence.
SENTENCE = "CLASSIFIER_SENTENCE"
# And with which it names itself: its ranks end with it, and may be still importing when it does.
PARENT = "CLASSIFIER_PARENT"

GO_ON = "run the same command again, on every machine of the run, to go on from the last state."
LOST = f"training lost another of its processes, whose own output says why: {GO_ON}"


def is_rank() -> bool:
    """Whether a launcher started this process as one of a run."""
    return "WORLD_SIZE" in os.environ


def launch(processes: int, module: str, function: Callable[[], None]) -> None:
    """Call ``function`` in every rank of the run, or here when one process is enough.

    A process that torchrun has started is a rank. Any other one becomes torchrun's launcher where
    several processes are wanted, here or by torchrun's environment variables (PET_NNODES and so
    on, one for each of its options, which win): each rank then runs ``python -m module``, which
    comes here again.

    Args:
        processes: on this machine.

    Raises:
        UserError: the one that a rank raised; or a rank was lost.
        KeyboardInterrupt: the ranks were stopped by a signal.
    """
    if is_rank():
        return _rank(function)
    if processes == 1 and "PET_NNODES" not in os.environ:
        return function()
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous.api import RendezvousError

    options = [] if "PET_NPROC_PER_NODE" in os.environ else [f"--nproc-per-node={processes}"]
    options += [] if "PET_NNODES" in os.environ else ["--standalone"]
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, torch.get_num_threads() // processes)))
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # of what a lost connection logs, too
    logging.disable()  # the launcher reports an ended rank at length
    with tempfile.TemporaryDirectory() as folder:
        sentence = Path(folder) / "sentence.txt"
        os.environ[SENTENCE] = str(sentence)
        try:
            run.run(run.parse_args([*options, "--module", module]))
        except SignalException:
            raise KeyboardInterrupt(_read(sentence)) from None
        except ChildFailedError as error:
            codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
            raise _reason(_read(sentence), codes) from None
        except (RendezvousError, dist.DistError) as error:
            raise UserError(
                f"the machines of the run did not find each other ({_first_line(error)}): start the"
                " same command on each, with the same PET_MASTER_ADDR and PET_MASTER_PORT."
            ) from None
        finally:
            del os.environ[SENTENCE]
            logging.disable(logging.NOTSET)
    return None


def _rank(function: Callable[[], None]) -> None:
    parent = int(os.environ.get(PARENT, os.getppid()))
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    # Both, for what is small is exchanged on the CPU, and train.device may say cpu beside GPUs.
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        function()
    except (UserError, KeyboardInterrupt, RuntimeError) as error:
        stop = UserError(LOST) if _lost(error) else error
        if SENTENCE not in os.environ or isinstance(stop, RuntimeError):
            raise stop from None if _lost(error) else error
        with contextlib.suppress(FileExistsError), Path(os.environ[SENTENCE]).open("x") as file:
            file.write(f"error: {stop}" if isinstance(stop, UserError) else str(stop))
        os._exit(1)  # the launcher then ends the other ranks, which wait for this one
    dist.destroy_process_group()


def _lost(error: BaseException) -> bool:
    """Whether it is what an exchange raises when a peer is gone."""
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and "gloo" in str(error)
    )


def _reason(text: str, codes: dict[int, int]) -> UserError | KeyboardInterrupt:
    """What to raise for the sentence of a rank, if any, and the exit status of ended ranks."""
    killed = {rank: -code for rank, code in codes.items() if code < 0}
    if killed and text in ("", f"error: {LOST}"):
        rank, number = next(iter(killed.items()))
        memory = ", as the kernel does where memory runs out" * (number == signal.SIGKILL)
        name = signal.Signals(number).name
        return UserError(f"process {rank} of training was ended by {name}{memory}: {GO_ON}")
    return told(text or failed(next(iter(codes))))


def told(text: str) -> UserError | KeyboardInterrupt:
    """What a rank wrote to SENTENCE, raised there: an error, or that it was stopped."""
    if text.startswith("error: "):
        return UserError(text.removeprefix("error: "))
    return KeyboardInterrupt(text)


def failed(rank: int) -> str:
    """The sentence of a rank that wrote none."""
    return f"error: process {rank} of training failed, as it says above."


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def _end_with(parent: int) -> None:
    # A launcher that was killed cannot end its ranks; they would train on, unseen.
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
