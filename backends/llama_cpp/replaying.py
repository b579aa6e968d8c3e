"""Replay: does the model, asked again, take the recorded path, and if not, how close was the decision?"""

from __future__ import annotations

from typing import Any

import numpy as np

from .jobs import Completion
from .native import Logits, Model
from .sampling import log_softmax


def departure(model: Model, job: Completion, token: int, logits: Logits) -> dict[str, Any] | None:
    """None while the token goes on along the recorded text; else where, what instead, and by how little.

    `gap` is the difference of the two tokens' logits (natural log units): about the noise of the arithmetic where
    the two were a tie. Of a sampled text both probabilities are given, since chance decided, not the gap.
    """
    recorded = job.expected or b""
    ends = model.is_end(token)
    path = job.path if ends else job.path + model.piece(token)
    if path == recorded if ends else _along(path, recorded, job.stops):
        job.path = path
        return None
    rest = recorded[len(job.path) :]
    logprobs = log_softmax(logits)
    other = _recorded_token(model, rest, logprobs)
    return {
        "token": job.generated,
        "character": len(job.path.decode("utf-8", "replace")),
        "replayed": model.spelling(token),
        "recorded": model.spelling(other) if other is not None else "",
        "replayed_probability": float(np.exp(logprobs[token])),
        "recorded_probability": float(np.exp(logprobs[other])) if other is not None else 0.0,
        "gap": abs(float(logprobs[token]) - float(logprobs[other])) if other is not None else None,
    }


def _along(path: bytes, recorded: bytes, stops: tuple[str, ...]) -> bool:
    """Whether the bytes so far are those of the recorded text, or of the stop string that was cut off behind it."""
    wholes = [recorded + stop.encode() for stop in stops]
    return recorded.startswith(path) or any(w.startswith(path) or path.startswith(w) for w in wholes)


def _recorded_token(model: Model, rest: bytes, logprobs: Logits) -> int | None:
    """The likeliest token that goes on along the recorded text; where that is over, the likeliest end."""
    for token in np.argsort(-logprobs)[:4096]:
        piece = model.piece(int(token))
        fits = model.is_end(int(token)) if not rest else bool(piece) and rest.startswith(piece)
        if fits:
            return int(token)
    return None
