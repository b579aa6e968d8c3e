"""Which of our errors an Ollama server means: by status and text, since its bodies carry no error codes.

Sources: ollama server/routes.go, server/sched.go, llm/server.go (v0.33.0-rc2); issues named beside the rows.
"""

from __future__ import annotations

import json
from typing import Any

from .errors import (
    BackendError,
    BadRequest,
    Cancelled,
    ContextOverflow,
    MalformedReply,
    NoSuchModel,
    NotReachable,
    OutOfCredit,
    RateLimited,
    TimedOut,
    Unauthorized,
    Unavailable,
)
from .http_errors import hide_keys
from .text import one_line

DEGENERATE_ADVICE = "Raise the temperature, or choose another model"
WINDOW_ADVICE = "Shorten the prompt, ask for fewer tokens, or set a larger num_ctx"


class DegenerateOutput(MalformedReply):
    """The repeat guard stopped a model that said one piece over and over. Not a transport failure."""


_OVERFLOW = (
    "exceed_context_size_error",
    "exceeds the available context size",
    "prompt is longer than the context length",
    "input length exceeds",
    "exceeds maximum context length",
)
_LOAD_ADVICE = (
    ("incompatible with your version", "Update Ollama, or pull the model again"),
    ("newer version of ollama", "Update Ollama"),
    ("unknown model architecture", "Update Ollama, or choose another model"),
    ("system memory", "Choose a smaller model, or set a smaller num_ctx"),
    ("out of memory", "Choose a smaller model, or set a smaller num_ctx"),
    ("timed out waiting for", "The model loads too slowly: raise OLLAMA_LOAD_TIMEOUT of the server"),
    ("no space left", "Free some disk space on the server"),
)
_OFFLINE = ("no such host", "dial tcp", "network is unreachable", "i/o timeout", "tls handshake")


def message_of(body: Any) -> str:
    """The text that an error body carries, however it is wrapped.

    Ollama sends {"error": "text"}; since v0.30 the text may itself be llama-server's JSON; proxies send
    objects.
    """
    for _ in range(6):
        if isinstance(body, str) and body.lstrip()[:1] in ("{", "["):
            try:
                body = json.loads(body)
            except (ValueError, RecursionError):
                break
        if not isinstance(body, dict):
            break
        inner = next((body[key] for key in ("error", "detail", "message", "title") if body.get(key)), None)
        if inner is None:
            return ", ".join(map(str, body))[:200]
        body = inner
    return body if isinstance(body, str) else ""


def error_from(
    status: int,
    body: str,
    *,
    model: str = "",
    origin: str = "",
    retry_after: float | None = None,
) -> BackendError:
    """Our error for an answer with this status (-1: an error line in the middle of a stream) and body."""
    text = message_of(body)
    said = hide_keys(one_line(text, 240)) or (f"HTTP {status}" if status > 0 else "no reason given")
    cls, message, advice = _classify(status, text, said, model, origin)
    return cls(
        message,
        advice=advice,
        status=status if status > 0 else None,
        retry_after=retry_after,
    )


_Found = tuple[type[BackendError], str, str]


def _classify(status: int, text: str, said: str, model: str, origin: str) -> _Found:
    low = text.lower()
    name = one_line(model, 120) or "the model"
    where = f" at {origin}" if origin else ""
    if any(mark in low for mark in _OVERFLOW):
        return ContextOverflow, f"the prompt does not fit the context window: {said}", WINDOW_ADVICE
    if "token repeat limit" in low:
        return DegenerateOutput, f"degenerate output: {said}", DEGENERATE_ADVICE
    by_status = _by_status(status, low, said, name, where)
    if by_status is not None:
        return by_status
    if "file does not exist" in low or ("not found" in low and "model" in low):
        return NoSuchModel, f"no model {name}{where}: {said}", _pull_advice(name)
    if "does not support" in low:
        advice = "Choose a chat model" if "chat" in low or "generate" in low else ""
        return BadRequest, f"the model cannot do that: {said}", advice
    if 400 <= status < 500:
        return BadRequest, f"Ollama refused the request: {said}", ""
    if any(mark in low for mark in _OFFLINE):
        return (
            NotReachable,
            f"the Ollama server has no connection: {said}",
            "Check its network, then try again",
        )
    advice = next((advice for mark, advice in _LOAD_ADVICE if mark in low), "")
    if not advice and ("llama-server" in low or "runner" in low or "running the model" in low):
        advice = "See the log of the Ollama server; a smaller model or num_ctx may help"
    return Unavailable, f"Ollama could not answer: {said}", advice


def _by_status(status: int, low: str, said: str, name: str, where: str) -> _Found | None:
    """What the status alone decides, whatever the words."""
    if status == 401 or (status == -1 and low.startswith("unauthorized")):
        return Unauthorized, f"Ollama{where} wants a sign-in: {said}", "Run: ollama signin"
    if status == 402:
        return OutOfCredit, f"no credit left: {said}", "Check the plan at ollama.com"
    if status == 403 and not low.strip():
        advice = "Use http://127.0.0.1:11434, or set OLLAMA_HOST=0.0.0.0 for the server"
        return Unauthorized, f"the server{where} refuses this host name (HTTP 403, empty)", advice
    if status == 403:
        return Unauthorized, f"forbidden{where}: {said}", ""
    if status == 404 and "model" not in low:
        advice = "Update Ollama, or check the address (OLLAMA_HOST)"
        return BadRequest, f"the server{where} does not know this request: {said}", advice
    if status == 408:
        return TimedOut, f"the server{where} gave up waiting: {said}", ""
    if status == 410:
        return NoSuchModel, f"{name} was retired: {said}", "Choose another model"
    if status == 429:
        return RateLimited, f"too many requests: {said}", ""
    if status == 499:
        return Cancelled, f"the request was cancelled: {said}", ""
    if status == 503 and "busy" in low:
        return Unavailable, f"the queue of the Ollama server is full: {said}", "Keep fewer requests in flight"
    if 200 < status < 400:
        advice = "Set the final address; redirects are not followed"
        return BadRequest, f"the server{where} answered with HTTP {status} instead of a reply", advice
    return None


def _pull_advice(name: str) -> str:
    return f"Run: ollama pull {name}" if name != "the model" else "Run: ollama pull MODEL"
