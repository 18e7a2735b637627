"""docs/parameters.md and the report's defaults, from params.yaml and the dataclasses that load it.

python -m tools.parameters_page            say whether they are true, exit 1 if not
python -m tools.parameters_page --write    write them
"""

import dataclasses
import json
import sys
from typing import Any, get_type_hints

from ruamel.yaml import YAML

from classifier.core.params import flatten, read
from classifier.core.parse import describe
from classifier.experiments.overrides import SECTIONS, dataclass_of
from tools import ROOT

PAGE = ROOT / "docs" / "parameters.md"
DEFAULTS = ROOT / "classifier" / "report" / "page" / "defaults.json"


def page() -> str:
    """The whole page."""
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    document, meanings = YAML().load(text), comments(text)
    lines = [
        "# Parameters",
        "",
        "Every key of `params.yaml`, its default, what it takes and what it means. Change one",
        "for a single experiment with `dvc exp run -S train.lr=0.001`; keys that `params.yaml`",
        "does not list yet take a plus: `-S +model.resnet.depth=56`. Written from `params.yaml`",
        "and the code by `python -m tools.parameters_page --write`.",
    ]
    for section in SECTIONS:
        stage = "train" if section in ("augment", "model") else section
        lines += ["", f"## {section}", "", f"Read by the stage `{stage}`.", ""]
        lines += ["| key | default | takes | meaning |", "|---|---|---|---|"]
        lines += rows(dataclass_of(section), document[section] or {}, section, meanings)
    return "\n".join(lines) + "\n"


def rows(cls: type[Any], values: Any, prefix: str, meanings: dict[str, str]) -> list[str]:
    """A table row for each key of a section, those of nested sections after it."""
    hints = get_type_hints(cls, include_extras=True)
    table = []
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        key, hint = f"{prefix}.{field.name}", hints[field.name]
        given = field.name in values
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            table += rows(hint, values[field.name] if given else {}, key, meanings)
            continue
        default = values[field.name] if given else _default(field)
        cells = [f"`{key}`", f"`{_yaml(default)}`", describe(hint), meanings.get(key, "")]
        table.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return table


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _yaml(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    return str(value)


def comments(text: str) -> dict[str, str]:
    """Dotted key -> its comment in YAML text: behind the key, or on the lines above it."""
    found: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    above: list[str] = []
    for line in text.splitlines():
        code, _, comment = line.partition("#")
        if not code.strip():
            above = [*above, comment.strip()] if comment else []
            continue
        if code.lstrip().startswith("- "):  # an entry of a list
            continue
        indent, key = len(code) - len(code.lstrip()), code.split(":")[0].strip()
        path = [*((depth, name) for depth, name in path if depth < indent), (indent, key)]
        found[".".join(name for _, name in path)] = comment.strip() or " ".join(above)
        above = []
    return found


def defaults() -> str:
    """The values of params.yaml by dotted key, with which the report compares those of a run."""
    return json.dumps(flatten(read(ROOT / "params.yaml")), indent=0) + "\n"


def main(write: bool) -> int:
    """Write both files, or say whether they are true. Returns the exit status."""
    stale = False
    for path, text in ((PAGE, page()), (DEFAULTS, defaults())):
        if write:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            name = path.relative_to(ROOT)
            print(f"{name} is out of date: run python -m tools.parameters_page --write")
            stale = True
    return int(stale)


if __name__ == "__main__":
    sys.exit(main("--write" in sys.argv[1:]))
