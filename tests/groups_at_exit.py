"""`python -m tests.groups_at_exit ...` is `pcclip ...`; it ends with how many threads of groups are left."""

import atexit
import sys
from pathlib import Path


def _tell() -> None:
    names = [(thread / "comm").read_text().strip() for thread in Path("/proc/self/task").iterdir()]
    print("threads of groups at exit:", sum("gloo" in name for name in names), file=sys.stderr, flush=True)


if __name__ == "__main__":
    atexit.register(_tell)  # first of all, so it runs last
    from pcclip.cli import main

    sys.exit(main())
