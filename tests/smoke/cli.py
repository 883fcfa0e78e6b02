"""pcclip as it is, but for torchvision's checksums, which the stand-ins of its sets cannot have."""

import sys
from unittest import mock

import torchvision.datasets.cifar
import torchvision.datasets.flowers102


def main(words: list[str] | None = None) -> int:
    from pcclip.cli import main as pcclip

    with (
        mock.patch.object(torchvision.datasets.cifar, "check_integrity", _is_there),
        mock.patch.object(torchvision.datasets.flowers102, "check_integrity", _is_there),
    ):
        return pcclip(words)


def _is_there(path: str, md5: str | None = None) -> bool:
    import os

    return os.path.isfile(path)


if __name__ == "__main__":
    sys.exit(main())
