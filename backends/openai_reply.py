"""From the JSON of an OpenAI-compatible server to a `Completion` or to probabilities. Every field may be missing,
null, of another type, or hold what no store takes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import MalformedReply, Refused
from .json_text import count, first, mapping, number, plain, text_of, whole_pairs
from .protocol import Completion, FinishReason, ModelInfo, TokenLogprob, Usage, choice_of
from .reasoning import split_reasoning
from .reward import is_reward_model, read_reward
from .text import one_line

CHARACTERS_PER_TOKEN = 3.5
LEAST_LOGPROB = -9999.0
"""Stands for "no chance" where a server sends none; the number that vLLM uses."""
_NO_TOKEN = " \t\r\n\"'`*\u2581\u0120\u010a"


@dataclass(slots=True)
class Reply:
    """The parts of one answer, from one JSON body or gathered from a stream."""

    content: str | None = None
    reasoning: str = ""
    refusal: str = ""
    tool_call: bool = False
    finish: str | None = None
    usage: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""
    logprobs: list[TokenLogprob] | None = None
    choice: Mapping[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    half: str = ""
    """First half of a surrogate pair that a stream cut in two."""


def read_reply(value: Any) -> Reply:
    """The parts of a whole answer. Raises `MalformedReply` where it holds no choice."""
    body = mapping(value)
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise MalformedReply("the answer holds no completion")
    choice: Mapping[str, Any] = choices[0]
    message = mapping(first(choice.get("message")))
    reply = Reply(choice=choice, finish=text_of(choice.get("finish_reason")))
    reply.content = _content(message["content"] if "content" in message else choice.get("text"))
    reply.reasoning = text_of(message.get("reasoning_content")) or text_of(message.get("reasoning")) or ""
    reply.refusal = text_of(message.get("refusal")) or ""
    reply.tool_call = bool(message.get("tool_calls") or message.get("function_call"))
    reply.logprobs = read_logprobs(choice.get("logprobs"))
    _envelope(body, reply)
    return reply


def add_chunk(reply: Reply, value: Any) -> str:
    """Add one event of a stream; gives the piece of text that it brought."""
    body = mapping(value)
    _envelope(body, reply)
    choices = body.get("choices")
    choice = mapping(first(choices) if isinstance(choices, list) else None)
    delta = mapping(first(choice.get("delta")))
    raw = delta["content"] if "content" in delta else choice.get("text")
    if isinstance(raw, str):
        raw, reply.half = whole_pairs(reply.half + raw)
    piece = _content(raw) or ""
    if piece:
        reply.content = (reply.content or "") + piece
    reply.reasoning += text_of(delta.get("reasoning_content")) or text_of(delta.get("reasoning")) or ""
    reply.refusal += text_of(delta.get("refusal")) or ""
    reply.tool_call = reply.tool_call or bool(delta.get("tool_calls"))
    reply.finish = text_of(choice.get("finish_reason")) or reply.finish
    more = read_logprobs(choice.get("logprobs"))
    if more is not None:
        reply.logprobs = (reply.logprobs or []) + more
    return piece


def completion_of(
    reply: Reply, *, model: str, asked_characters: int, latency_s: float, changed: Mapping[str, Any]
) -> Completion:
    """The completion that the parts make. Raises `Refused` (content filter) and `MalformedReply` (no text in it)."""
    text, inline = split_reasoning(reply.content or "")
    reasoning = "\n\n".join(t for t in (reply.reasoning.strip(), inline) if t) or None
    reward = read_reward(reply.choice, reply.content or "") if is_reward_model(model) else None
    finish = _finish(reply, text, reward is not None)
    details = {**reply.details, **({"changed": dict(changed)} if changed else {})}
    return Completion(
        text=text,
        finish_reason=finish,
        usage=usage_of(reply.usage, asked_characters, len(text) + len(reasoning or "")),
        model=reply.model or model,
        latency_s=latency_s,
        logprobs=tuple(reply.logprobs) if reply.logprobs is not None else None,
        reasoning=reasoning,
        reward=reward,
        details=details,
    )


def usage_of(said: Mapping[str, Any], asked_characters: int, answered_characters: int) -> Usage:
    """Tokens as the server counts them, else estimated from characters."""
    prompt, completion = count(said.get("prompt_tokens")), count(said.get("completion_tokens"))
    if prompt is None or completion is None:
        return Usage(_estimate(asked_characters), _estimate(answered_characters), estimated=True)
    cached = count(mapping(said.get("prompt_tokens_details")).get("cached_tokens")) or 0
    return Usage(prompt, completion, min(cached, prompt))


def read_logprobs(value: Any) -> list[TokenLogprob] | None:
    """Log-probabilities of a choice, in the chat form or in that of /completions; None where there are none."""
    held = mapping(first(value))
    entries = held.get("content")
    if isinstance(entries, list):
        return [_entry(mapping(e)) for e in entries]
    tokens, own, tops = held.get("tokens"), held.get("token_logprobs"), held.get("top_logprobs")
    if not isinstance(tokens, list):
        return None
    result = []
    for i, token in enumerate(tokens):
        top = mapping(tops[i]) if isinstance(tops, list) and i < len(tops) else {}
        logprob = number(own[i]) if isinstance(own, list) and i < len(own) else None
        pairs = tuple((str(t), n) for t, v in top.items() if (n := number(v)) is not None)
        result.append(
            TokenLogprob(text_of(token) or "", LEAST_LOGPROB if logprob is None else logprob, pairs)
        )
    return result


def choice_probabilities(logprobs: Sequence[TokenLogprob], choices: Sequence[str]) -> tuple[float, ...]:
    """The probability of each choice as the next word: over all spellings, and behind a space or quote that came
    first (then times that one's probability). At most 1 in sum."""
    sums = [0.0] * len(choices)
    reached = 1.0
    for token in logprobs:
        seen = dict(token.top)
        seen.setdefault(token.token, token.logprob)
        for text, logprob in seen.items():
            index = choice_of(text, choices)
            if index is not None:
                sums[index] += reached * _probability(logprob)
        if token.token.strip(_NO_TOKEN):
            break
        reached *= _probability(token.logprob)
    total = sum(sums)
    return tuple(s / total for s in sums) if total > 1 else tuple(sums)


def read_models(value: Any) -> list[ModelInfo]:
    """The entries of a list of models, whatever it is wrapped in. Those without a name are left out."""
    body = mapping(value)
    entries = value if isinstance(value, list) else body.get("data") or body.get("models")
    found = []
    for entry in entries if isinstance(entries, list) else ():
        held = mapping(entry)
        name = entry if isinstance(entry, str) else held.get("id") or held.get("name") or held.get("model")
        if isinstance(name, str) and name.strip():
            owner = text_of(held.get("owned_by")) or ""
            found.append(
                ModelInfo(one_line(name), _kind(name), None, _context(held), description=one_line(owner, 60))
            )
    return found


def _kind(name: str) -> Any:
    low = name.lower()
    if is_reward_model(low):
        return "reward"
    if any(word in low for word in ("embed", "bge-", "/e5-", "nv-embed")):
        return "embedding"
    if any(
        word in low
        for word in ("rerank", "guard", "-ocr", "whisper", "tts", "dall-e", "parakeet", "detector")
    ):
        return "other"
    return "chat"


def _context(held: Mapping[str, Any]) -> int | None:
    meta = mapping(held.get("meta"))
    for value in (
        held.get("max_model_len"),
        held.get("context_length"),
        held.get("max_context_length"),
        meta.get("n_ctx"),
        meta.get("n_ctx_train"),
    ):
        found = count(value)
        if found:
            return found
    return None


def _envelope(body: Mapping[str, Any], reply: Reply) -> None:
    reply.model = text_of(body.get("model")) or reply.model
    reply.usage = mapping(body.get("usage")) or reply.usage
    for name in ("id", "system_fingerprint", "timings"):
        if body.get(name) is not None:
            reply.details[name] = plain(body[name])


def _content(value: Any) -> str | None:
    """Text of a message: a text, or the text parts of a list."""
    if isinstance(value, list):
        parts = [text_of(p) or text_of(mapping(p).get("text")) for p in value]
        return "".join(p for p in parts if p)
    return text_of(value)


def _finish(reply: Reply, text: str, reward: bool) -> FinishReason:
    if reply.finish == "content_filter":
        raise Refused("the policy of the server cut the answer")
    if reply.refusal and not text:
        raise Refused(f"the model refused: {one_line(reply.refusal)}")
    if reply.finish in ("length", "max_tokens", "model_length"):
        return "length"
    if reply.finish in ("abort", "error"):
        raise MalformedReply(f"the server gave the answer up ({reply.finish})")
    if not text.strip() and not reward:
        if reply.tool_call:
            raise MalformedReply("the answer is a tool call, not a text")
        raise MalformedReply(
            "the answer holds only reasoning" if reply.reasoning else "the answer holds no text"
        )
    return "stop"


def _entry(held: Mapping[str, Any]) -> TokenLogprob:
    logprob = number(held.get("logprob"))
    tops = held.get("top_logprobs")
    pairs = []
    for top in tops if isinstance(tops, list) else ():
        text, value = text_of(mapping(top).get("token")), number(mapping(top).get("logprob"))
        if text is not None and value is not None:
            pairs.append((text, value))
    return TokenLogprob(
        text_of(held.get("token")) or "", LEAST_LOGPROB if logprob is None else logprob, tuple(pairs)
    )


def _probability(logprob: float) -> float:
    return math.exp(min(0.0, logprob))


def _estimate(characters: int) -> int:
    return math.ceil(characters / CHARACTERS_PER_TOKEN)
