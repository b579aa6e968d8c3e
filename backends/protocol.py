"""The one protocol that every backend speaks. No call site knows which backend it talks to.

A backend object is bound to one model. Each `complete` and each `score` is exactly one request on the wire
(retries are the caller's, so that the ledger sees every one of them).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length", "content_filter"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a model. None means: leave it to the backend's default.

    Exactly one of `messages` and `prompt` is given; `prompt` is raw text for a model without a chat template.
    """

    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    json_schema: Mapping[str, Any] | None = None
    """JSON Schema that the text must satisfy; only where `Capabilities.json_schema` is true."""
    top_logprobs: int | None = None
    """How many alternatives to return for each generated token (0: the chosen token's own only)."""
    deadline_s: float = 120.0
    """Total seconds for the whole request, waiting for the last byte included."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    """Part of `prompt_tokens` that the backend did not have to compute again."""
    estimated: bool = False
    """True where the server did not say and we counted characters."""


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One generated token with its natural-log probability and the likeliest alternatives (itself included)."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model answered. `text` holds no reasoning; that is in `reasoning` where the model showed any."""

    text: str
    finish_reason: FinishReason
    usage: Usage
    model: str
    """The model that the server says answered."""
    latency_s: float
    logprobs: tuple[TokenLogprob, ...] | None = None
    reasoning: str | None = None
    reward: Mapping[str, float] | None = None
    """Attribute -> score, where the model is a reward model (`Capabilities.reward_attributes`)."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """For provenance: what the backend can add (fingerprint, seed really used, build, timings). JSON-able."""


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """Ask for the probabilities of a few next tokens, after each of several suffixes of one shared prefix.

    A suffix is appended to the last message's content (or to `prompt`), and then the assistant's turn is opened; or,
    with `begins_answer`, it is what the assistant's turn begins with.
    """

    suffixes: tuple[str, ...]
    choices: tuple[str, ...]
    """Short strings, e.g. the digits "0".."4". All token spellings of a choice (" 3", "3") count for it."""
    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    begins_answer: bool = False
    """Only where the capabilities say so."""
    deadline_s: float = 120.0


@dataclass(frozen=True, slots=True)
class Scored:
    """Answer to a `ScoreRequest`. `probabilities[i][j]` is that of choice j after suffix i, over the whole
    vocabulary (so a row sums to the *mass* that fell on any choice, at most 1)."""

    probabilities: tuple[tuple[float, ...], ...]
    usage: Usage
    model: str
    latency_s: float
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What this backend can do with this model. Unknown is False."""

    chat: bool = True
    """False: the model has no chat template; use `Request.prompt`."""
    json_schema: bool = False
    logprobs: bool = False
    seed: bool = False
    reward_attributes: tuple[str, ...] = ()
    """Names of the attributes of a reward model ("reward" for a single scalar); empty for others."""
    suffixes_per_score: int = 0
    """How many suffixes one `score` takes; 0: `score` is not possible."""
    begins_answer: bool = False
    """Whether a suffix can be what the answer begins with: then all of the prompt is shared."""
    parallel: int = 1
    """How many requests it makes sense to keep in flight at the start."""
    context_length: int | None = None
    price_per_million: tuple[float, float] | None = None
    """(prompt, completion) in US dollars for a million tokens; None where unknown."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One entry of a backend's list of models. Being listed proves nothing; `health` does."""

    id: str
    kind: Literal["chat", "base", "reward", "embedding", "other"] = "chat"
    size_bytes: int | None = None
    context_length: int | None = None
    remote: bool = False
    """True where using it sends data off the machine (Ollama's cloud models)."""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a backend can be used now and, if not, what to do about it."""

    ok: bool
    summary: str
    """One line: "ready, 0.33.0", "no key", ..."""
    advice: str = ""
    version: str | None = None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a streamed answer; the last one carries the whole `completion`."""

    text: str
    completion: Completion | None = None


@runtime_checkable
class Backend(Protocol):
    """A door to one model."""

    name: str
    """nim, openai, ollama or llama-cpp."""
    model: str
    origin: str
    """scheme://host:port of the server, or "worker" for our own process."""
    remote: bool
    """Whether requests leave this machine."""
    pacing_key: str
    """Equal for backends that share one rate limit (same origin and key). Holds no key itself."""

    async def health(self) -> Health:
        """Reachable, authorised, and able to complete with this model? Never raises `BackendError`."""
        ...

    async def models(self) -> list[ModelInfo]:
        """What the server offers. Raises `BackendError`."""
        ...

    async def capabilities(self) -> Capabilities:
        """Cached after the first call. Raises `BackendError` where the backend must be asked and cannot be."""
        ...

    async def complete(self, request: Request) -> Completion:
        """One request, one answer. Raises `BackendError`; cancelling the task cancels the request."""
        ...

    def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """As `complete`, piece by piece."""
        ...

    async def score(self, request: ScoreRequest) -> Scored:
        """One request. Raises `BadRequest` where `suffixes_per_score` is exceeded."""
        ...

    async def close(self) -> None:
        """Give back connections and processes. Safe to call twice."""
        ...


def choice_of(text: str, choices: Sequence[str]) -> int | None:
    """Index of the choice that a token's text spells, spaces and word-start marks aside; None if it is none."""
    bare = text.strip().strip("\u2581\u0120").strip()
    return choices.index(bare) if bare in choices else None
