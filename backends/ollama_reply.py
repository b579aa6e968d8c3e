"""What an Ollama server answered: one reply, or the lines of a stream, read without trusting any field."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import MalformedReply
from .json_text import count, number
from .ollama_errors import DEGENERATE_ADVICE, DegenerateOutput
from .ollama_window import Counts, estimate_tokens
from .protocol import Completion, FinishReason, TokenLogprob, Usage, choice_of
from .reasoning import split_reasoning
from .text import clean, one_line


@dataclass(frozen=True, slots=True)
class Piece:
    """One JSON object of /api/chat or /api/generate. Durations are in nanoseconds, as sent."""

    text: str
    thinking: str
    done: bool
    done_reason: str | None
    counts: Counts
    logprobs: tuple[TokenLogprob, ...]
    model: str | None
    timings: Mapping[str, int]


def read_piece(raw: Mapping[str, Any]) -> Piece:
    """Read one object. Raises `MalformedReply` where text or flags are of the wrong kind."""
    if "message" in raw or "response" not in raw:
        message = raw.get("message")
        if not isinstance(message, dict):
            raise MalformedReply(f"reply without a message: {_sample(raw)}")
        text, thinking = message.get("content"), message.get("thinking")
    else:
        text, thinking = raw.get("response"), raw.get("thinking")
    text, thinking = text if text is not None else "", thinking if thinking is not None else ""
    done, reason = raw.get("done", False), raw.get("done_reason")
    if not (isinstance(text, str) and isinstance(thinking, str) and isinstance(done, bool)):
        raise MalformedReply(f"reply with a field of the wrong kind: {_sample(raw)}")
    model = raw.get("model")
    return Piece(
        text=clean(text)[0],
        thinking=clean(thinking)[0],
        done=done,
        done_reason=reason if isinstance(reason, str) and reason else None,
        counts=Counts(count(raw.get("prompt_eval_count")), count(raw.get("eval_count"))),
        logprobs=_read_logprobs(raw.get("logprobs")),
        model=one_line(model, 200) if isinstance(model, str) and model else None,
        timings={
            key: value
            for key in ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")
            if (value := count(raw.get(key))) is not None
        },
    )


def join_pieces(pieces: Sequence[Piece]) -> Piece:
    """The whole of a stream as one piece; counts, timings and the end are the last line's."""
    last = pieces[-1]
    return Piece(
        text="".join(piece.text for piece in pieces),
        thinking="".join(piece.thinking for piece in pieces),
        done=last.done,
        done_reason=last.done_reason,
        counts=last.counts,
        logprobs=tuple(logprob for piece in pieces for logprob in piece.logprobs),
        model=last.model or pieces[0].model,
        timings=last.timings,
    )


def require_done(piece: Piece | None) -> Piece:
    """The finished reply. Raises `DegenerateOutput`: one that is not done although the connection is sound is
    how the repeat guard ends (a broken connection raises before this is asked)."""
    if piece is None:
        raise MalformedReply("the stream ended before its first line")
    if not piece.done:
        shown = f": {one_line(piece.text[-80:], 80)}" if piece.text else ""
        raise DegenerateOutput(
            f"degenerate output: the server stopped the model before it was done{shown}",
            advice=DEGENERATE_ADVICE,
        )
    return piece


def completion_of(
    piece: Piece,
    prompt_texts: Sequence[str],
    *,
    model: str,
    latency_s: float,
    num_predict: int | None = None,
    schema: bool = False,
    want_logprobs: bool = False,
    details: Mapping[str, Any] | None = None,
) -> Completion:
    """The completion that a finished reply holds. Raises `MalformedReply` where there is no text in it."""
    text, inline = split_reasoning(piece.text)
    reasoning = "\n".join(part for part in (piece.thinking, inline) if part) or None
    finish = finish_of(piece, num_predict, text if schema else None)
    if not text.strip() and finish == "stop":
        what = "only reasoning" if reasoning else "an empty answer"
        raise MalformedReply(f"the model gave {what}", advice="Raise max_tokens, or choose another model")
    return Completion(
        text=text,
        finish_reason=finish,
        usage=usage_of(piece, prompt_texts),
        model=piece.model or model,
        latency_s=latency_s,
        logprobs=piece.logprobs if want_logprobs and piece.logprobs else None,
        reasoning=reasoning,
        details={**(details or {}), **piece.timings},
    )


def usage_of(piece: Piece, prompt_texts: Sequence[str]) -> Usage:
    """Tokens of a reply; where the server left out either count, that one is estimated from the text."""
    prompt, generated = piece.counts.prompt, piece.counts.generated
    # Zero counts are omitted by the server, so a missing one with no text is a true zero.
    guessed = (prompt is None and any(prompt_texts)) or (generated is None and bool(piece.text))
    return Usage(
        prompt_tokens=prompt if prompt is not None else estimate_tokens(prompt_texts),
        completion_tokens=generated
        if generated is not None
        else estimate_tokens([piece.text, piece.thinking]),
        estimated=guessed,
    )


def finish_of(piece: Piece, num_predict: int | None, schema_text: str | None = None) -> FinishReason:
    """Why the model stopped. Raises `MalformedReply` for an end that no completion has ("load", "unload").

    `schema_text`: the answer where a schema was asked for; if it is cut at the limit, the end is "length" even
    where the server says otherwise or nothing.
    """
    reason = piece.done_reason
    at_limit = num_predict is not None and (piece.counts.generated or 0) >= num_predict
    cut = schema_text is not None and not _is_json(schema_text)
    if reason == "length" or (at_limit and (reason is None or (reason == "stop" and cut))):
        return "length"
    if reason == "stop":
        return "stop"
    if reason is None:
        raise MalformedReply("the reply was cut: it ends without a reason")
    raise MalformedReply(f"the model ended for an unexpected reason: {one_line(reason, 60)}")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _read_logprobs(raw: Any) -> tuple[TokenLogprob, ...]:
    """Those entries that are what they should be; a broken one ends the list, so that positions stay true."""
    found = []
    for entry in raw if isinstance(raw, list) else ():
        pair = _token(entry)
        if pair is None:
            break
        top = entry.get("top_logprobs")
        alternatives = tuple(t for t in map(_token, top if isinstance(top, list) else ()) if t is not None)
        found.append(TokenLogprob(pair[0], pair[1], alternatives))
    return tuple(found)


def _token(entry: Any) -> tuple[str, float] | None:
    if not isinstance(entry, dict):
        return None
    token, value = entry.get("token"), number(entry.get("logprob"))
    if not isinstance(token, str) or value is None:
        return None
    return (clean(token)[0], min(value, 0.0)) if value <= 1e-3 else None


def _sample(raw: Mapping[str, Any]) -> str:
    return one_line("it has " + (", ".join(map(str, raw)) or "no fields"), 120)


def probabilities_of(logprobs: Sequence[TokenLogprob], choices: Sequence[str]) -> tuple[float, ...]:
    """The probability of each choice as the next token: every spelling of it in the top list counts.

    Where the model began with white space or a quotation mark, the next position is read instead.
    """
    blank = not logprobs[0].token.strip().strip("\u2581\u0120\"'`\u201c\u201d").strip()
    at = logprobs[1] if blank and len(logprobs) > 1 else logprobs[0]
    top = at.top if any(token == at.token for token, _ in at.top) else ((at.token, at.logprob), *at.top)
    found = [0.0] * len(choices)
    for token, logprob in top:
        index = choice_of(token, choices)
        if index is not None:
            found[index] += math.exp(logprob)
    mass = sum(found)
    return tuple(p / mass for p in found) if mass > 1 else tuple(found)
