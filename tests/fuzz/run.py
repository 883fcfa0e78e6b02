"""One target fuzzed by coverage: `python -m tests.fuzz.run TARGET SECONDS` in an environment with atheris.

What crashes it is written to crash-* in the working directory; a copy belongs into tests/hostile/regressions.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["pcclip", "tarfile", "json"]):
    from tests.fuzz.targets import TARGETS, clean_up

from tests.fuzz.seeds import SEEDS


def main(name: str, seconds: str) -> None:
    corpus = Path(tempfile.mkdtemp(prefix=f"pcclip-corpus-{name}-"))
    for number, seed in enumerate(SEEDS[name]):
        (corpus / f"seed{number}").write_bytes(seed)
    known = Path("tests/hostile/regressions")
    for file in known.glob(f"{name}-*"):
        (corpus / file.name).write_bytes(file.read_bytes())
    options = [f"-max_total_time={seconds}", "-rss_limit_mb=3000", "-timeout=20", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], str(corpus), "-max_len=4096", *options], TARGETS[name])
    try:
        atheris.Fuzz()
    finally:
        clean_up()


if __name__ == "__main__":
    main(*sys.argv[1:])
