"""Where worker processes cannot hand anything over, that is said, instead of waiting for them forever."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

SCRIPT = """
import multiprocessing.connection, sys, tempfile
from pathlib import Path

import pytest, torch
from test_bank import build, write_pictures

from pcclip.data.stream import BatchLoader
from pcclip.errors import PcclipError

longest, longer = sys.argv[1:]
pictures = write_pictures(Path(longest) / "set")
numbers = [torch.full((3,), at) for at in range(4)]


class Numbers:
    def __getitem__(self, at):
        return numbers[at[1]]


places = [(0, at) for at in range(4)]
tempfile.tempdir = longer
for use in (
    lambda: list(BatchLoader(Numbers(), places, num_workers=1)),
    lambda: build(Path(longest) / "bank", pictures, num_workers=1),
):
    with pytest.raises(PcclipError, match="TMPDIR") as error:
        use()
    assert longer in str(error.value) and "num_workers" in str(error.value)
assert torch.equal(torch.stack(list(BatchLoader(Numbers(), places))), torch.stack(numbers))
build(Path(longest) / "unhurried", pictures)  # without workers no socket is needed
tempfile.tempdir = longest
assert torch.equal(torch.stack(list(BatchLoader(Numbers(), places, num_workers=1))), torch.stack(numbers))
build(Path(longest) / "bank", pictures, num_workers=1)
multiprocessing.process.current_process()._config.pop("tempdir", None)
tempfile.tempdir = longer
with pytest.raises(OSError, match="too long"):
    multiprocessing.connection.Listener(family="AF_UNIX")
print("as it should be")
"""


def test_a_temporary_folder_that_is_too_long_for_sockets_is_refused_and_one_byte_less_works():
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        folders = [os.path.join(short, "x" * (length - len(short) - 1)) for length in (75, 76)]
        for folder in folders:
            os.mkdir(folder)
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, *folders],
            env=environment,
            capture_output=True,
            text=True,
            timeout=100,
        )
    assert done.stdout == "as it should be\n", done.stderr
