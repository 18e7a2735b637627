"""Which variables make libraries compute the same bits on every x86-64 processor with AVX2.

Each library takes the widest instructions that it finds, and adds up or rounds differently with
them. These hold all of them to what came with AVX2 and FMA in 2013. Lists of the libraries'
names: https://numpy.org/doc/stable/reference/simd/build-options.html,
https://github.com/OpenMathLib/OpenBLAS#setting-the-target-at-runtime,
https://uxlfoundation.github.io/oneDNN/dev_guide_cpu_dispatcher_control.html and oneMKL's guide on
conditional numerical reproducibility.
"""

import os
import platform
from functools import cache
from pathlib import Path

# MKL's kernels for AVX2 alone would be refused on processors that are not Intel's.
TORCH = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "COMPATIBLE"}
# A product in two threads is cut elsewhere. Names that a version of NumPy lacks are no error.
_NUMPY = {
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "OPENBLAS_CORETYPE": "Haswell",
    "OPENBLAS_NUM_THREADS": "1",
}


@cache
def has_avx2() -> bool:
    """Whether this is an x86-64 processor with AVX2, as far as Linux says; False elsewhere."""
    if platform.machine() != "x86_64":
        return False
    try:
        words = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        return False
    return {"avx2", "fma"} <= set(words)


def hold_numpy() -> None:
    """Let NumPy, SciPy and scikit-learn give the same bits on all of these processors.

    They look at the environment once, while they are imported: call this before.
    """
    if has_avx2():
        os.environ.update(_NUMPY)
