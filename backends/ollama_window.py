"""Does a prompt fit Ollama's context window, and did the server cut it in silence?

Ollama may answer 200 over half a prompt. `truncate: false` stops that since v0.12.6; older servers ignore it
and some paths cut all the same, so the counts of every reply are checked (ollama
issues 3839, 7987, 17427, 17889).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import ContextOverflow
from .ollama_errors import WINDOW_ADVICE

CHARACTERS_PER_TOKEN = 3.5
"""Of ordinary text in the usual vocabularies: a little few, so that the estimate is a little high."""
_NUM_KEEP = 4
"""Ollama's default: tokens at the head that survive a cut."""
_TEMPLATE_TOKENS = 64
"""Generous allowance for what a chat template adds."""
_RUNS = re.compile(r"(.)\1{3,}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Counts:
    """What a reply says about its tokens; None where it does not."""

    prompt: int | None
    generated: int | None


def estimate_tokens(texts: Sequence[str]) -> int:
    """About how many tokens these texts are."""
    return math.ceil(sum(map(len, texts)) / CHARACTERS_PER_TOKEN)


def check_before(texts: Sequence[str], num_predict: int | None, window: int) -> None:
    """Raise `ContextOverflow` (nothing sent) where estimate and room for the answer exceed the window."""
    estimate = estimate_tokens(texts)
    wanted = estimate + (num_predict or 0)
    if wanted > window:
        raise ContextOverflow(
            f"about {estimate} prompt tokens and {num_predict or 0} for the answer exceed num_ctx {window}",
            advice=WINDOW_ADVICE,
            reached=False,
        )


def check_after(
    texts: Sequence[str], counts: Counts, window: int, *, may_drop_messages: bool = False
) -> None:
    """Raise `ContextOverflow` where the counts of a reply betray a cut prompt or a shifted window.

    `may_drop_messages`: there are several turns and the server is too old to heed `truncate: false`, so that
    the oldest may be missing. Then a count under 0.8 of the estimate is a cut; otherwise one under 0.5 (7
    characters a token: real prose reaches 4.5 to 5, so 0.8 would refuse honest replies).
    """
    if counts.prompt is None:
        return
    prompt = counts.prompt
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    could_overflow = size + _TEMPLATE_TOKENS >= window
    if prompt >= window - 1:
        raise _cut(f"the prompt filled the whole window ({prompt} of {window} tokens)")
    halved = window - max((window - _NUM_KEEP) // 2, 1)
    # A token has at least one byte: a count that the text explains proves nothing if it cannot overflow.
    if abs(prompt - halved) <= 1 and (could_overflow or prompt > size + _TEMPLATE_TOKENS):
        raise _cut(f"the server kept {prompt} prompt tokens of a window of {window}: half of it was dropped")
    if could_overflow:
        squeezed = estimate_tokens([_RUNS.sub(r"\1\1\1", text) for text in texts])
        share = 0.8 if may_drop_messages else 0.5
        if prompt < share * squeezed:
            raise _cut(f"the server read {prompt} prompt tokens where about {squeezed} were sent")
    if counts.generated is not None and prompt + counts.generated > window + 1:
        raise _cut(f"{prompt} prompt and {counts.generated} generated tokens exceed the window of {window}")


def _cut(message: str) -> ContextOverflow:
    return ContextOverflow(f"context silently cut: {message}", advice=WINDOW_ADVICE)
