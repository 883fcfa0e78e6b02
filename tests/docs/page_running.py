"""Runs the commands of a documentation page in bash, `pcclip` itself within this process."""

import contextlib
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pcclip.cli import main
from tests.inference.serving import Server

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "pcclip/docs"
_FENCE = r"^```{}\n(.*?)^```$"
_SETTING = re.compile(r"^export (\w+)=(\S+)(\s+#.*)?$", re.M)
# What pages may call besides pcclip and what is told below; anything else is unknown to them.
_TOOLS = (
    "bash",
    "cat",
    "cp",
    "cut",
    "dirname",
    "basename",
    "env",
    "grep",
    "head",
    "ls",
    "mkdir",
    "sed",
    "tail",
    "sort",
)
_TOLD = ("make", "curl", "unzip", "pip", "aws", "hf", "sbatch", "squeue", "source", "tensorboard", "torchrun")
_PRELUDE = """
set -Eeuo pipefail
exec 3<> calls/answer  # held open: an end that is read twice would be one of the answer before
ask() {{
  printf '%s\\0' "$@" > calls/words; env -0 > calls/env; echo asked > calls/ask
  local status; read -r status <&3; return "$status"
}}
pcclip() {{ ask pcclip "$@"; }}
{told}
trap 'echo "failed: $BASH_COMMAND" >&2' ERR
"""

_TORCHRUN = ("-m", "torch.distributed.run", "--standalone")

Treatment = Callable[[list[str]], tuple[list[str], str | None]]
"""Words after `pcclip` -> the words that are run instead, and why they are only parsed (None: they run)."""


def blocks(page: Path, language: str = "bash") -> list[str]:
    """The blocks of a page in a language, in its order."""
    return re.findall(_FENCE.format(language), page.read_text(), re.M | re.S)


def set_to(script: str, settings: dict[str, str]) -> str:
    """A page's `export NAME=value` lines with values of the test's own; every one must be there."""
    named = [name for name, _, _ in _SETTING.findall(script)]
    assert set(settings) <= set(named), f"the page has no setting {set(settings) - set(named)}"

    def line(found: re.Match[str]) -> str:
        return f"export {found[1]}={settings[found[1]]}" if found[1] in settings else found[0]

    return _SETTING.sub(line, script)


@dataclass
class Told:
    """What became of a page's commands."""

    ran: list[list[str]] = field(default_factory=list)
    parsed: dict[str, str] = field(default_factory=dict)


def run(
    page: Path,
    place: Path,
    settings: dict[str, str],
    treat: Treatment,
    reasons: dict[str, str],
    first: str = "",
) -> Told:
    """Runs all commands of a page in a folder, and its Python after them.

    Args:
        page: The page.
        place: Where, as in a clone: it gets the shipped folders.
        settings: Values of the page's settings.
        treat: What to do with each call of `pcclip`.
        reasons: Why a command that cannot run here is only parsed, by how it begins; all must be met.
        first: The blocks that hold this come before the others, since what they make stands for `make demo`.
    """
    for name in ("data_recipes", "experiments", "pcclip", "tests", "Makefile", "pyproject.toml"):
        if not (place / name).exists():
            (place / name).symlink_to(ROOT / name)
    calls, tools = place / "calls", place / "tools"
    for folder in (calls, tools):  # of an earlier page
        shutil.rmtree(folder, ignore_errors=True)
    calls.mkdir()
    for name in ("ask", "answer"):
        os.mkfifo(calls / name)
    _make_tools(tools)
    told = Told()
    in_order = sorted(blocks(page), key=lambda block: first not in block)
    script = set_to("\n".join(in_order), settings)
    prelude = _PRELUDE.format(told="\n".join(f'{name}() {{ ask {name} "$@"; }}' for name in _TOLD))
    environment = {**os.environ, "PATH": str(tools), "PYTHONPATH": str(ROOT)}
    with contextlib.chdir(place), (place / "said").open("w+") as said:
        bash = subprocess.Popen(
            [shutil.which("bash") or "bash", "-c", prelude + script], env=environment, cwd=place,
            stdout=said, stderr=said, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            for words, variables in _asked(bash, calls):
                status = _answer(words, variables, treat, reasons, told)
                answer = os.open(calls / "answer", os.O_WRONLY | os.O_NONBLOCK)  # bash reads while it lives
                os.write(answer, f"{status}\n".encode())
                os.close(answer)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(bash.pid, signal.SIGKILL)
            status = bash.wait()
        assert status == 0, f"{page.name}: {(place / 'said').read_text()[-3000:]}"
        for block in blocks(page, "python"):
            why = next((why for start, why in reasons.items() if block.startswith(start)), None)
            if why is None:
                exec(compile(block, page.name, "exec"), {"__name__": "__main__"})
            else:
                compile(block, page.name, "exec")
                told.parsed[block] = why
    unmet = [start for start in reasons if not any(one.startswith(start) for one in told.parsed)]
    assert not unmet, f"{page.name}: has no command that begins with {unmet}"
    return told


def _make_tools(folder: Path) -> None:
    folder.mkdir()
    for name in _TOOLS:
        (folder / name).symlink_to(shutil.which(name) or name)
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)


def _asked(bash: subprocess.Popen[bytes], calls: Path) -> Iterator[tuple[list[str], dict[str, str]]]:
    """The calls of a running script, one by one."""
    asking = os.open(calls / "ask", os.O_RDONLY | os.O_NONBLOCK)
    keep_open = os.open(calls / "ask", os.O_WRONLY)
    try:
        while True:
            ready, _, _ = select.select([asking], [], [], 0.05)
            if ready and os.read(asking, 4096):
                words = (calls / "words").read_text().split("\0")[:-1]
                pairs = (one.partition("=") for one in (calls / "env").read_text().split("\0") if one)
                yield words, {name: value for name, _, value in pairs}
            elif bash.poll() is not None:
                return
    finally:
        os.close(asking)
        os.close(keep_open)


def _answer(
    words: list[str], variables: dict[str, str], treat: Treatment, reasons: dict[str, str], told: Told
) -> int:
    line = shlex.join(words)
    why = next((why for start, why in reasons.items() if line.startswith(start)), None)
    if words[0] == "make":
        _check_target(words[1:])
        why = why or "the target exists; the Makefile's own tests run it"
    if words[0] == "torchrun" and why is None:
        told.ran.append(words)
        return _start([*_TORCHRUN, *words[1:]], variables)
    if words[0] != "pcclip":
        assert why is not None, f"{line}: neither run here nor told why it is only parsed"
        told.parsed[line] = why
        return 0
    run_words, parsed = treat(words[1:])
    why = why or parsed
    if why is not None:
        told.parsed[line] = why
        return parse(run_words)
    told.ran.append(run_words)
    if "hardware/ddp.yaml" in line or "--trainer.num_nodes=1" in words:  # its processes leave a group behind
        return _start(["-m", "pcclip", *run_words], variables)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            if name not in ("PATH", "PWD", "SHLVL", "_"):
                patch.setenv(name, value)
        return _serve(run_words) if run_words[0] == "serve" else _call(run_words)


def parse(words: list[str]) -> int:
    """Whether a command's words are sound: 0 where they are.

    With a configuration or settings alone it prints them; a verb on files that are not there says so (1), but
    says 2 of words that it does not know.
    """
    if "--config" in words or words[0] in ("bank", "write", "evaluate"):
        return _call([*words, "--print_config"])
    return 0 if _call(words) == 1 else 3


def _call(words: list[str]) -> int:
    try:
        return main(words)
    except SystemExit as ended:  # after --print_config and --help
        return int(ended.code or 0)


def _start(words: list[str], variables: dict[str, str]) -> int:
    environment = {**os.environ, **variables, "PATH": os.environ["PATH"]}
    done = subprocess.run([sys.executable, *words], env=environment, check=False, timeout=300)
    return done.returncode


def _serve(words: list[str]) -> int:
    """Starts the server, asks for its page, and stops it as Ctrl-C would."""
    server = subprocess.Popen(
        [sys.executable, "-m", "pcclip", *words, "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        address = re.match(r"http://127\.0\.0\.1:(\d+)/", server.stdout.readline())
        assert address is not None
        running = Server(server, int(address[1]))
        assert running.get("/").status == 200
        return 0 if running.stop(signal.SIGINT) == 130 else 1
    finally:
        server.kill()
        server.wait()
        if server.stdout is not None:
            server.stdout.close()


def _check_target(words: list[str]) -> None:
    targets = [word for word in words if "=" not in word]
    known = make_targets()
    assert not (missing := [one for one in targets if one not in known]), f"make has no target {missing}"


def make_targets() -> set[str]:
    """All targets of the Makefile, those that it generates too."""
    told = subprocess.run(
        ["make", "-qp", "none"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    return set(re.findall(r"^([\w./-]+):(?!=)", told.stdout, re.M))


def with_overlay(words: list[str], *overlay: str | Path) -> list[str]:
    """The words with configurations after their last one, so that options given by hand still win."""
    places = [at for at, word in enumerate(words) if word == "--config"]
    at = places[-1] + 2 if places else 1
    added = [word for file in overlay for word in ("--config", str(file))]
    return [*words[:at], *added, *words[at:]]
