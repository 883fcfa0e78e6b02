"""pcclip as it is, but for torchvision's checksums, which the stand-ins of its sets cannot have."""

import os
import sys
from unittest import mock

from pcclip.cli import main

READ_SETS = ("fit", "resume", "evaluate")


def is_there(path: str, md5: str | None = None) -> bool:
    return os.path.isfile(path)


if __name__ == "__main__":
    if sys.argv[1] in READ_SETS:  # the others start faster without torchvision
        import torchvision.datasets.cifar
        import torchvision.datasets.flowers102

        for module in (torchvision.datasets.cifar, torchvision.datasets.flowers102):
            mock.patch.object(module, "check_integrity", is_there).start()
    sys.exit(main())
