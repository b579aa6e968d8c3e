"""Stands in for the `llama-server` binary: its options, its loading time, its `/v1/models` and `/v1/completions`.

Run as a script with llama-server's options; an option that it does not know ends it, as it would the real one.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LOADING = {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    ready_at: float
    slots: threading.Semaphore

    def do_GET(self) -> None:
        if time.monotonic() < self.ready_at:
            self._send(503, LOADING)
        elif self.path == "/v1/models":
            self._send(200, {"object": "list", "data": [{"id": "m", "object": "model"}]})
        else:
            self._send(404, {"error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/completions" or not isinstance(asked.get("prompt"), str):
            self._send(400, {"error": {"code": 400, "message": "no prompt", "type": "invalid_request_error"}})
            return
        with self.slots:
            time.sleep(0.01)
        tokens, prompt = int(asked["max_tokens"]), len(asked["prompt"].split())
        self._send(
            200,
            {
                "object": "text_completion",
                "model": asked["model"],
                "choices": [
                    {"text": " word" * tokens, "index": 0, "logprobs": None, "finish_reason": "length"}
                ],
                "usage": {
                    "completion_tokens": tokens,
                    "prompt_tokens": prompt,
                    "total_tokens": prompt + tokens,
                },
            },
        )

    def _send(self, status: int, body: dict[str, Any]) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: Any) -> None:
        """Silence."""


class Server(ThreadingHTTPServer):
    """As many connections at once as a benchmark opens."""

    request_queue_size = 64
    daemon_threads = True


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("-m", "--model", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("-c", "--ctx-size", type=int, default=0)
    parser.add_argument("-np", "--parallel", type=int, default=-1)
    parser.add_argument("-t", "--threads", type=int, default=-1)
    parser.add_argument("--no-webui", action="store_true")
    options = parser.parse_args()
    Handler.ready_at = time.monotonic() + 0.3
    Handler.slots = threading.Semaphore(max(1, options.parallel))
    Server((options.host, options.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
