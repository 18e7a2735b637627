"""How much memory this process may take."""

from pathlib import Path


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
