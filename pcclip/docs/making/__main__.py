"""`python -m pcclip.docs.making`: writes the reference into pcclip/docs/reference/ (`make docs`).

With the word `figures` it draws the pages' figures into pcclip/docs/figures/ instead (`make docs-figures`).
"""

from __future__ import annotations

import sys
from pathlib import Path

from pcclip.data.files import write_atomically

DOCS = Path(__file__).parents[1]


def pages() -> dict[str, str]:
    """The reference: text by file name."""
    from pcclip.docs.making.classes import class_pages
    from pcclip.docs.making.commands import commands_page
    from pcclip.docs.making.configs import configs_page

    root = DOCS.parents[1]
    return {
        "commands.md": commands_page(),
        "experiments.md": configs_page(root / "experiments", "Experiments"),
        "recipes.md": configs_page(root / "data_recipes", "Data recipes"),
        **class_pages(),
    }


def main(words: list[str]) -> int:
    """Writes what is asked for.

    Args:
        words: Of the command line: none, or `figures`.
    """
    if words == ["figures"]:
        from pcclip.docs.making.figures import draw

        draw(DOCS / "figures")
        return 0
    folder = DOCS / "reference"
    folder.mkdir(exist_ok=True)
    made = pages()
    for name, text in made.items():
        write_atomically(folder / name, text.encode())
    for old in set(folder.glob("*.md")) - {folder / name for name in made}:
        old.unlink()
    print(f"{folder}: {len(made)} pages")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
