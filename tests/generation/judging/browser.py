"""A headless Chromium, driven by its DevTools protocol."""

import asyncio
import json
import re
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp


class Tab:
    """One open page: `send` a command of the protocol, `run` an expression, `press` a key."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._number = socket, 0

    async def send(self, method: str, **words: Any) -> dict[str, Any]:
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": words})
        while True:
            said = json.loads((await self._socket.receive(20)).data)
            if said.get("id") == self._number:
                assert "error" not in said, said
                return said["result"]

    async def run(self, expression: str) -> Any:
        said = await self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in said, said
        return said["result"].get("value")

    async def press(self, *keys: str) -> None:
        for key in keys:
            text = {"text": key} if len(key) == 1 else {}
            await self.send("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
            await self.send("Input.dispatchKeyEvent", type="keyUp", key=key)

    async def open(self, url: str) -> None:
        await self.send("Page.navigate", url=url)
        for _ in range(200):
            if await self.run("document.readyState === 'complete' && location.protocol === 'file:'"):
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"{url} does not load")


def browse(chromium: str, profile: Path, use: Callable[[Tab], Awaitable[None]]) -> None:
    """Starts Chromium, hands its tab to `use`, and ends it."""
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--no-first-run"]
    process = subprocess.Popen(
        [chromium, *words, f"--user-data-dir={profile}", "about:blank"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    try:
        assert process.stderr is not None
        url = next(
            found[1].decode() for line in process.stderr if (found := re.search(rb"ws://([\d.:]+)/", line))
        )
        asyncio.run(_use(url, use))
    finally:
        process.kill()
        process.communicate()


async def _use(address: str, use: Callable[[Tab], Awaitable[None]]) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://{address}/json/list") as response:
            (page,) = [tab for tab in await response.json() if tab["type"] == "page"]
        async with session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            await use(Tab(socket))
