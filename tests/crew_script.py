"""What a crew of processes does, written to a file; started by test_crew.py through torchrun."""

import json
import os
import sys
from pathlib import Path

import numpy as np

from pcclip.crew import Crew, Job, launched_crew
from pcclip.errors import PcclipError


def job(crew: Crew, order: dict, calls: list[int]) -> Job[int]:
    def prepare(numbers):
        for number in numbers:
            if [crew.rank, number] == order.get("unreadable"):
                raise PcclipError(f"batch {number}: cannot be decoded")
            yield number

    def encode(number):
        calls.append(number)
        if [crew.rank, number] == order.get("broken"):
            raise ValueError("no such number")
        return np.full((2, 3), number, np.float32)

    return Job(order["count"], prepare, encode)


def outcome(crew: Crew, order: dict) -> dict:
    calls: list[int] = []

    def work() -> list[float]:
        rows = crew.map(order, job(crew, order, calls))
        found = []
        for row in rows:
            found.append(float(row[0, 0]))
            if len(found) == order.get("enough"):
                raise PcclipError("the disk is full")
        return found

    try:
        return {"rows": crew.lead(work, lambda order: job(crew, order, calls)), "calls": calls}
    except Exception as error:
        return {"error": type(error).__name__, "says": str(error), "calls": calls}


if __name__ == "__main__":
    orders = json.loads(sys.argv[1])
    rank = int(os.environ["RANK"])
    with launched_crew() as crew:
        found = [outcome(crew, order) for order in orders]
        found.append({"agreed": crew.agree(crew.rank + 7)})
    threads = [task.read_text().strip() for task in Path("/proc/self/task").glob("*/comm")]
    found.append({"threads": [name for name in threads if "gloo" in name]})
    with open(f"{sys.argv[2]}/{rank}.json", "w") as file:
        json.dump(found, file)
