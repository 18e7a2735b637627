"""In which numbers a network is computed, and with how many threads."""

import os
from dataclasses import dataclass
from typing import Literal

import torch

from classifier.core.errors import UserError
from classifier.models.portable import compute_portably
from classifier.models.registry import COMPUTES, build
from classifier.models.spec import ModelSpec
from classifier.models.summary import summary

PrecisionName = Literal["auto", "fp32", "bf16", "fp16"]
NumericsName = Literal["auto", "portable", "fast"]


def make_deterministic(device: torch.device, on_request: bool) -> None:
    """Make the CPU always, and a GPU on request, give the same bits again.

    A GPU otherwise takes the fastest kernels it finds and lets additions finish in any order. On
    the CPU this costs nothing; results then depend on the number of threads alone.
    """
    strict = on_request or device.type == "cpu"
    torch.use_deterministic_algorithms(strict)
    # Filling fresh memory only costs time: nothing here reads what it did not write.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read at the first product
        torch.backends.cudnn.benchmark = not strict
        torch.set_float32_matmul_precision("highest" if strict else "high")


@dataclass(frozen=True)
class Numerics:
    """How a network is computed: number type, memory layout, compiler, CPU threads.

    ``graphs``: the compiled network's kernels are launched together, as CUDA graphs. ``threads`` is
    0 where no CPU computes: sums in another number of parts round differently. ``portable``: the
    bits are the same on every x86-64 processor with AVX2.
    """

    precision: str
    channels_last: bool
    compile: bool
    threads: int = 0
    graphs: bool = False
    portable: bool = False

    @property
    def kind(self) -> NumericsName:
        """What train.numerics came to."""
        return "portable" if self.portable else "fast"

    @property
    def layout(self) -> torch.memory_format:
        """Of weights and activations."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    @property
    def mixed(self) -> bool:
        """Whether torch.autocast is to be on."""
        return self.precision != "fp32"

    @property
    def autocast(self) -> torch.dtype | None:
        """The type for torch.autocast, or None where it stays off."""
        return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.precision)

    def __str__(self) -> str:
        layout = "channels-last" if self.channels_last else "channels-first"
        compiled = "compiled" if self.compile else "not compiled"
        compiled += " into CUDA graphs" if self.graphs else ""
        threads = f", {self.threads} thread{'s' * (self.threads > 1)}" if self.threads else ""
        portable = ", portable" * self.portable
        return f"{self.precision}, {layout}, {compiled}{threads}{portable}"


def choose_numerics(
    device: torch.device,
    precision: str = "auto",
    channels_last: bool | str = "auto",
    compile: bool | str = "auto",
    multiply_adds: int = 0,
    portable: bool = False,
) -> Numerics:
    """Choose what the caller leaves open.

    The choice follows from the machine, OMP_NUM_THREADS and the network alone. A timed trial at the
    start would suit each case better, but two runs could then differ in every bit because one
    machine was busy for a second.

    Measured on a Zen 5 CPU, one thread, training steps of the network ``cnn``, images/s:

    - bfloat16 autocast against float32: 1.2 times as fast at 0.7 M multiply-adds an image
      (8×8), 1.3 at 2.5 M (16×16), 1.5 to 1.8 at 10 to 150 M (32×32). Below 2 M the gain is not
      worth results that differ between CPUs with and without the instructions.
    - channels-last against channels-first: 1.0 up to 16×16, 1.2 to 1.9 above, in both types.
    - a second thread, at 0.7 M: 1.2 times as fast on an idle machine, and 30 times slower where
      other work wants the same two cores, for the threads wait for each other after every
      operation. Small networks therefore always use one, and give the same bits on any number of
      cores. Larger ones take `cpu_threads`, and their last bits follow that number.
    - torch.compile: 0.6 to 0.9 times as fast, after 12 to 50 s of compiling. ``auto`` is off, on
      GPUs as well, where it was not measured.

    On GPUs the choices are common practice. On mps they are the careful ones: float32.

    Args:
        multiply_adds: of one image through the network, forward.
        portable: what `settle` gave.
    """
    if precision == "auto":
        precision = "fp32" if portable else _faster_precision(device, multiply_adds)
    if channels_last == "auto":
        channels_last = device.type != "mps"
    if compile == "auto":
        compile = False
    threads = 0
    if device.type == "cpu":
        threads = 1 if portable or multiply_adds < SMALL_NETWORK else cpu_threads()
    graphs = compile == "graphs" and device.type == "cuda"
    return Numerics(precision, bool(channels_last), bool(compile), threads, graphs, portable)


def settle(
    wanted: NumericsName,
    spec: ModelSpec,
    device: torch.device,
    precision: str = "auto",
    compile: bool | str = "auto",
) -> bool:
    """Whether the run's numerics are portable; if so, torch computes accordingly from now on.

    Call it before torch computes anything. ``auto`` takes portable numerics for networks too small
    to gain from bfloat16, on a processor that has the kernels. A compiled network is never
    portable, for the compiler takes all that the processor has.

    Args:
        wanted: train.numerics.
        spec: of the network.

    Raises:
        UserError: portable numerics were asked for and cannot be had.
    """
    float32 = device.type == "cpu" and precision in ("auto", "fp32") and compile in ("auto", False)
    if wanted == "portable":
        if not float32:
            raise UserError(
                "train.numerics: portable is for float32 on the CPU, not compiled; set train.device"
                " to cpu, train.precision to fp32 and train.compile to false, or train.numerics to"
                " auto."
            )
        if not compute_portably():
            raise UserError(
                "train.numerics: portable needs Linux on an x86-64 processor with AVX2; set it to"
                " auto."
            )
        return True
    if wanted == "fast" or not float32 or spec.name.startswith(COMPUTES):
        return False
    with torch.device("meta"):
        network = build(spec.name, spec.args, **spec.sizes)
    counts = summary(spec.name, network, spec.channels, spec.image_size)
    return counts["multiply_adds"] < SMALL_NETWORK and compute_portably()


def cpu_threads() -> int:
    """How many threads one operation takes: OMP_NUM_THREADS, else torch's choice, a core each.

    torch alone takes no more than there are cores, whatever the variable says; here it holds, so
    that the result of a machine with more cores can be had again on one with fewer.
    """
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(wanted) if wanted.isdecimal() and int(wanted) else torch.get_num_threads()


def _faster_precision(device: torch.device, multiply_adds: int) -> str:
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16"
        return "fp16" if torch.cuda.get_device_capability(device) >= (7, 0) else "fp32"
    if device.type == "cpu" and multiply_adds >= SMALL_NETWORK and _cpu_multiplies_bf16():
        return "bf16"
    return "fp32"


SMALL_NETWORK = 2_000_000  # multiply-adds an image; the default network has 0.7 M on 8×8


def _cpu_multiplies_bf16() -> bool:
    known = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return known and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
