"""The pages of the project laid out for MkDocs, with their links as they are.

python -m tools.site      write build/site-pages, which mkdocs.yml names
"""

import shutil
from pathlib import Path

from tools import ROOT

OUT = ROOT / "build" / "site-pages"


def pages() -> list[Path]:
    """What the site shows, and what its pages link to, below ROOT."""
    patterns = ("*.md", "docs/*", "benchmarks/*.md", "LICENSE", "data/images/*.md")
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file())


def main() -> None:
    """Write OUT anew; README.md is the first page."""
    shutil.rmtree(OUT, ignore_errors=True)
    for path in pages():
        target = OUT / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


if __name__ == "__main__":
    main()
