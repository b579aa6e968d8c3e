"""A NIM as it is on the wire (and any other OpenAI-compatible server): bodies and oddities as
real ones send them, with a pluggable brain in place of the model.

    async with NimServer(brain=lambda body: "an answer") as server:
        settings = Settings(env=server.env, nim_url=server.base_url)

As a program: `python -m tests.servers.nim --port 0` prints its address and serves until it is killed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import inspect
import json
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..hidden_limit import HiddenLimit
from .http_server import HttpServer, Incoming, Outgoing

KEY = "nvapi-test-key-0123456789"
CHAT_FIELDS = frozenset(
    [
        "model",
        "messages",
        "temperature",
        "top_p",
        "max_tokens",
        "stop",
        "stream",
        "seed",
        "frequency_penalty",
        "presence_penalty",
        "logprobs",
        "top_logprobs",
        "response_format",
        "chat_template_kwargs",
    ]
)
ATTRIBUTES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")

Brain = Callable[[dict[str, Any]], "str | Answer | Outgoing | Awaitable[str | Answer | Outgoing]"]


@dataclass(frozen=True)
class Answer:
    """What a model says, and how it says it."""

    text: str | None = ""
    finish: str | None = "stop"
    reasoning: str | None = None
    usage: bool = True
    logprobs: list[dict[str, Any]] | None = None
    message_as_list: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Rules:
    """How strict the server is, and what it is short of."""

    key: str | None = KEY
    chat_models: tuple[str, ...] = ("meta/llama-3.1-405b-instruct", "meta/llama-3.3-70b-instruct")
    reward_models: tuple[str, ...] = ("nvidia/nemotron-4-340b-reward", "nvidia/llama-3.1-nemotron-70b-reward")
    retired: tuple[str, ...] = ()
    not_for_account: tuple[str, ...] = ()
    refuses: tuple[str, ...] = ()
    """Fields answered with 422 extra_forbidden, besides those that NIM does not know."""
    strict: bool = True
    """Whether unknown fields are refused at all (NIM does, newer vLLM does not)."""
    logprobs: bool = False
    limit: HiddenLimit | None = None
    retry_after: Callable[[float], str | None] = lambda seconds: None
    """From the seconds until there is room (as the limit's clock counts) to the header's value."""
    time_scale: float = 1.0
    """How much faster than the wall the limit's clock runs."""
    latency: Callable[[], float] = lambda: 0.0


def ok(answer: Answer, model: str, prompt_characters: int = 0) -> Outgoing:
    """The body of a completion."""
    message: Any = {"role": "assistant", "content": answer.text}
    if answer.reasoning is not None:
        message["reasoning_content"] = answer.reasoning
    if answer.message_as_list:
        message = [message]
    body: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1677652288,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": message,
                "logprobs": {"content": answer.logprobs} if answer.logprobs is not None else None,
                "finish_reason": answer.finish,
            }
        ],
        **answer.extra,
    }
    if answer.usage:
        asked, said = math.ceil(prompt_characters / 4), math.ceil(len(answer.text or "") / 4)
        body["usage"] = {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}
    return Outgoing(body=body)


def reward_answer(scores: Mapping[str, float] | float, *, as_list: bool = True) -> Answer:
    """What a reward model answers: five attributes (a mapping), or one scalar."""
    if isinstance(scores, Mapping):
        text = ",".join(f"{name}:{value!r}" for name, value in scores.items())
        entries = [
            {"token": n, "bytes": None, "logprob": v, "top_logprobs": []}
            for n, v in scores.items()
            if math.isfinite(v)
        ]
        return Answer(text, "length", logprobs=entries, message_as_list=as_list)
    return Answer(f"reward:{scores!r}", "length")


def problem(status: int, title: str, detail: str | None = None, **more: Any) -> Outgoing:
    """NIM's error body."""
    body = {"status": status, "title": title, **({"detail": detail} if detail else {}), **more}
    return Outgoing(status, body, {"content-type": "application/problem+json"})


MISSING_HEADER = Outgoing(401, "Header of type `authorization` was missing", {"content-type": "text/plain"})
WRONG_KEY = problem(403, "Forbidden", "Authorization failed")
NO_CREDIT = problem(
    402,
    "Payment Required",
    "Account 'Qawmu2': Cloud credits expired - Please contact NVIDIA representatives",
    type="about:blank",
)
NO_PAGE = Outgoing(404, "404 page not found", {"content-type": "text/plain"})
NOT_FOR_ACCOUNT = problem(404, "Not Found", "Function '23d4f03a': Not found for account 'Qawmu2'")
TOO_MANY = problem(429, "Too Many Requests")
DEGRADED = problem(400, "Bad Request", "Function id '23d4f03a': DEGRADED function cannot be invoked")
EXHAUSTED = Outgoing(
    503,
    {
        "error": {
            "message": "ResourceExhausted: Worker local total request limit reached (163/32)",
            "type": "Service Unavailable",
            "code": 503,
        }
    },
)
INTERNAL = Outgoing(500, {"message": "Internal server error", "type": "internal_server_error", "code": 500})
OVERFLOW = Outgoing(
    400,
    {
        "object": "error",
        "message": "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (4000 in "
        "the messages, 1000 in the completion). Please reduce the length of the messages or completion.",
        "type": "BadRequestError",
        "param": None,
        "code": 400,
    },
)


def gone(model: str) -> Outgoing:
    """A retired model."""
    detail = (
        f"The model '{model}' has reached its end of life on 2026-05-14T00:00:00Z and is no longer available."
    )
    return problem(410, "Gone", detail, type="about:blank")


def extra_forbidden(fields: Iterable[str]) -> Outgoing:
    """Fields that the server does not take."""
    lines = [f"body -> {name}\n  Extra inputs are not permitted (type=extra_forbidden)" for name in fields]
    return problem(
        422,
        "Unprocessable Entity",
        "\n".join(lines),
        type="urn:inference-service:problem-details:unprocessable-entity",
        instance="/v2/nvcf/pexec/functions/b0fc",
        requestId="380d",
    )


def events(answer: Answer, model: str, *, done: bool = True, end: str = "\n\n") -> Outgoing:
    """The same as a stream of server-sent events, one word in each."""
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}
    deltas: list[tuple[dict[str, Any], str | None]] = [({"role": "assistant", "content": ""}, None)]
    if answer.reasoning is not None:
        deltas.append(({"reasoning_content": answer.reasoning}, None))
    words = (answer.text or "").split(" ")
    deltas += [({"content": word if i == 0 else f" {word}"}, None) for i, word in enumerate(words)]
    if answer.finish is not None:
        deltas.append(({}, answer.finish))
    lines = [
        json.dumps({**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
        for delta, finish in deltas
    ] + (["[DONE]"] if done else [])
    pieces = [(0.0, f"data: {line}{end}".encode()) for line in lines]
    return Outgoing(headers={"content-type": "text/event-stream"}, pieces=pieces)


class NimServer(HttpServer):
    """See the module. `script` holds answers to play before anything else, one a completion request."""

    def __init__(self, brain: Brain | None = None, rules: Rules | None = None, port: int = 0) -> None:
        super().__init__(Outgoing(), port)
        self.brain: Brain = brain or (lambda body: "A short answer.")
        self.rules = rules or Rules()
        self.script: list[Outgoing] = []

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    @property
    def env(self) -> dict[str, str]:
        """The variables that lead the `nim` and the `openai` door here."""
        key = self.rules.key or "none"
        return {
            "PAIRSMITH_NIM_URL": self.base_url,
            "OPENAI_BASE_URL": self.base_url,
            "NVIDIA_API_KEY": key,
            "OPENAI_API_KEY": key,
        }

    async def answer(self, incoming: Incoming) -> Outgoing:
        if incoming.path == "/v1/models":
            return self._list()
        if incoming.method != "POST" or incoming.path not in ("/v1/chat/completions", "/v1/completions"):
            return NO_PAGE
        if self.script:
            return self.script.pop(0)
        return self._turned_away(incoming) or await self._think(incoming.json)

    def _list(self) -> Outgoing:
        names = (*self.rules.chat_models, *self.rules.reward_models)
        data = [
            {"id": n, "object": "model", "created": 735790403, "owned_by": n.split("/")[0]} for n in names
        ]
        return Outgoing(body={"object": "list", "data": data})

    def _turned_away(self, incoming: Incoming) -> Outgoing | None:
        rules = self.rules
        if rules.key is not None:
            given = incoming.headers.get("authorization")
            if given is None:
                return MISSING_HEADER
            if given != f"Bearer {rules.key}":
                return WRONG_KEY
        body = incoming.json
        model = body.get("model")
        if model in rules.retired:
            return gone(model)
        if model in rules.not_for_account:
            return NOT_FOR_ACCOUNT
        if model not in rules.chat_models and model not in rules.reward_models:
            return NO_PAGE
        return self._refused_fields(body, model) or self._over_limit()

    def _refused_fields(self, body: dict[str, Any], model: str) -> Outgoing | None:
        known = frozenset({"model", "messages"}) if model in self.rules.reward_models else CHAT_FIELDS
        bad = [n for n in body if (self.rules.strict and n not in known) or n in self.rules.refuses]
        return extra_forbidden(bad) if bad else None

    def _over_limit(self) -> Outgoing | None:
        if self.rules.limit is None:
            return None
        wait = self.rules.limit.ask(time.monotonic() * self.rules.time_scale)
        if wait is None:
            return None
        header = self.rules.retry_after(wait)
        return Outgoing(429, TOO_MANY.body, {"retry-after": header} if header else {})

    async def _think(self, body: dict[str, Any]) -> Outgoing:
        if "stream_options" in body:
            await asyncio.sleep(3600)
        latency = self.rules.latency()
        if latency:
            await asyncio.sleep(latency)
        thought = self.brain(body)
        if inspect.isawaitable(thought):
            thought = await thought
        if isinstance(thought, Outgoing):
            return thought
        answer = thought if isinstance(thought, Answer) else Answer(thought)
        if (
            not (body.get("logprobs") and self.rules.logprobs)
            and body["model"] not in self.rules.reward_models
        ):
            answer = Answer(**{**vars(answer), "logprobs": None})
        if body.get("stream"):
            return events(answer, body["model"])
        return ok(answer, body["model"], sum(len(m["content"]) for m in body.get("messages", ())))


async def _main() -> None:
    parser = argparse.ArgumentParser(description="A fake NIM on loopback.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--limit", type=int, help="requests in a sliding minute")
    parser.add_argument("--time-scale", type=float, default=1.0)
    parser.add_argument("--text", default="A short answer.")
    args = parser.parse_args()
    rules = Rules(limit=HiddenLimit(args.limit) if args.limit else None, time_scale=args.time_scale)
    async with NimServer(lambda body: args.text, rules, args.port) as server:
        print(server.base_url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main())
