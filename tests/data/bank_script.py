"""One process of several that build a bank; started by test_bank_over_processes.py through torchrun."""

import json
import sys
from pathlib import Path

from test_bank import encode, preprocess

from pcclip.crew import Crew, launched_crew
from pcclip.data.bank import build_bank
from pcclip.data.sets import resolve_shards

if __name__ == "__main__":
    place, of_node = Path(sys.argv[1]), int(sys.argv[2])
    calls = []

    def counted(pixels):
        calls.append(len(pixels))
        return encode(pixels)

    with launched_crew() as job:
        crew = Crew.of_node(of_node)
        made = {"node": job.rank // of_node, "rank": crew.rank}
        for name in ("shared", f"disk{made['node']}"):
            calls.clear()
            shards = resolve_shards(str(place / "pictures"))
            bank = build_bank(
                place / name / "bank", shards, preprocess, counted, "fp", 16, 4, 0, progress=False, crew=crew
            )
            made[name] = {"calls": len(calls), "pictures": len(bank)}
    (place / f"made-{job.rank}.json").write_text(json.dumps(made))
