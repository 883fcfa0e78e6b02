"""Shared fixtures: a free port, the folder of real data."""

import os
import socket
from pathlib import Path

import pytest

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture
def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with coco/, eurosat/, differences/...; set PCCLIP_TEST_DATA to run these tests."""
    folder = os.environ.get("PCCLIP_TEST_DATA")
    if not folder:
        pytest.skip("PCCLIP_TEST_DATA is unset: no real data to test on")
    return Path(folder)
