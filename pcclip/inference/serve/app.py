"""The page's HTTP: what may be asked, by whom, and what is answered."""

from __future__ import annotations

import asyncio
import hashlib
import html
import ipaddress
import json
import logging
from collections.abc import Awaitable, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from string import Template
from typing import Any

from aiohttp import hdrs, web
from yarl import URL

from pcclip.errors import PcclipError
from pcclip.inference.serve.answers import LONGEST, Answers, Query
from pcclip.inference.serve.thumbnails import Thumbnails, version

_log = logging.getLogger(__name__)
_FILES = Path(__file__).with_name("page")
_SIDES = {"thumbnail": 320, "picture": 1280}
_KINDS = {"serve.css": "text/css", "serve.js": "text/javascript"}
_FOREVER = "private, max-age=31536000, immutable"
_SECURITY = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'self'; "
    "script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(
    answers: Answers, thumbnails: Thumbnails, title: str, names: Collection[str], addresses: bool = False
) -> web.Application:
    """The application; it only reads.

    Args:
        answers: What it answers with.
        thumbnails: Where small pictures come from.
        title: Of the page.
        names: Hosts by which it may be called. A page of another site that makes its own name point here
            (DNS rebinding) sends that name and is refused.
        addresses: Whether any IP address will do as a host too: rebinding needs a name.
    """
    app = web.Application(middlewares=[_guard(frozenset(names), addresses)])
    site = _Site(answers, thumbnails, title)
    app.add_routes(
        [
            web.get("/", site.index),
            web.get("/page/{name}", site.page_file),
            web.get("/api/answer", site.answer),
            web.get(r"/{kind:thumbnail|picture}/{row:\d+}", site.picture),
        ]
    )
    app.on_cleanup.append(site.close)
    return app


class _Site:
    def __init__(self, answers: Answers, thumbnails: Thumbnails, title: str) -> None:
        self._answers = answers
        self._thumbnails = thumbnails
        self._shrinking = ThreadPoolExecutor(4, "thumbnails")
        self._files = {name: (_FILES / name).read_text(encoding="utf-8") for name in _KINDS}
        page_version = hashlib.sha256("".join(self._files.values()).encode()).hexdigest()[:12]
        self._page = _page(answers, title, page_version)

    async def index(self, request: web.Request) -> web.Response:
        headers = {hdrs.CACHE_CONTROL: "no-cache"}
        return web.Response(text=self._page, content_type="text/html", headers=headers)

    async def page_file(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self._files:
            raise web.HTTPNotFound
        headers = {hdrs.CACHE_CONTROL: _FOREVER}
        return web.Response(text=self._files[name], content_type=_KINDS[name], headers=headers)

    async def answer(self, request: web.Request) -> web.Response:
        words = {name: request.query.getall(name) for name in request.query}
        found = await self._answers.answer(Query.of(words, self._answers.stages))
        return web.json_response(found, headers={hdrs.CACHE_CONTROL: "no-store"})

    async def picture(self, request: web.Request) -> web.StreamResponse:
        place = self._answers.path(int(request.match_info["row"][:18]))
        side, asked = _SIDES[request.match_info["kind"]], request.query.get("v")

        def copy() -> tuple[str, bytes]:
            return version(place), self._thumbnails.get(place, side)

        try:
            state, data = await asyncio.get_running_loop().run_in_executor(self._shrinking, copy)
        except PcclipError as error:
            return _error(404, str(error))
        # Under the name of a state that has passed, the answer must not be kept.
        headers = {hdrs.CACHE_CONTROL: _FOREVER if asked == state else "no-cache"}
        return web.Response(body=data, content_type="image/jpeg", headers=headers)

    async def close(self, app: web.Application) -> None:
        self._shrinking.shutdown(wait=False, cancel_futures=True)
        self._answers.close()


def _page(answers: Answers, title: str, page_version: str) -> str:
    about = json.dumps({"stages": answers.stages, "pictures": len(answers)})
    return Template((_FILES / "index.html").read_text(encoding="utf-8")).substitute(
        title=html.escape(title),
        told=html.escape(answers.told()),
        longest=LONGEST,
        version=page_version,
        about=about.replace("<", "\\u003c"),
    )


def _guard(names: frozenset[str], addresses: bool) -> Any:
    @web.middleware
    async def guard(request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Refuses foreign hosts; puts errors in words and safe headers on every answer."""
        try:
            if not _is_called(request.headers.get(hdrs.HOST, ""), names, addresses):
                raise web.HTTPMisdirectedRequest(
                    text="This server does not go by that name. Call it by the address that it printed."
                )
            if request.path != "/" and request.headers.get("Sec-Fetch-Site") == "cross-site":
                raise web.HTTPForbidden(text="Pages of other sites may not ask this server.")
            response = await handler(request)
        except PcclipError as error:
            response = _error(400, str(error))
        except web.HTTPException as error:
            response = _error(error.status, _words(error))
            if hdrs.ALLOW in error.headers:
                response.headers[hdrs.ALLOW] = error.headers[hdrs.ALLOW]
        except Exception:
            _log.exception("%s %s failed", request.method, request.path)
            response = _error(500, "The server failed at this. Its terminal says why.")
        response.headers.update(_SECURITY)
        return response

    return guard


def _error(status: int, words: str) -> web.StreamResponse:
    return web.json_response({"error": words}, status=status, headers={hdrs.CACHE_CONTROL: "no-store"})


def _words(error: web.HTTPException) -> str:
    own = error.text or ""
    return own.removeprefix(f"{error.status}: ") or error.reason


def _is_called(host: str, names: frozenset[str], addresses: bool) -> bool:
    try:
        name = (URL(f"http://{host}").host or "").lower()
    except ValueError:
        return False
    if name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return addresses
