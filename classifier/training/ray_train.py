"""Training that Ray Train places on the nodes of a cluster, and starts again when it loses one.

Each rank is a process below one of Ray's workers, with the environment that torchrun would give it,
so that its signals, threads and files are those of a run without Ray.
"""

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from classifier.core.engine import connect, cores, in_folder
from classifier.core.errors import UserError
from classifier.core.process import PROGRESS, run_dir
from classifier.training.launch import GO_ON, LOST, PARENT, SENTENCE, failed, told
from classifier.training.run.interrupt import ECHO

RANKS = "CLASSIFIER_RANKS"  # over all nodes; train.processes without it
RESTARTS = 3  # after a lost process; Ray Train counts no node that says it will be taken away
_LOOK = 0.2  # seconds
_CARRIED = (PROGRESS, "DVC_ROOT", "OMP_NUM_THREADS", "GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")


@dataclass(frozen=True)
class _Job:
    """What every worker does; ``folder``, which all nodes see, is how they and we speak."""

    module: str
    project: Path
    folder: Path
    environment: dict[str, str]

    @property
    def stop(self) -> Path:
        """It is there once the ranks are asked to save their state and end."""
        return self.folder / "stop"

    @property
    def verdict(self) -> Path:
        """Why no more is to be tried, as `launch` has it from a rank: "error: …" or a sentence."""
        return self.folder / "verdict"


def place(processes: int, module: str) -> None:
    """Run ``python -m module``, which comes to `launch`, in ranks on the nodes of the cluster.

    Ranks that lost one of them are started again where there is room for all, and go on from the
    last state.

    Args:
        processes: ranks, unless the environment has another number.
        module: a stage.

    Raises:
        UserError: the one that a rank raised; or ranks were lost again and again.
        KeyboardInterrupt: after Ctrl-C or SIGTERM, with the state saved.
    """
    ranks = _ranks(processes)
    connect()
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.base_trainer import TrainingFailedError
    from ray.train.torch import TorchTrainer

    there = ray.cluster_resources()
    if there.get("CPU", 0) < ranks:
        print(f"waiting until the cluster has {ranks} CPUs, one for each rank.", file=sys.stderr)
    run_dir().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=run_dir(), prefix="ray-") as folder:
        carried = {name: os.environ[name] for name in _CARRIED if name in os.environ}
        job = _Job(module, Path.cwd(), Path(folder).resolve(), carried)
        trainer = TorchTrainer(
            partial(in_folder, job.project, job.folder, _rank, job),
            torch_config=_environment_alone(),
            scaling_config=ScalingConfig(
                num_workers=ranks,
                use_gpu=there.get("GPU", 0) >= ranks,
                placement_strategy="SPREAD",
            ),
            run_config=RunConfig(
                name="train",
                storage_path=str(job.folder),
                failure_config=FailureConfig(max_failures=RESTARTS),
            ),
        )
        try:
            _wait(trainer.fit, job)
        except TrainingFailedError as error:
            if not job.verdict.exists():
                raise UserError(
                    f"training lost its processes {RESTARTS + 1} times: {GO_ON}"
                ) from error
        if job.verdict.exists():
            raise told(job.verdict.read_text(encoding="utf-8"))


def _ranks(processes: int) -> int:
    text = os.environ.get(RANKS, str(processes))
    if not (text.isdecimal() and int(text)):
        raise UserError(f"{RANKS} is {text!r}: give a whole number of ranks over all nodes.")
    return int(text)


def _environment_alone():  # type: ignore[no-untyped-def]
    """Ray's set-up of torch less its process group: each rank makes its own, as under torchrun."""
    from ray.train.backend import Backend
    from ray.train.torch import TorchConfig

    class Alone(Backend):
        share_cuda_visible_devices = True  # a rank takes the GPU of its LOCAL_RANK

    class Config(TorchConfig):
        backend_cls = Alone

    return Config()


def _wait(fit: Callable[[], object], job: _Job) -> None:
    """Call ``fit`` in a thread, show what the ranks say, and let signals ask them to stop."""
    failed: list[BaseException] = []
    # Not Thread.join, which when interrupted takes a thread for one that has ended.
    done = threading.Event()

    def run() -> None:
        try:
            fit()
        except BaseException as error:
            failed.append(error)
        finally:
            done.set()

    threading.Thread(target=run, daemon=True).start()
    shown: dict[Path, int] = {}
    asked = 0.0
    while True:
        try:
            over = done.wait(_LOOK)
            _show(job.folder, shown)
            if over:
                break
        except KeyboardInterrupt:
            if asked and time.monotonic() - asked > ECHO:
                raise
            asked = asked or time.monotonic()
            job.stop.touch()
    if failed:
        raise failed[0]


def _show(folder: Path, shown: dict[Path, int]) -> None:
    for path in sorted(folder.glob("output-*")):
        with path.open("rb") as file:
            file.seek(shown.get(path, 0))
            text = file.read()
        shown[path] = shown.get(path, 0) + len(text)
        sys.stdout.write(text.decode("utf-8", "replace"))
        sys.stdout.flush()


def _rank(job: _Job) -> None:
    """Runs in a worker: a process that trains, watched until its end.

    Raises:
        RuntimeError: it was lost or lost a peer, so that Ray Train starts all of them again.
    """
    import ray
    from ray.train import collective

    context = ray.train.get_context()
    rank, here = context.get_world_rank(), context.get_local_world_size()
    host, port, attempt = collective.broadcast_from_rank_zero(
        (ray.util.get_node_ip_address(), _free_port(), uuid.uuid4().hex)
    )
    if job.verdict.exists():
        return
    sentence = job.folder / f"sentence-{attempt}"
    environment = {name: os.environ[name] for name in os.environ if name != "OMP_NUM_THREADS"}
    environment.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # as in launch
    if here > 1:
        environment["OMP_NUM_THREADS"] = str(max(1, cores() // here))
    environment |= job.environment
    environment |= {
        "RANK": str(rank),
        "WORLD_SIZE": str(context.get_world_size()),
        "LOCAL_RANK": str(context.get_local_rank()),
        "LOCAL_WORLD_SIZE": str(here),
        "MASTER_ADDR": host,
        "MASTER_PORT": str(port),
        SENTENCE: str(sentence),
        PARENT: str(os.getpid()),
    }
    command = [sys.executable, "-m", job.module]
    with (job.folder / f"output-{rank}").open("ab") as output:
        process = subprocess.Popen(
            command, cwd=job.project, env=environment, stdout=output, stderr=output
        )
        asked = False
        while process.poll() is None:
            if job.stop.exists() and not asked:
                asked = True
                process.terminate()
            time.sleep(_LOOK)
    if process.returncode == 0:
        return
    text = sentence.read_text(encoding="utf-8") if sentence.exists() else ""
    if process.returncode < 0 or text == f"error: {LOST}":
        raise RuntimeError(f"rank {rank} ended with {process.returncode}")
    job.verdict.write_text(text or failed(rank), encoding="utf-8")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
