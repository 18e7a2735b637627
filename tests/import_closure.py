"""Which project files a stage runs: its imports, followed through the project.

dvc.yaml has to list exactly these as dependencies. With one missing, DVC serves stale results after
an edit; with one too many, it runs a stage for nothing.

    python -m tests.import_closure            say what differs, exit 1
    python -m tests.import_closure --write    mend dvc.yaml
"""

import ast
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("classifier", "stages")


def closure(module: str, root: Path = ROOT) -> set[str]:
    """The files, relative to ``root``, that importing ``module`` and running it can execute.

    Imports inside functions count: they run when the function does. An import under
    ``if TYPE_CHECKING`` never runs and does not count. Files that a module reads as data beside
    its code (a template, a style sheet) count when their folder is named in DATA.
    """
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _file(name, root)
        if path is None or path.relative_to(root).as_posix() in found:
            continue
        found.add(path.relative_to(root).as_posix())
        # Importing a.b.c runs a/__init__.py and a/b/__init__.py first.
        waiting += [name.rsplit(".", depth)[0] for depth in range(1, name.count(".") + 1)]
        waiting += _imports(path, name)
        found |= _data_files(path, root)
    return found


def _data_files(path: Path, root: Path) -> set[str]:
    folder = path.with_name(path.stem + "_page")
    if not folder.is_dir():
        return set()
    files = (
        file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts
    )
    return {file.relative_to(root).as_posix() for file in files}


def _file(name: str, root: Path) -> Path | None:
    if name.split(".")[0] not in PACKAGES:
        return None
    path = root.joinpath(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _imports(path: Path, module: str) -> list[str]:
    names: list[str] = []
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in _walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *([node.module] if node.module else [])])
            # `from a import b` imports the module a.b where there is one.
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return names


def _walk(node: ast.AST) -> Any:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield other
                yield from _walk(other)
            continue
        yield child
        yield from _walk(child)


def is_code(dependency: str) -> bool:
    """Whether a dependency in dvc.yaml is one of the project's own code files."""
    return dependency.split("/")[0] in PACKAGES


def main(write: bool) -> int:
    """Compare dvc.yaml with the imports; mend it when asked. Returns the exit status."""
    yaml = YAML()
    yaml.width = 100
    yaml.indent(mapping=2, sequence=4, offset=2)
    path = ROOT / "dvc.yaml"
    document = yaml.load(path)
    wrong = 0
    for name, stage in document["stages"].items():
        listed = list(stage["deps"])
        data = [dependency for dependency in listed if not is_code(dependency)]
        true = data + sorted(closure(f"stages.{name}"))
        if listed != true:
            wrong += 1
            missing, extra = sorted(set(true) - set(listed)), sorted(set(listed) - set(true))
            print(f"{name}: missing {missing}, not imported {extra}")
            stage["deps"][:] = true
    if wrong and write:
        yaml.dump(document, path)
    return int(bool(wrong) and not write)


if __name__ == "__main__":
    sys.exit(main("--write" in sys.argv[1:]))
