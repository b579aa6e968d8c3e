"""The JSON bodies that ask an Ollama server for a completion."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from .errors import BadRequest
from .ollama_library import ModelFacts
from .protocol import Request, ScoreRequest


def completion_body(
    request: Request, model: str, facts: ModelFacts, *, num_ctx: int, keep_alive: str | None, stream: bool
) -> tuple[str, dict[str, Any], list[str]]:
    """(path, JSON body, the texts that fill the window). Raises `BadRequest` for a request without words.

    `truncate` and `shift` are what the package's own `chat()` cannot send.
    """
    body: dict[str, Any] = {
        "model": model,
        "stream": stream,
        "options": {"num_ctx": num_ctx, **_sampling(request)},
        "truncate": False,
        "shift": False,
    }
    if keep_alive is not None:
        body["keep_alive"] = keep_alive
    if request.json_schema is not None:
        body["format"] = dict(request.json_schema)
    if request.top_logprobs is not None:
        body["logprobs"] = True
        if request.top_logprobs:
            body["top_logprobs"] = request.top_logprobs
    if request.messages and request.prompt is None:
        body["messages"] = [{"role": m.role, "content": m.content} for m in request.messages]
        if facts.thinks:
            # gpt-oss cannot be kept from thinking: `false` is ignored, "low" is heeded.
            body["think"] = "low" if facts.family in ("gptoss", "gpt-oss") else False
        return "/api/chat", body, [m.content for m in request.messages]
    if request.prompt and not request.messages:
        return "/api/generate", {**body, "prompt": request.prompt, "raw": True}, [request.prompt]
    raise BadRequest("a request needs messages or a prompt, and not both", reached=False)


def _sampling(request: Request) -> dict[str, Any]:
    """The options of one call that do not touch the runner."""
    wanted: dict[str, Any] = {
        "num_predict": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "min_p": request.min_p,
        "frequency_penalty": request.frequency_penalty,
        "presence_penalty": request.presence_penalty,
        "seed": request.seed,
        "stop": list(request.stop) or None,
    }
    for name, value in wanted.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise BadRequest(f"{name} is not a number", reached=False)
    return {name: value for name, value in wanted.items() if value is not None}


def scoring_request(request: ScoreRequest) -> Request:
    """The completion that a scoring needs. Two tokens: the first may be a space or a quote. Raises `BadRequest`."""
    if request.begins_answer:
        raise BadRequest("the answer cannot be begun for the model", reached=False)
    suffix = request.suffixes[0]
    messages = request.messages
    if messages:
        messages = (*messages[:-1], replace(messages[-1], content=messages[-1].content + suffix))
    return Request(
        messages=messages,
        prompt=None if request.prompt is None else request.prompt + suffix,
        max_tokens=2,
        temperature=0.0,
        top_logprobs=20,
        deadline_s=request.deadline_s,
    )
