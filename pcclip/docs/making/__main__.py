"""`python -m pcclip.docs.making`: writes the reference into pcclip/docs/reference/ (`make docs`).

With the word `figures` it draws the pages' figures into pcclip/docs/figures/ instead (`make docs-figures`);
those of ranked pictures from the finished runs in runs/, and where there are none those stay as they are.
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
        _draw()
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


def _draw() -> None:
    from pcclip.docs.making.figures import WORLDS, draw, draw_ranked

    for file in draw(DOCS / "figures"):
        print(file.name)
    for world, command in WORLDS.items():
        run, data = Path(f"runs/{world}-differences/seed0"), Path(f"data/{world}")
        if not (run / "summary.json").is_file():
            print(f"ranked-{world}-*.png: left as they are, no finished run {run} (`{command}` makes it)")
            continue
        for told in draw_ranked(DOCS / "figures", world, run, data, Path("data/cache")):
            print(told)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
