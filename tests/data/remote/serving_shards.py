"""Servers of shards: a plain one, one that misbehaves as told, and an S3-compatible one."""

import functools
import http.server
import logging
import os
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Behaviour:
    """What a server does wrong, and what it has been asked for.

    `faults` are taken one per GET of a tar: "drop:N" (closes after N bytes), "503", "429" (Retry-After: 1),
    "stall" (silent for `stall_s`), "wrong" (flips bytes), None. `every` repeats a fault at each k-th request.
    """

    ranges: bool = True
    faults: list[str | None] = field(default_factory=list)
    every: tuple[int, str] | None = None
    stall_s: float = 3.0
    delay_s: float = 0.0
    etag: str = ""
    gets: Counter = field(default_factory=Counter)
    whole: Counter = field(default_factory=Counter)
    sent: Counter = field(default_factory=Counter)
    requests: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fault(self) -> str | None:
        with self.lock:
            self.requests += 1
            if self.faults:
                return self.faults.pop(0)
            if self.every and self.requests % self.every[0] == 0:
                return self.every[1]
            return None


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address) -> None:
        pass  # clients that hang up


def _handler(folder: Path, behaviour: Behaviour) -> type:
    class Handler(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def __init__(self, *args) -> None:
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args) -> None:
            pass

        def _file(self) -> Path | None:
            path = Path(self.translate_path(self.path))
            return path if path.is_file() else None

        def do_HEAD(self) -> None:
            path = self._file()
            if path is None:
                super().do_HEAD()
                return
            self.send_response(200)
            self._headers(path, path.stat().st_size)

        def _headers(self, path: Path, length: int, more: dict[str, str] | None = None) -> None:
            self.send_header("Content-Length", str(length))
            self.send_header("ETag", f'"{behaviour.etag}{path.stat().st_size}-{path.stat().st_mtime_ns}"')
            self.send_header("Accept-Ranges", "bytes" if behaviour.ranges else "none")
            for name, value in (more or {}).items():
                self.send_header(name, value)
            self.end_headers()

        def do_GET(self) -> None:
            path = self._file()
            if path is None:
                super().do_GET()
                return
            data = path.read_bytes()
            size, start = len(data), 0
            fault = behaviour.fault() if path.suffix == ".tar" else None
            with behaviour.lock:
                behaviour.gets[path.name] += 1
            if fault in ("503", "429"):
                self.send_response(int(fault))
                self.send_header("Retry-After", "1")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            asked = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if asked and behaviour.ranges:
                start = int(asked[1])
                data = data[start : int(asked[2]) + 1 if asked[2] else None]
                self.send_response(206)
                self._headers(
                    path, len(data), {"Content-Range": f"bytes {start}-{start + len(data) - 1}/{size}"}
                )
            else:
                self.send_response(200)
                self._headers(path, size)
            self._send(path, data, size, fault)

        def _send(self, path: Path, data: bytes, size: int, fault: str | None) -> None:
            if fault == "wrong":
                data = data[:-2000] + bytes(b ^ 0xFF for b in data[-2000:-1500]) + data[-1500:]
            cut = len(data)
            if fault and fault.startswith("drop:"):
                cut = min(cut, int(fault.split(":")[1]))
            time.sleep(behaviour.delay_s)
            self.wfile.write(data[:cut])
            self.wfile.flush()
            with behaviour.lock:
                behaviour.sent[path.name] += cut
                if path.suffix == ".tar":
                    behaviour.whole[path.name] += cut == size
            if fault:
                time.sleep(behaviour.stall_s if fault == "stall" else 0.3)  # the client reads what was sent
            if cut < len(data) or fault == "stall":
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True

    return Handler


@contextmanager
def served(folder: Path, behaviour: Behaviour | None = None) -> Iterator[str]:
    """Serves a folder; gives the URL."""
    server = Server(("127.0.0.1", 0), _handler(folder, behaviour or Behaviour()))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@functools.cache
def _s3_address() -> str:
    """Of one server per process, which ends with it: file systems keep the endpoint that they began with."""
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # says each request
    return "http://{}:{}".format(*server.get_host_and_port())


@contextmanager
def s3_server(*buckets: str) -> Iterator[tuple[str, object]]:
    """An S3-compatible server; gives its address and a client. Sets the environment's credentials for it."""
    import boto3

    settings = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "hush-hush",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": _s3_address(),
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        client = boto3.client("s3", endpoint_url=_s3_address())
        for bucket in buckets:
            client.create_bucket(Bucket=bucket)
        yield _s3_address(), client
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def upload(client, folder: Path, bucket: str, prefix: str) -> str:
    """Copies a set into a bucket; gives its URL."""
    for file in sorted(folder.iterdir()):
        if file.is_file():
            client.put_object(Bucket=bucket, Key=f"{prefix}/{file.name}", Body=file.read_bytes())
    return f"s3://{bucket}/{prefix}"


def held_bytes(cache: Path) -> int:
    """Bytes of the shards in a cache, partial ones too."""
    total = 0
    for path in cache.glob("*"):
        if path.suffix in (".tar", ".part"):
            try:
                total += path.stat().st_size
            except FileNotFoundError:
                continue
    return total


@contextmanager
def watched(cache: Path) -> Iterator[list[int]]:
    """The largest sizes that a cache had meanwhile."""
    seen, ended = [0], threading.Event()

    def look() -> None:
        while not ended.wait(0.002):
            seen.append(max(seen.pop(), held_bytes(cache)))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()
