"""From a `Request` to the JSON that OpenAI-compatible servers take. NIM gets the least that works: it refuses fields
it does not know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import BadRequest
from .protocol import Message, Request, ScoreRequest

CHAT = "/chat/completions"
PLAIN = "/completions"
SCORED_TOKENS = 3
"""The answer may open with a space or a quote before the choice; further than this it is not one."""
MOST_TOP_LOGPROBS = 20
JSON_OBJECT = "json_object"
"""The older way to ask for a schema, of servers that refuse the newer one."""
NECESSARY = frozenset({"model", "messages", "prompt", "stream"})


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one kind of server differs from the others."""

    name: str
    extras: bool
    """Whether it may be sent fields that OpenAI's own API lacks: top_k, min_p."""
    raw_prompts: bool
    """Whether it has the older /completions."""
    most_temperature: float


@dataclass(frozen=True, slots=True)
class Payload:
    """What is sent, and where; `changed` tells what differs from what was asked, for provenance."""

    path: str
    fields: dict[str, Any]
    changed: dict[str, Any]

    @property
    def optional(self) -> tuple[str, ...]:
        """Fields without which the request still means something."""
        return tuple(name for name in self.fields if name not in NECESSARY)


def build(
    request: Request, model: str, dialect: Dialect, dropped: Mapping[str, str], *, reward: bool
) -> Payload:
    """The payload for a completion. `dropped`: fields that this server was seen to refuse -> their substitute or "".

    Raises `BadRequest`, before anything is sent, where the request has neither or both of messages and prompt.
    """
    _check(request.messages, request.prompt, dialect)
    fields: dict[str, Any] = {"model": model}
    if request.prompt is not None:
        fields["prompt"] = request.prompt
    else:
        fields["messages"] = [{"role": m.role, "content": m.content} for m in request.messages]
    if reward:
        return Payload(CHAT, fields, {})
    path = CHAT if request.prompt is None else PLAIN
    changed: dict[str, Any] = {}
    for name, value in _optional(request, dialect, path, dropped).items():
        _add(name, value, fields, changed, dropped)
    if request.temperature is not None and request.temperature > dialect.most_temperature:
        fields["temperature"] = changed["temperature"] = dialect.most_temperature
    if not dialect.extras:
        left_out = [n for n in ("top_k", "min_p") if getattr(request, n) is not None]
        changed["not_sent"] = [*changed.get("not_sent", []), *left_out]
    if not changed.get("not_sent", True):
        del changed["not_sent"]
    return Payload(path, fields, changed)


def build_score(request: ScoreRequest, model: str, dialect: Dialect, dropped: Mapping[str, str]) -> Payload:
    """The payload that asks for the probabilities of the next tokens after the request's one suffix."""
    _check(request.messages, request.prompt, dialect)
    if request.begins_answer:
        raise BadRequest("the answer cannot be begun for the model", reached=False)
    suffix = request.suffixes[0]
    if request.prompt is not None:
        asked = Request(prompt=request.prompt + suffix)
    else:
        last = request.messages[-1]
        asked = Request(messages=(*request.messages[:-1], Message(last.role, last.content + suffix)))
    payload = build(asked, model, dialect, dropped, reward=False)
    wanted: dict[str, Any] = {"max_tokens": SCORED_TOKENS, "temperature": 0}
    wanted |= _logprobs(MOST_TOP_LOGPROBS, payload.path)
    for name, value in wanted.items():
        _add(name, value, payload.fields, payload.changed, dropped)
    return payload


def _check(messages: tuple[Message, ...], prompt: str | None, dialect: Dialect) -> None:
    if (prompt is None) == (not messages):
        raise BadRequest("a request is either messages or a raw prompt", reached=False)
    if prompt is not None and not dialect.raw_prompts:
        raise BadRequest(f"{dialect.name} takes messages, not a raw prompt", reached=False)


def _optional(request: Request, dialect: Dialect, path: str, dropped: Mapping[str, str]) -> dict[str, Any]:
    names = ["max_tokens", "temperature", "top_p", "frequency_penalty", "presence_penalty", "seed"]
    if dialect.extras:
        names += ["top_k", "min_p"]
    wanted = {name: value for name in names if (value := getattr(request, name)) is not None}
    if request.stop:
        wanted["stop"] = list(request.stop)
    if request.json_schema is not None:
        wanted["response_format"] = _schema(request.json_schema, dropped.get("response_format"))
    if request.top_logprobs is not None:
        wanted |= _logprobs(request.top_logprobs, path)
    return wanted


def _schema(schema: Mapping[str, Any], substitute: str | None) -> dict[str, Any]:
    if substitute == JSON_OBJECT:
        return {"type": JSON_OBJECT, "schema": schema}
    return {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema}}


def _logprobs(top: int, path: str) -> dict[str, Any]:
    # Some servers give none at all where not a single alternative is asked for.
    top = max(1, min(top, MOST_TOP_LOGPROBS))
    return {"logprobs": top} if path == PLAIN else {"logprobs": True, "top_logprobs": top}


def _add(
    name: str, value: Any, fields: dict[str, Any], changed: dict[str, Any], dropped: Mapping[str, str]
) -> None:
    if name not in dropped or dropped[name] == JSON_OBJECT:
        fields[name] = value
    elif dropped[name]:
        fields[dropped[name]] = value
    else:
        changed.setdefault("not_sent", []).append(name)
