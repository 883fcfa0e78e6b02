"""A real HTTP server that speaks OpenAI's protocol, repeats the question, and misbehaves on request."""

import email.utils
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Misbehaviour = Callable[[dict[str, Any], int], tuple[int, dict[str, str], bytes] | float | None]


class Parrot:
    """Answers `parrot says: LAST MESSAGE`.

    `misbehave(body, try_number)` may return a response of its own (status, headers, bytes), or seconds to
    sleep before the answer, or None.
    """

    def __init__(self, misbehave: Misbehaviour | None = None) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.keys: list[str | None] = []
        self.tries = Counter[str]()
        self.under_way = self.most_under_way = 0
        self._lock = threading.Lock()
        parrot = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one packet: no waiting for acknowledgements

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, headers, data = parrot.answer(
                    self.path, body, self.headers.get("Authorization"), misbehave
                )
                try:
                    self.send_response(status)
                    for name, value in ({"Content-Length": str(len(data))} | headers).items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(data)
                except OSError:
                    pass  # the client has gone

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                pass  # clients are killed

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def answer(
        self, path: str, body: dict[str, Any], key: str | None, misbehave: Misbehaviour | None
    ) -> tuple[int, dict[str, str], bytes]:
        question = body["messages"][-1]["content"]
        with self._lock:
            self.bodies.append(body)
            self.times.append(time.monotonic())
            self.keys.append(key)
            self.tries[json.dumps(question)] += 1
            number = self.tries[json.dumps(question)]
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            odd = misbehave(body, number) if misbehave else None
            if isinstance(odd, tuple):
                return odd
            time.sleep(odd or 0)
            assert path == "/v1/chat/completions"
            said = f"parrot says: {question}"
            if "response_format" in body:
                said = json.dumps({"difference": said})
            return 200, {}, completion(said)
        finally:
            with self._lock:
                self.under_way -= 1

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def completion(text: str | None, finish: str = "stop") -> bytes:
    usage = {"prompt_tokens": 50, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 32}}
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return json.dumps({"choices": [choice], "usage": usage}).encode()


def in_seconds(seconds: float) -> str:
    return email.utils.formatdate(time.time() + seconds, usegmt=True)
