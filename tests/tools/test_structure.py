"""The library keeps its shape: few modules to a folder, and packages that import nothing."""

import ast

from tools import ROOT

LIBRARY = ROOT / "classifier"


def test_the_root_has_the_command_line_alone() -> None:
    names = {path.stem for path in LIBRARY.glob("*.py")}
    assert names == {"__init__", "__main__", "cli"}


def test_no_folder_has_more_modules_than_can_be_looked_over() -> None:
    sizes = {
        folder.relative_to(ROOT).as_posix(): len(list(folder.glob("*.py")))
        for folder in LIBRARY.rglob("*")
        if folder.is_dir()
    }
    assert {name: size for name, size in sizes.items() if size > 20} == {}


def test_packages_hold_a_docstring_and_nothing_else() -> None:
    """Importing one module must not import its siblings."""
    for path in LIBRARY.rglob("__init__.py"):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        assert len(body) == 1, path
        assert isinstance(body[0], ast.Expr), path
