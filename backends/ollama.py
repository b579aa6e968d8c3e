"""The `ollama` door: models of an Ollama server, through its native API.

Every call of a run sends the same runner options (num_ctx is chosen once): others make the server load the
model again. `truncate: false` and the checks of `ollama_window` keep a prompt from being cut in silence.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from .addresses import Address
from .errors import BackendError, BadRequest, MalformedReply, NotAllowed
from .keys import Secret, find_key
from .local_only import check_local, is_local_host
from .ollama_health import check_health
from .ollama_host import parse_host
from .ollama_library import (
    LOGPROBS_SINCE,
    QUICK_S,
    SCHEMA_SINCE,
    TRUNCATE_SINCE,
    ModelFacts,
    PullProgress,
    ask_facts,
    create_model,
    is_cloud_name,
    list_loaded,
    list_models,
    pull_model,
    same_model,
    unload_model,
)
from .ollama_reply import (
    Piece,
    completion_of,
    join_pieces,
    probabilities_of,
    read_piece,
    require_done,
    usage_of,
)
from .ollama_request import completion_body, scoring_request
from .ollama_window import check_after, check_before
from .ollama_wire import Wire
from .protocol import (
    Capabilities,
    Chunk,
    Completion,
    Health,
    Message,
    ModelInfo,
    Request,
    Scored,
    ScoreRequest,
)
from .reasoning import ReasoningGate
from .registry import Settings
from .text import one_line

DEFAULT_NUM_CTX: Final = 8192
KEEP_ALIVE: Final = "30m"
"""How long the model stays loaded after a call: a job that waits for its user should not load it again."""
CLOUD_ORIGIN: Final = "https://ollama.com"
"""The one place where OLLAMA_API_KEY goes."""
_RELOADED_NS: Final = 1_000_000_000
_ONE_TOKEN: Final = Request(messages=(Message("user", "Hi"),), max_tokens=1, deadline_s=60.0)


def open_ollama(model: str, settings: Settings) -> OllamaBackend:
    """The door to one model ("" only for `health` and `models`). Opens no connection.

    Raises `BackendError`: `NotAllowed` on a local-only workspace for a server elsewhere or a cloud model,
    `BadRequest` for an OLLAMA_HOST that is no address.
    """
    address, warning = parse_host(settings.ollama_host)
    check_local(address.url, settings.local_only)
    if settings.local_only and is_cloud_name(model):
        raise _cloud_not_allowed(model)
    key = find_key("OLLAMA_API_KEY", settings.env) if address.origin == CLOUD_ORIGIN else None
    return OllamaBackend(model, settings, address, key=key, warning=warning)


class OllamaBackend:
    """One model of one Ollama server; see `protocol.Backend`. Adds pull, create, loaded and unload."""

    name = "ollama"

    def __init__(
        self,
        model: str,
        settings: Settings,
        address: Address,
        *,
        key: Secret | None = None,
        warning: str = "",
    ) -> None:
        self.model = model
        self.origin = address.origin
        self.remote = not is_local_host(address.host) or is_cloud_name(model)
        self.pacing_key = f"ollama {address.url}"
        self._settings = settings
        self._here = is_local_host(address.host)
        self._warning = warning
        self._wire = Wire(address, model=model, key=key)
        self._facts: ModelFacts | None = None
        self._allocated: int | None = None
        self._context_checked = False

    # ---- what it is ----------------------------------------------------------------------------------------

    async def health(self) -> Health:
        """Told apart: not installed, not started, something else there, model missing, embedding model."""
        ask = self._ask_again if self.model else None
        health = await check_health(self._wire, self.model, ask, warning=self._warning)
        if not health.ok or self._facts is None or not self._in_cloud(self._facts):
            return health
        # Only a completion shows whether the account may use a cloud model.
        try:
            await self.complete(_ONE_TOKEN)
        except MalformedReply:
            pass
        except BackendError as problem:
            return Health(False, problem.message, problem.advice, health.version, problem)
        return replace(health, summary=f"{health.summary}, in Ollama's cloud: data leaves this machine")

    async def models(self) -> list[ModelInfo]:
        """What is installed, cloud models marked `remote`. Raises `BackendError`."""
        found = await list_models(self._wire)
        if any(info.remote and same_model(info.id, self.model) for info in found):
            self.remote = True
        return found

    async def capabilities(self) -> Capabilities:
        """From /api/show and the server's version; cached. Raises `BackendError`."""
        facts = await self._ready()
        logprobs = facts.chats and facts.version is not None and facts.knows(LOGPROBS_SINCE)
        return Capabilities(
            chat=facts.chats,
            json_schema=facts.chats and facts.knows(SCHEMA_SINCE),
            logprobs=logprobs,
            seed=True,
            suffixes_per_score=1 if logprobs else 0,
            parallel=self._parallel(),
            context_length=self._window(facts),
        )

    def _parallel(self) -> int:
        """OLLAMA_NUM_PARALLEL tells of a server here alone; its default is 1."""
        given = self._settings.env.get("OLLAMA_NUM_PARALLEL", "").strip()
        known = self._here and given.isascii() and given.isdigit() and len(given) < 4
        return max(1, int(given)) if known else 1

    # ---- completions ---------------------------------------------------------------------------------------

    async def complete(self, request: Request) -> Completion:
        """One POST to /api/chat (or /api/generate for a raw prompt). Raises `BackendError`."""
        piece, texts, latency = await self._answer(request)
        return self._completion(request, piece, texts, latency)

    async def _answer(self, request: Request) -> tuple[Piece, list[str], float]:
        """One unstreamed request: (the finished and checked reply, the prompt's texts, seconds it took)."""
        end = time.monotonic() + request.deadline_s
        facts = await self._ready(request.deadline_s)
        path, body, texts = self._body(request, facts, stream=False)
        check_before(texts, request.max_tokens, self._window(facts))
        sent = time.monotonic()
        raw = await self._wire.post(path, body, deadline_s=max(0.0, end - sent), completion=True)
        piece = require_done(read_piece(raw))
        latency = time.monotonic() - sent
        await self._check_window(piece, texts, facts, len(request.messages))
        return piece, texts, latency

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """As `complete`; what the model thinks is not among the pieces. Raises `BackendError`."""
        end = time.monotonic() + request.deadline_s
        facts = await self._ready(request.deadline_s)
        path, body, texts = self._body(request, facts, stream=True)
        check_before(texts, request.max_tokens, self._window(facts))
        sent = time.monotonic()
        pieces: list[Piece] = []
        gate = ReasoningGate()
        lines = self._wire.lines(path, body, deadline_s=max(0.0, end - sent), completion=True)
        try:
            async for line in lines:
                pieces.append(read_piece(line))
                if text := gate.feed(pieces[-1].text):
                    yield Chunk(text)
                if pieces[-1].done:
                    break
        finally:
            await lines.aclose()
        piece = require_done(join_pieces(pieces) if pieces else None)
        latency = time.monotonic() - sent
        await self._check_window(piece, texts, facts, len(request.messages))
        yield Chunk(gate.finish(), self._completion(request, piece, texts, latency))

    async def score(self, request: ScoreRequest) -> Scored:
        """Probabilities from the log probabilities of one or two generated tokens, one suffix a call.

        Raises `BackendError`: `BadRequest` for any other number of suffixes, or a server before v0.12.11.
        """
        facts = await self._ready(request.deadline_s)
        if len(request.suffixes) != 1:
            raise BadRequest(f"one suffix a call, not {len(request.suffixes)}", reached=False)
        if not facts.knows(LOGPROBS_SINCE):
            raise BadRequest(
                "this Ollama gives no log probabilities",
                advice="Update it to 0.12.11 or later, or judge by JSON",
                reached=False,
            )
        piece, texts, latency = await self._answer(scoring_request(request))
        if not piece.logprobs:
            raise MalformedReply("the server sent no log probabilities", advice="Judge by JSON instead")
        return Scored(
            probabilities=(probabilities_of(piece.logprobs, request.choices),),
            usage=usage_of(piece, texts),
            model=piece.model or self.model,
            latency_s=latency,
            details={**self._details(facts), **piece.timings},
        )

    def _completion(self, request: Request, piece: Piece, texts: list[str], latency_s: float) -> Completion:
        assert self._facts is not None
        return completion_of(
            piece,
            texts,
            model=self.model,
            latency_s=latency_s,
            num_predict=request.max_tokens,
            schema=request.json_schema is not None,
            want_logprobs=request.top_logprobs is not None,
            details={**self._details(self._facts), "seed": request.seed},
        )

    def _details(self, facts: ModelFacts) -> dict[str, Any]:
        version = ".".join(map(str, facts.version)) if facts.version else None
        return {"ollama": version, "num_ctx": self._num_ctx(facts)}

    def _body(
        self, request: Request, facts: ModelFacts, *, stream: bool
    ) -> tuple[str, dict[str, Any], list[str]]:
        keep_alive = None if "OLLAMA_KEEP_ALIVE" in self._settings.env else KEEP_ALIVE
        return completion_body(
            request, self.model, facts, num_ctx=self._num_ctx(facts), keep_alive=keep_alive, stream=stream
        )

    # ---- the window ----------------------------------------------------------------------------------------

    def _num_ctx(self, facts: ModelFacts) -> int:
        """Tokens of context to ask for: the same on every call, never more than the model was made for."""
        own = facts.context_length
        default = own if own and self._in_cloud(facts) else DEFAULT_NUM_CTX
        return max(4, min(self._settings.n_ctx or default, own or 1 << 30))

    def _in_cloud(self, facts: ModelFacts) -> bool:
        """Whether Ollama's cloud runs the model: there our num_ctx costs nothing and decides nothing."""
        return facts.remote or is_cloud_name(self.model) or self.origin == CLOUD_ORIGIN

    def _window(self, facts: ModelFacts) -> int:
        """Tokens of context that there really are, as far as known."""
        return min(self._num_ctx(facts), self._allocated or 1 << 30)

    async def _check_window(self, piece: Piece, texts: list[str], facts: ModelFacts, turns: int) -> None:
        """Raise `ContextOverflow` if the counts betray a cut. After a load, ask what was allocated."""
        if self._in_cloud(facts):
            return
        if not self._context_checked or piece.timings.get("load_duration", 0) > _RELOADED_NS:
            self._context_checked = True
            try:
                running = await list_loaded(self._wire)
            except BackendError:
                running = {}
            found = [size for name, size in running.items() if size and same_model(name, self.model)]
            self._allocated = found[0] if found else None
        dropping = turns > 2 and not facts.knows(TRUNCATE_SINCE)
        check_after(texts, piece.counts, self._window(facts), may_drop_messages=dropping)

    async def _ready(self, deadline_s: float = QUICK_S) -> ModelFacts:
        """Facts of the model, asked once. Raises `NotAllowed` where the server says it runs elsewhere."""
        if not self.model:
            raise BadRequest("no model given", advice="Give ollama:MODEL", reached=False)
        if self._facts is None:
            return self._keep(await ask_facts(self._wire, self.model, deadline_s=min(deadline_s, QUICK_S)))
        return self._facts

    async def _ask_again(self) -> ModelFacts:
        """As `_ready`, but what was known is asked anew: a model may have been removed or replaced."""
        return self._keep(await ask_facts(self._wire, self.model))

    def _keep(self, facts: ModelFacts) -> ModelFacts:
        self.remote = self.remote or facts.remote
        if facts.remote and self._settings.local_only:
            raise _cloud_not_allowed(self.model)
        self._facts = facts
        return facts

    # ---- its own extras ------------------------------------------------------------------------------------

    async def pull(self, model: str) -> AsyncGenerator[PullProgress, None]:
        """Bring a model from Ollama's library; closing the iterator pauses it. Raises `BackendError`."""
        if self._settings.local_only and is_cloud_name(model):
            raise _cloud_not_allowed(model)
        progress = pull_model(self._wire, model)
        try:
            async for step in progress:
                yield step
        finally:
            await progress.aclose()

    async def loaded(self) -> dict[str, int | None]:
        """Models in memory -> context really allocated (None: unknown). Raises `BackendError`."""
        return await list_loaded(self._wire)

    async def unload(self) -> None:
        """Free the memory of this backend's model now. Raises `BackendError`."""
        await unload_model(self._wire, self.model)

    async def create_model(
        self,
        name: str,
        gguf_path: Path,
        *,
        template: str,
        system: str = "",
        parameters: Mapping[str, Any] | None = None,
        on_progress: Callable[[PullProgress], None] | None = None,
    ) -> None:
        """Make a model of a GGUF file on the server; uploads only what it lacks. Raises `BackendError`.

        `template` is Ollama's (Go) prompt template; `parameters` are options like num_ctx, temperature, stop.
        `on_progress` is called for "reading", "uploading" and every line of the server.
        """
        await create_model(
            self._wire,
            name,
            gguf_path,
            template=template,
            system=system,
            parameters=parameters,
            on_progress=on_progress,
        )

    async def close(self) -> None:
        """Close the connections; the model stays loaded for its keep-alive. Safe to call twice."""
        await self._wire.close()


def _cloud_not_allowed(model: str) -> NotAllowed:
    return NotAllowed(
        f"this workspace is local-only, and {one_line(model, 80)} runs in Ollama's cloud",
        advice="Choose a model that runs on this machine",
        reached=False,
    )
