"""Jobs of several processes, as torchrun starts them."""

import os
import subprocess
import sys

WORDS = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node")


def torchrun(processes: int, *words: object, seconds: float = 240) -> subprocess.CompletedProcess[str]:
    """Starts `python WORDS` so many times as one job, on the CPU."""
    settings = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, *WORDS, str(processes), *map(str, words)]
    return subprocess.run(
        command, env=os.environ | settings, capture_output=True, text=True, timeout=seconds, check=False
    )
