"""The packages that each stage runs, derived from its imports, for the dependencies in dvc.yaml.

With one missing, DVC would serve stale results after an edit; with one too many, it would run a
stage for nothing.

    python -m tools.stage_packages            say what differs, exit 1
    python -m tools.stage_packages --write    mend dvc.yaml
"""

import sys
from functools import cache

import grimp
from ruamel.yaml import YAML

from tools import ROOT


@cache
def imports(stage: str) -> frozenset[str]:
    """The modules of `classifier` and `stages` that a stage can execute, its own not among them.

    Imports within functions count, for they run when the function does; those under
    ``if TYPE_CHECKING`` never run.
    """
    graph = grimp.build_graph("classifier", "stages", exclude_type_checking_imports=True)
    return frozenset(graph.find_upstream_modules(f"stages.{stage}"))


def code(stage: str) -> list[str]:
    """The code that a stage depends on: packages of `classifier`, and its own script."""
    used = {"/".join(module.split(".")[:2]) for module in imports(stage)}
    return [*sorted(used), f"stages/{stage}.py"]


def is_code(dependency: str) -> bool:
    """Whether a dependency in dvc.yaml is the project's own code."""
    return dependency.split("/")[0] in ("classifier", "stages")


def main(write: bool) -> int:
    """Compare dvc.yaml with the imports; mend it when asked. Returns the exit status."""
    yaml = YAML()
    yaml.width = 100
    yaml.indent(mapping=2, sequence=4, offset=2)
    path = ROOT / "dvc.yaml"
    document = yaml.load(path)
    wrong = False
    for name, stage in document["stages"].items():
        listed = list(stage["deps"])
        true = [entry for entry in listed if not is_code(entry)] + code(name)
        if listed != true:
            wrong = True
            missing, extra = sorted(set(true) - set(listed)), sorted(set(listed) - set(true))
            print(f"{name}: missing {missing}, not imported {extra}")
            stage["deps"][:] = true
    if wrong and write:
        yaml.dump(document, path)
    return int(wrong and not write)


if __name__ == "__main__":
    sys.exit(main("--write" in sys.argv[1:]))
