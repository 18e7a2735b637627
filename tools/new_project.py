"""A clone of this template turned into a project of one's own.

python -m tools.new_project NAME

Takes out what is the template's alone: results, benchmarks, its history, its name, this program.
The code, the documentation and the tests stay, without what they say of these. MIT asks that its
notice stays with the code: LICENSE.pipeline.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

NAME, TITLE = "image-classification-pipeline", "Image classification on DVC"
GONE = (
    "dvc.lock",
    "benchmarks",
    "CHANGELOG.md",
    "CITATION.cff",
    "docs/curves.png",
    "docs/ladder.md",
    "docs/ladder.png",
    "docs/report.png",
    "tests/benchmarks",
    "tests/tools/test_new_project.py",
    "tools/new_project.py",
)
KEPT_METRICS = ".gitignore"
_LINK = r"\[([^\]]*)\]\((?:\.\./)?benchmarks/[^)]*\)"
# What is left must not name what is gone. Files, a regular expression, and what takes its place.
EDITS = (
    ("Makefile", r" benchmark \\", r" \\"),
    ("Makefile", r" runs new docs", " runs docs"),
    ("Makefile", r"(?ms)^(new|benchmark): .*?\n\n", ""),
    ("mkdocs.yml", r" +- (CHANGELOG|docs/ladder)\.md\n", ""),
    ("pyproject.toml", r'license = "MIT"\n', ""),
    ("pyproject.toml", r'"LICENSE"', '"LICENSE.pipeline"'),
    ("pyproject.toml", r'(?s)"benchmarks/\*" = \[.*?\n\]\n', ""),
    ("tests/tools/test_links.py", r', \*ROOT\.glob\("benchmarks/\*\.md"\)', ""),
    ("tools/site.py", r'"benchmarks/\*\.md", "LICENSE"', '"LICENSE.pipeline"'),
    ("docs/install.md", r"(?s)`make new .*?(\n\n|$)", ""),
    ("docs/architecture.md", r" `benchmarks/` holds measurements,", ""),
    ("docs/*.md", r"(?s)<!-- begin: python -m benchmarks\.[^>]*-->\n(.*?)<!-- end -->\n", r"\1"),
    ("docs/*.md", rf"\s*\({_LINK}\)", ""),
    # A sentence that begins with a page's name, up to a full stop with white space behind it.
    ("docs/*.md", r"(?s)((?<=\n)|(?<=\. ))\[benchmarks/((?!\n\n).)*?\.(?=\s) ?", ""),
    ("docs/*.md", _LINK, r"\1"),
    ("docs/*.md", r"\n{3,}", "\n\n"),
    ("classifier/**/*.py", r" \(benchmarks/[^)]*\)", ""),
)
README = """# {name}

An image classifier, made with a pipeline on DVC: `make repro` sets up and runs it, `params.yaml`
holds its parameters, and [docs/](docs/) says how it works.

- your own images: [docs/sources.md](docs/sources.md), [docs/pretrained.md](docs/pretrained.md)
- experiments: [docs/experiments.md](docs/experiments.md)
- the model in use: [docs/serving.md](docs/serving.md)

The pipeline's own license is in [LICENSE.pipeline](LICENSE.pipeline).
"""


def new_project(name: str, root: Path) -> None:
    """Turn the clone at ``root`` into a project; ends with one sentence where it cannot."""
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", name):
        sys.exit("error: give a name of letters, digits, dots and dashes: make new NAME=birds")
    changed = _git(root, "status", "--porcelain")
    if changed:
        sys.exit("error: there are uncommitted changes: commit them, or git stash.")
    if _git(root, "log", "--branches", "--not", "--remotes", "--format=%h"):
        sys.exit("error: this clone has commits of its own, which a new history would lose.")
    results = [path for path in (root / "metrics").iterdir() if path.name != KEPT_METRICS]
    for path in (*(root / name for name in GONE), *results):
        _remove(path)
    (root / "LICENSE").rename(root / "LICENSE.pipeline")
    names = (("pyproject.toml", NAME, name), ("mkdocs.yml", TITLE, name))
    for files, pattern, text in (*EDITS, *names):
        for path in root.glob(files):
            before = path.read_text(encoding="utf-8")
            path.write_text(re.sub(pattern, text, before), encoding="utf-8")
    (root / "README.md").write_text(README.format(name=name), encoding="utf-8")
    shutil.rmtree(root / ".git")
    _git(root, "init", "--quiet", "--initial-branch=main")
    _git(root, "add", "--all")
    print(
        f"{name} is a project of its own now, with no history yet. Next:\n"
        f'  git commit -m "Begin {name}"\n'
        "  make repro                 # or set download.source and download.path first\n"
        '  git add dvc.lock metrics && git commit -m "The first results"'
    )


def _git(root: Path, *arguments: str) -> str:
    finished = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False)
    if finished.returncode:
        sys.exit(f"error: git {arguments[0]}: {finished.stderr.decode(errors='replace').strip()}")
    return finished.stdout.decode(errors="replace").strip()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    new_project(sys.argv[1] if len(sys.argv) == 2 else "", Path.cwd())
