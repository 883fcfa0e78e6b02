"""`pcclip serve`: from the words of the command line to a server that stops cleanly."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from aiohttp import web
from rich.console import Console

from pcclip.errors import PcclipError
from pcclip.inference.finding import Stage
from pcclip.inference.gallery import Gallery
from pcclip.inference.gallery_files import check_folder
from pcclip.inference.model import DifferenceModel, load
from pcclip.inference.serve.answers import Answers
from pcclip.inference.serve.app import make_app
from pcclip.inference.serve.thumbnails import Thumbnails
from pcclip.stopping import current

_log = logging.getLogger(__name__)
_MEGABYTE = 2**20
_LAST_PORT = 65535
_ANY = ("0.0.0.0", "::", "")


def run(words: Sequence[str]) -> None:
    """Runs `serve` by the words of the command line after the verb."""
    from pcclip.parsing import Parser

    parser = Parser(prog="pcclip serve", description="A local page over a folder of pictures.")
    parser.add_argument("folder", help="searched for pictures, with all folders in it")
    parser.add_function_arguments(serve, skip={"folder"})
    serve(**parser.parse_args(list(words)).as_dict())


def serve(
    folder: str,
    model: str,
    pretrained: str | None = None,
    stages: Sequence[Stage] = ("base", "tuned"),
    host: str = "127.0.0.1",
    port: int = 8000,
    device: str = "auto",
    cache_dir: str = "data/cache",
    thumbnails_mb: int = 512,
) -> None:
    """Serve a page on which the pictures of a folder are ordered and searched by differences.

    The folder is embedded first, which is kept. Ctrl-C or SIGTERM stops the server.

    Args:
        folder: Of pictures.
        model: A run, a folder that open_clip loads, an open_clip tag, or `hf-hub:ORG/NAME`.
        pretrained: Of a tag: open_clip's pretrained tag, or a file of weights.
        stages: Of a run: whose answers stand side by side; those that it does not have are left out.
        host: Address to listen on. Anyone who reaches another than this computer's own sees the pictures.
        port: To listen on; 0 takes any that is free.
        device: Of the towers.
        cache_dir: Folder where embeddings and thumbnails are kept.
        thumbnails_mb: Most megabytes of thumbnails kept.

    Raises:
        PcclipError: The model or the folder cannot be used, or the port is taken.
    """
    place = Path(folder).expanduser()
    check_folder(place)
    listening = _listen(host, port)  # before minutes of embedding
    try:
        try:
            answers = _answers(place, model, pretrained, stages, device, cache_dir)
        except KeyboardInterrupt:
            raise PcclipError("stopped; what has been embedded is kept for the next start") from None
        thumbnails = Thumbnails(Path(cache_dir).expanduser() / "thumbnails", thumbnails_mb * _MEGABYTE)
        title = os.fsencode(place.resolve().name or str(place)).decode("utf-8", "replace")
        names, addresses = _names(host)
        app = make_app(answers, thumbnails, title, names, addresses)
        asyncio.run(_run(app, listening, host))
        print(f"pcclip serve: stopped by {current().name}", file=sys.stderr)
        raise SystemExit(current().status)
    finally:
        listening.close()


def _answers(
    folder: Path, model: str, pretrained: str | None, stages: Sequence[Stage], device: str, cache: str
) -> Answers:
    models: dict[str, DifferenceModel] = {}
    galleries: dict[str, Gallery] = {}
    by_tower: dict[str, Gallery] = {}
    if stages != ["tuned"] and "tuned" in stages and not load(model, pretrained).finetuned:
        stages = ["tuned"]  # nothing to compare with
    for stage in dict.fromkeys(stages):
        try:
            embedding = load(model, pretrained, stage=stage, device=device, cache=cache)
            tower = embedding.image_fingerprint
            # Typed texts are not written to disk: this one, which encodes them, has no cache.
            asked = load(model, pretrained, stage=stage, device=device)
            asked.encode_texts(["warm"])  # loads the tower now rather than at the first question
        except PcclipError as error:
            if stage == "tuned" or len(stages) == 1:
                raise
            _log.warning("without %s: %s", stage, error)
            continue
        if tower not in by_tower:
            by_tower[tower] = Gallery.open(folder, embedding)
        models[stage] = asked
        galleries[stage] = by_tower[tower]
    if len({gallery.files for gallery in galleries.values()}) > 1:
        raise PcclipError(f"{folder}: changed while it was embedded. Start again when it rests.")
    return Answers(models, galleries, folder)


def _listen(host: str, port: int) -> socket.socket:
    """A bound socket, so that a port that is taken shows at once."""
    if not 0 <= port <= _LAST_PORT:  # the system would take another one, without a word
        raise PcclipError(f"--port {port}: there is no such port. Give one from 1024 to {_LAST_PORT}, or 0.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(128)
        except BaseException:
            listening.close()
            raise
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PcclipError(
                f"port {port} is in use. Give another by --port, or --port 0 for any that is free."
            ) from error
        raise PcclipError(
            f"cannot listen on {host} port {port} ({error}). Check --host and --port."
        ) from error
    return listening


def _names(host: str) -> tuple[set[str], bool]:
    """Hosts that requests may name, and whether any address will do."""
    loopback = {"localhost", "127.0.0.1", "::1"}
    if _is_loopback(host):
        return loopback | {host.lower()}, False
    return loopback | {host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()}, True


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


async def _run(app: web.Application, listening: socket.socket, host: str) -> None:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2)
    await runner.setup()
    stop = asyncio.Event()

    def heard(number: int) -> None:
        current().number = number
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, heard, number)
    try:
        await web.SockSite(runner, listening).start()
        _greet(listening.getsockname()[1], host)
        await stop.wait()
    finally:
        await runner.cleanup()


def _greet(port: int, host: str) -> None:
    if not _is_loopback(host):
        Console(stderr=True).print(
            f"warning: listening on {host or 'every address'}: whoever reaches this computer sees the "
            "pictures, without a password",
            style="yellow",
        )
    shown = "127.0.0.1" if host in _ANY else host
    shown = f"[{shown}]" if ":" in shown else shown
    print(f"http://{shown}:{port}/ (Ctrl-C stops)", flush=True)
