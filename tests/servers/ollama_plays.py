"""What can go wrong at an Ollama server, each under a name, byte for byte as the real one does it.

A play looks at a completion request and returns the answer to give instead of the honest one. Sources: ollama
server/routes.go, server/sched.go, llm/server.go (v0.33.0-rc2) and the issues named in the project's notes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.servers.ollama import OllamaServer

Json = dict[str, Any]


class Drop:
    """In place of a chunk: break the TCP connection without ending the body."""


class End:
    """In place of a chunk: end the body properly, although more might be expected."""


@dataclass
class Answer:
    """An HTTP answer. `chunks` (bytes, seconds to wait, Drop, End) make a chunked body; `body` a plain one."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json; charset=utf-8"
    chunks: list[bytes | float | Drop | End] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    """Seconds before the first byte."""


def as_json(value: Any, status: int = 200) -> Answer:
    """A JSON body as gin writes it."""
    return Answer(status, json.dumps(value, ensure_ascii=False).encode())


def as_lines(lines: list[Any], content_type: str = "application/x-ndjson") -> Answer:
    """A stream of JSON lines; waits, Drop and End pass through."""
    chunks: list[bytes | float | Drop | End] = [
        line
        if isinstance(line, bytes | float | Drop | End)
        else json.dumps(line, ensure_ascii=False).encode() + b"\n"
        for line in lines
    ]
    return Answer(chunks=chunks, content_type=content_type)


def error(status: int, text: str, **more: Any) -> Answer:
    """The one shape of Ollama's errors."""
    return as_json({"error": text, **more}, status)


Play = Callable[["OllamaServer", Json], "Answer | None"]

RENDERED_OVERFLOW = (
    "the prompt is longer than the context length currently available to the model; shorten the prompt, adjust "
    "the context length in settings, or use a model with a longer context length"
)
RUNNER_DIED = "an error was encountered while running the model: CUDA error: an illegal memory access"
RUNNER_STOPPED = (
    "model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, "
    "check ollama server logs for details"
)


def native_overflow(tokens: int, window: int) -> Answer:
    """llama-server's error, as a string inside Ollama's (v0.30 and later)."""
    inner = {
        "error": {
            "code": 400,
            "message": f"request ({tokens} tokens) exceeds the available context size ({window} tokens), "
            "try increasing it",
            "type": "exceed_context_size_error",
            "n_prompt_tokens": tokens,
            "n_ctx": window,
        }
    }
    return error(400, json.dumps(inner, separators=(",", ":")))


def _always(answer: Callable[[str], Answer]) -> Play:
    return lambda server, request: answer(str(request.get("model")))


def _halved(server: OllamaServer, request: Json) -> Answer:
    window = server.window_of(request)
    kept = window - max((window - 4) // 2, 1)
    return server.say(request, prompt_tokens=kept)


def _full_window(server: OllamaServer, request: Json) -> Answer:
    return server.say(request, prompt_tokens=server.window_of(request))


def _window_full_nothing_said(server: OllamaServer, request: Json) -> Answer:
    return server.say(request, text="", prompt_tokens=server.window_of(request) - 1, reason="length")


def _lines(server: OllamaServer, request: Json) -> list[Any]:
    return list(server.lines(request))


def _without_done(server: OllamaServer, request: Json) -> Answer:
    """The repeat guard up to autumn 2026: the stream just ends; without a stream, 200 and `done: false`."""
    if request.get("stream") is not False:
        piece = _lines(server, request)[0]
        return as_lines([piece] * 31 + [End()])
    whole = server.whole(request, text="again " * 31)
    for key in list(whole):
        if key == "done_reason" or key.endswith(("_count", "_duration")):
            del whole[key]
    return as_json({**whole, "done": False})


def _done_without_reason(server: OllamaServer, request: Json) -> Answer:
    """Cut, yet with a `done` line: no reason in it."""
    if request.get("stream") is not False:
        lines = _lines(server, request)
        lines[-1].pop("done_reason", None)
        return as_lines(lines)
    whole = server.whole(request)
    whole.pop("done_reason", None)
    return as_json(whole)


def _mid_stream(tail: list[Any]) -> Play:
    def play(server: OllamaServer, request: Json) -> Answer:
        if request.get("stream") is not False:
            return as_lines(_lines(server, request)[:1] + tail)
        first = tail[0]
        if isinstance(first, dict):
            return as_json(first, 500)
        if isinstance(first, bytes):
            whole = json.dumps(server.whole(request)).encode()
            return Answer(chunks=[whole[: len(whole) // 2], Drop()] if len(tail) > 1 else [first])
        return Answer(chunks=[first])

    return play


def _thinking_only(server: OllamaServer, request: Json) -> Answer:
    return server.say(request, text="", thinking="Hm, let me see. " * 8, reason="length")


def _silent_thinker(server: OllamaServer, request: Json) -> Answer:
    return server.say(request, text="", thinking="Hm.")


def _schema_cut(server: OllamaServer, request: Json) -> Answer:
    limit = int(request.get("options", {}).get("num_predict") or 16)
    return server.say(request, text='{"helpfulness": 3, "rationale": "It is', tokens=limit, reason="length")


def _swap(server: OllamaServer, request: Json) -> Answer:
    """Another model pushed ours out of memory; the load shows in `load_duration`."""
    server.loaded.clear()
    return server.say(request, delay=server.load_delay)


def _slow_load(server: OllamaServer, request: Json) -> Answer:
    server.loaded.clear()
    return server.say(request, delay=server.slow_load_s)


def _dropped_at_once(server: OllamaServer, request: Json) -> Answer:
    return Answer(chunks=[Drop()])


PLAYS: dict[str, Play] = {
    "model missing": _always(lambda name: error(404, f"model '{name}' not found")),
    "model missing, older words": _always(
        lambda name: error(404, f'model "{name}" not found, try pulling it first')
    ),
    "no name": _always(lambda name: error(400, "model is required")),
    "invalid name": _always(lambda name: error(400, "invalid model name")),
    "embedding model": _always(lambda name: error(400, f'"{name}" does not support chat')),
    "no thinking": _always(lambda name: error(400, f'"{name}" does not support thinking')),
    "queue full": _always(
        lambda name: error(503, "server busy, please try again.  maximum pending requests exceeded")
    ),
    "client gone": _always(lambda name: error(499, "request canceled")),
    "load failed": _always(
        lambda name: error(500, "llama runner: llama-server process has terminated: exit status 2")
    ),
    "load timed out": _always(
        lambda name: error(500, "timed out waiting for llama-server to start: progress 0.42")
    ),
    "incompatible": _always(
        lambda name: error(
            500,
            "unable to load model: /models/blobs/sha256-1, this model may be incompatible with your version "
            "of Ollama. If you previously pulled this model, try updating it by running `ollama pull "
            f"{name}`",
        )
    ),
    "too little memory": _always(
        lambda name: error(500, "model requires more system memory (12.3 GiB) than is available (3.1 GiB)")
    ),
    "runner died": _always(lambda name: error(500, RUNNER_DIED)),
    "runner stopped": _always(lambda name: error(500, RUNNER_STOPPED)),
    "runner died mid-stream": _mid_stream([{"error": RUNNER_DIED}]),
    "runner stopped mid-stream": _mid_stream([{"error": RUNNER_STOPPED}]),
    "repeat guard": _without_done,
    "repeat guard, later": _always(lambda name: error(500, "prediction aborted, token repeat limit reached")),
    "repeat guard, later, mid-stream": _mid_stream(
        [{"error": "prediction aborted, token repeat limit reached"}]
    ),
    "cloud without sign-in": _always(
        lambda name: error(401, "unauthorized", signin_url="https://ollama.com/connect?name=pc&key=c3NoLWVk")
    ),
    "cloud disabled": _always(
        lambda name: error(403, "ollama cloud is disabled: remote model is unavailable")
    ),
    "cloud down": _always(lambda name: error(502, "upstream error")),
    "cloud limit": _always(lambda name: error(429, "you have reached your hourly usage limit")),
    "unknown path": _always(lambda name: Answer(404, b"404 page not found", "text/plain")),
    "wrong host header": _always(lambda name: Answer(403, b"")),
    "bad format": _always(
        lambda name: error(400, 'invalid format: "x"; expected "json" or a valid JSON Schema object')
    ),
    "bad option": _always(lambda name: error(400, 'option "num_ctx" must be of type integer')),
    "bad top_logprobs": _always(lambda name: error(400, "top_logprobs must be between 0 and 20")),
    "halved prompt": _halved,
    "prompt fills the window": _full_window,
    "window full, nothing said": _window_full_nothing_said,
    "overflow, rendered": _always(lambda name: error(400, RENDERED_OVERFLOW)),
    "overflow, native": _always(lambda name: native_overflow(7912, 4096)),
    "cut with done": _done_without_reason,
    "garbage line": _mid_stream([b'{"model":"m","mess\n']),
    "dropped mid-line": _mid_stream([b'{"model":"m","message":{"role":"assistant","cont', Drop()]),
    "dropped at once": _dropped_at_once,
    "slow load": _slow_load,
    "model swap": _swap,
    "thinking only": _thinking_only,
    "thinking only, stopped": _silent_thinker,
    "schema cut": _schema_cut,
    "200 with error": _always(lambda name: error(200, "something odd")),
    "200 without message": _always(lambda name: as_json({"model": name, "done": True})),
    "200 empty": _always(lambda name: Answer(200, b"")),
    "200 html": _always(lambda name: Answer(200, b"<html>login</html>", "text/html")),
}
"""Name -> play. The names are also what `--play` of the command line takes."""
