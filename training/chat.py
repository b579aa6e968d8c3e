"""`chat MODEL`: requests on stdin, answers on stdout, one JSON object per line."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from .errors import TrainingError
from .events import Control, Event, event
from .generate import Cancelled, Sampling, generate
from .inference import Options, Speaker

_HOLD = 32
"""Characters that are held back while they may still be part of the response header."""


def serve(
    speaker: Speaker, options: Options, lines: Iterable[str], control: Control, emit: Callable[[Event], None]
) -> None:
    """Answer requests until "quit", end of input or cancel. A bad request is answered by an `error` event."""
    for line in lines:
        if control.cancel.is_set():
            return
        if not line.strip():
            continue
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise ValueError("not an object")
            if request.get("command") == "quit":
                return
            _answer(speaker, options, request, control, emit)
        except Cancelled:
            return
        except (ValueError, TypeError, RecursionError) as error:
            emit(
                event(
                    "error",
                    kind="data",
                    message=f"not a request: {error}",
                    advice="Send one JSON object a line.",
                )
            )
        except TrainingError as error:
            emit(event("error", kind=error.kind, message=error.message, advice=error.advice))


def _answer(
    speaker: Speaker,
    options: Options,
    request: dict[str, Any],
    control: Control,
    emit: Callable[[Event], None],
) -> None:
    sampling = _sampling(options.sampling, request)
    raw = "prompt" in request
    room = min(sampling.max_new_tokens, speaker.model.shape.context // 2)
    if raw:
        prompt = speaker.fitting(_text(request, "prompt"), room)
    else:
        header = bool(request.get("header", options.header))
        prompt = speaker.prompt(_text(request, "instruction"), _text(request, "input"), header, room)
    started = time.perf_counter()
    tokens: list[int] = []
    shown = ""

    def on_token(_index: int, token: int) -> None:
        nonlocal shown
        tokens.append(token)
        text = _showable(speaker, tokens, raw)
        if len(text) > len(shown):
            emit(event("text", delta=text[len(shown) :]))
            shown = text

    answer = generate(
        speaker.model,
        [prompt],
        speaker.vocabulary.end_of_text,
        sampling,
        tokens=len(speaker.vocabulary),
        on_token=on_token,
        stop=control.cancel.is_set,
    )[0]
    whole = speaker.vocabulary.decode(answer.tokens)
    text = whole if raw else speaker.style.response(whole)
    if text.startswith(shown) and len(text) > len(shown):
        emit(event("text", delta=text[len(shown) :]))
    rate = round(len(answer.tokens) / max(time.perf_counter() - started, 1e-9), 1)
    emit(
        event(
            "answer",
            text=text,
            tokens=len(answer.tokens),
            finish_reason=answer.finish_reason,
            tokens_per_s=rate,
        )
    )


def _showable(speaker: Speaker, tokens: list[int], raw: bool) -> str:
    """What is certain to be part of the answer: not half a character, not a header that is still being written."""
    text = speaker.vocabulary.decode(tokens).rstrip("\ufffd")
    if raw:
        return text
    marker = speaker.style.marker
    if (
        marker not in text
        and len(text) < len(marker) + _HOLD
        and marker.startswith(text.strip()[: len(marker)])
    ):
        return ""
    tail = next((text[at:] for at in range(len(text)) if marker.startswith(text[at:])), "")
    kept = text[: len(text) - len(tail)] if tail else text
    return speaker.style.response(kept)


def _text(request: dict[str, Any], name: str) -> str:
    value = request.get(name, "")
    if not isinstance(value, str):
        raise ValueError(f"{name} is not text")
    return value


def _sampling(usual: Sampling, request: dict[str, Any]) -> Sampling:
    limits = {
        "max_new_tokens": (1, 100_000),
        "temperature": (0, 100),
        "top_k": (1, 10**6),
        "top_p": (0, 1),
        "seed": None,
    }
    wanted = {}
    for name, limit in limits.items():
        value = request.get(name)
        if value is None:
            continue
        whole = name in ("max_new_tokens", "top_k", "seed")
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            raise ValueError(f"{name}: {value!r} is not a number")
        if limit and not limit[0] <= value <= limit[1]:
            raise ValueError(f"{name}: {value!r} is out of range")
        wanted[name] = value
    return replace(usual, **wanted)
