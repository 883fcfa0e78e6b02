"""A small run, a small folder of pictures and the real server over them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
from PIL import Image

NASTY = "<img src=x onerror=alert(1)> & 'ü'.png"


def make_run(folder: Path) -> Path:
    """A finished run, its base beside it; the tuned text tower is the base's with some noise."""
    import torch

    from pcclip.model.checkpoint import save_folder
    from pcclip.model.towers import load_towers

    torch.manual_seed(0)
    save_folder(load_towers("pcclip-tiny", random_init=True), folder / "base")
    base = {"name": f"local-dir:{folder / 'base'}", "pretrained": None, "random_init": False}
    towers = load_towers(base["name"])
    with torch.no_grad():
        towers.clip.text_projection += torch.randn_like(towers.clip.text_projection)
    run = folder / "runs" / "small" / "seed0"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("experiment: small\n")
    save_folder(towers, run / "model", {"base": base})
    summary = {"schema": 1, "experiment": "small", "seed": 0, "base": {}, "tuned": {}}
    (run / "summary.json").write_text(json.dumps(summary | {"base_model": {"base": base}}))
    return run


def make_pictures(folder: Path, number: int = 30) -> Path:
    """Pictures of noise on plain colours, some in a folder within, one with a name that is markup."""
    draw = np.random.default_rng(0)
    (folder / "deeper").mkdir(parents=True)
    for at in range(number):
        pixels = draw.integers(0, 256, 3) + draw.normal(0, 30, (40, 50, 3))
        name = NASTY if not at else f"deeper/{at:02}.png" if at % 2 else f"{at:02}.jpg"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name)
    return folder


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        return self.json["error"]


@dataclass
class Server:
    """A server in a process of its own."""

    process: subprocess.Popen
    port: int
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """Sends the path as it stands: no client tidies it up."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.putrequest(method, path, skip_host=True)
            named = {"Host": f"127.0.0.1:{self.port}"}
            for name, value in (named | {k.replace("_", "-"): v for k, v in headers.items()}).items():
                connection.putheader(name, value)
            connection.endheaders()
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def ask(self, **words: object) -> Answer:
        return self.get(f"/api/answer?{urlencode(words, doseq=True)}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "pcclip", "serve", *map(str, words)]


@contextmanager
def serving(folder: Path, model: object, cache: Path, *words: object) -> Iterator[Server]:
    """The server, ready to be asked; its standard error goes to `cache`/stderr."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "stderr").open("w") as errors:
        process = subprocess.Popen(
            command(folder, "--model", model, "--port", 0, "--cache_dir", cache, *words),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
    try:
        line = process.stdout.readline()
        assert line.startswith("http://"), (cache / "stderr").read_text()
        yield Server(process, int(line.split("/")[2].rpartition(":")[2]))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
