"""Replay: does the model, asked again, take the recorded path, and if not, how close was the decision?"""

from __future__ import annotations

from typing import Any

import numpy as np

from pairsmith.backends.text import clean

from .jobs import Completion
from .native import Logits, Model
from .sampling import log_softmax

_LOOKED_AT = 8192


def departure(model: Model, job: Completion, token: int, logits: Logits) -> dict[str, Any] | None:
    """None while the token goes on along the recorded text; else where, what instead, and by how little.

    `gap` is the difference of the two tokens' logits (natural log units): about the noise of the arithmetic where
    the two were a tie. Of a sampled text both probabilities are given, since chance decided, not the gap.
    """
    recorded, _ = clean(job.expected or "")
    if _goes_on(model, job, token, recorded):
        return None
    logprobs = log_softmax(logits)
    other = _recorded_token(model, job, recorded, logprobs)
    return {
        "token": job.generated,
        "character": len(job.text),
        "replayed": model.spelling(token),
        "recorded": model.spelling(other) if other is not None else "",
        "replayed_probability": float(np.exp(logprobs[token])),
        "recorded_probability": float(np.exp(logprobs[other])) if other is not None else 0.0,
        "gap": abs(float(logprobs[token]) - float(logprobs[other])) if other is not None else None,
    }


def _goes_on(model: Model, job: Completion, token: int, recorded: str) -> bool:
    """Whether the text with this token is still the recorded one, as a store keeps text, or the stop string cut off
    behind it."""
    ends = model.is_end(token)
    text, _ = clean(job.text + job.preview(b"" if ends else model.piece(token), ends))
    if ends:
        return text == recorded
    wholes = [recorded + clean(stop)[0] for stop in job.stops]
    return recorded.startswith(text) or any(w.startswith(text) or text.startswith(w) for w in wholes)


def _recorded_token(model: Model, job: Completion, recorded: str, logprobs: Logits) -> int | None:
    """The likeliest token that goes on along the recorded text; None where none of the likely ones does."""
    for token in np.argsort(-logprobs)[:_LOOKED_AT]:
        if _goes_on(model, job, int(token), recorded) and (
            model.piece(int(token)) or model.is_end(int(token))
        ):
            return int(token)
    return None
