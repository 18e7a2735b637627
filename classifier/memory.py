"""How much memory this process may take, and how it keeps what it has."""

import ctypes
import sys
from pathlib import Path


def keep_large_buffers() -> bool:
    """Let large CPU buffers stay with the process; call before the first large tensor.

    glibc gives every freed block above 128 kB (at most 32 MiB) back to the kernel, so each
    training step gets its activations as fresh zeroed pages, and page faults take almost half of
    the time. With the thresholds raised freed blocks are used again: 1.8 (bfloat16) and 2.1 times
    (float32) as many images/s were measured for a network of three convolutions on batches of
    512 images of 32×32. The same can be had with
    MALLOC_MMAP_THRESHOLD_, MALLOC_TRIM_THRESHOLD_ and MALLOC_TOP_PAD_, but glibc reads those when
    the process starts, which is too late here.

    Returns:
        Whether it was done: on Linux with glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    trim_threshold, top_pad, mmap_threshold, mmap_max = -1, -2, -3, -4  # from malloc.h
    gigabyte = 2**30
    return all(
        [
            # glibc before 2.35 refuses more than 32 MiB; there no block at all gets a mapping.
            mallopt(mmap_threshold, gigabyte) or mallopt(mmap_max, 0),
            mallopt(trim_threshold, 2**31 - 1),  # an int in C
            mallopt(top_pad, 64 * 2**20),
        ]
    )


def free_memory(system: Path = Path("/")) -> int:
    """Bytes that this process can still take: of the machine, and of its container's limit.

    A container (a control group of Linux, version 1 or 2) that grows above its limit is killed, so
    the machine's free memory alone says too much. Caches that the kernel can drop count as free.

    Args:
        system: where /proc and /sys lie.
    """
    import psutil  # not in the container that serves a model, which keeps its buffers as well

    return min([psutil.virtual_memory().available, *_container_left(system)])


def _container_left(system: Path) -> list[int]:
    """What the control group of this process, and each one above it, still has to give."""
    groups = system / "sys/fs/cgroup"
    left = []
    try:
        lines = (system / "proc/self/cgroup").read_text("utf-8", "surrogateescape").splitlines()
    except OSError:  # not Linux
        return []
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers == "":
            top, files, cache = groups, ("memory.max", "memory.current"), "inactive_file"
        elif "memory" in controllers.split(","):
            top, files = groups / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
            cache = "total_inactive_file"
        else:
            continue
        group = top / name.lstrip("/")
        for place in (group, *group.parents):
            if not place.is_relative_to(top):
                break
            try:
                limit, used = (int((place / file).read_text(encoding="ascii")) for file in files)
                statistics = (place / "memory.stat").read_text(encoding="ascii").splitlines()
            except (OSError, ValueError):  # no such group in this container, or "max": no limit
                continue
            droppable = next((int(s.split()[1]) for s in statistics if s.split()[0] == cache), 0)
            left.append(max(0, limit - used + droppable))
    return left
