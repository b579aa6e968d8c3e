"""The `llama-cpp` door: the protocol of `backends.protocol` over a shared worker process."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, cast

from ..errors import BackendError, BadRequest, TimedOut
from ..protocol import (
    Capabilities,
    Chunk,
    Completion,
    FinishReason,
    Health,
    Message,
    ModelInfo,
    Request,
    Scored,
    ScoreRequest,
    TokenLogprob,
    Usage,
)
from . import shared
from .catalogue import find_models, resolve
from .fingerprint import sha256_of
from .gguf import read_gguf
from .options import LlamaOptions, options_from
from .process import Frame

_TOLD = ("seed", "raw", "preempted", "arrival", "admission", "neighbours", "lane", "queued_s")
_OTHER_WORKER_KEYS = ("chat", "description", "system", "suffixes")


class LlamaCppBackend:
    """A GGUF in a worker process. Objects for the same file and options share one worker."""

    name = "llama-cpp"
    origin = "worker"
    remote = False

    def __init__(
        self, path: Path, model: str, options: LlamaOptions, env: Mapping[str, str], home: Path | None
    ) -> None:
        self.path, self.model, self._options = path, model, options
        self._env, self._home = env, home
        self.pacing_key = f"llama-cpp:{path}"
        log_file = home / "logs" / "llama-cpp.log" if home else None
        self._hashed: tuple[Frame, str] | None = None
        """What the worker said when it had loaded the file, and the file's SHA-256."""
        self._worker: shared.SharedWorker | None = shared.acquire(path, options, env, log_file)

    @property
    def worker_pid(self) -> int | None:
        """Process id of the worker while it runs."""
        return self._worker.pid if self._worker else None

    async def health(self) -> Health:
        """Reads the file's head, loads it and completes one token."""
        try:
            info = await asyncio.to_thread(read_gguf, self.path)
            ready = await self._loaded()
            await self.complete(Request(messages=(Message("user", "Hi"),), max_tokens=1, temperature=0.0))
        except BackendError as error:
            return Health(False, error.message, error.advice, error=error)
        return Health(True, f"ready, {info.name}, {ready['description']}", version=str(ready["build"]))

    async def models(self) -> list[ModelInfo]:
        """GGUF files in PAIRSMITH_HOME/models, the Hugging Face cache, LM Studio's and Ollama's folders."""
        return await asyncio.to_thread(find_models, self._home, self._env)

    async def capabilities(self) -> Capabilities:
        """Loads the model where it is not loaded yet. Raises the reason where it cannot be."""
        ready = await self._loaded()
        return Capabilities(
            chat=bool(ready["chat"]),
            json_schema=True,
            logprobs=True,
            seed=True,
            suffixes_per_score=int(ready["suffixes"]),
            begins_answer=True,
            parallel=1 if self._options.reproducible else int(ready["parallel"]),
            context_length=int(ready["window"]),
        )

    async def complete(self, request: Request) -> Completion:
        """One answer. Raises `BackendError`; cancelling the task cancels the request in the worker."""
        async for chunk in self._run(request, stream=False):
            if chunk.completion is not None:
                return chunk.completion
        raise BackendError("The worker ended the answer without a result")

    def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """As `complete`, piece by piece; reasoning is not streamed."""
        return self._run(request, stream=True)

    async def score(self, request: ScoreRequest) -> Scored:
        """All suffixes in one forward pass over one shared prefix. Raises `BadRequest` where there are too many."""
        started = time.monotonic()
        ready = await self._loaded()
        if not request.choices:
            raise BadRequest("There is nothing to choose from", reached=False)
        frame = {
            "op": "score",
            "suffixes": list(request.suffixes),
            "choices": list(request.choices),
            "begins_answer": request.begins_answer,
            **_subject(request.messages, request.prompt),
        }
        done: Frame = {}
        async for event in self._events(frame, request.deadline_s):
            done = event["done"]
        return Scored(
            probabilities=tuple(tuple(row) for row in done["probabilities"]),
            usage=Usage(done["prompt_tokens"], 0, done["cached_tokens"]),
            model=self.model,
            latency_s=time.monotonic() - started,
            details=await self._details(ready, done),
        )

    async def replay(self, request: Request, recorded: str) -> Completion:
        """Run a recorded request again, alone, and stop at the first token that departs from `recorded`.

        The request must carry the recorded seed unless it is greedy. `details["departure"]` is None where the whole
        text came again; otherwise it says where, which token instead, both probabilities and the gap of the logits.
        """
        if request.seed is None and request.temperature != 0:
            raise BadRequest("A replay needs the recorded seed", reached=False)
        async for chunk in self._run(request, stream=False, expected=recorded):
            if chunk.completion is not None:
                return chunk.completion
        raise BackendError("The worker ended the answer without a result")

    async def close(self) -> None:
        """Leave the worker; the last user's leave ends the process. Safe to call twice."""
        worker, self._worker = self._worker, None
        if worker is not None:
            await asyncio.to_thread(shared.release, worker)

    async def _run(
        self, request: Request, *, stream: bool, expected: str | None = None
    ) -> AsyncIterator[Chunk]:
        started = time.monotonic()
        ready = await self._loaded()
        frame = _completion_frame(request, stream)
        frame["alone"] = self._options.reproducible or expected is not None
        if expected is not None:
            frame["expected"] = expected
        async for event in self._events(frame, request.deadline_s):
            if "chunk" in event:
                yield Chunk(event["chunk"])
            else:
                done = event["done"]
                details = await self._details(ready, done)
                if expected is not None:
                    details["departure"] = done.get("departure")
                yield Chunk("", self._completion(done, details, time.monotonic() - started))

    def _completion(self, done: Frame, details: Mapping[str, Any], latency: float) -> Completion:
        logprobs = done["logprobs"]
        return Completion(
            text=done["text"],
            finish_reason=cast(FinishReason, done["finish"]),
            usage=Usage(done["prompt_tokens"], done["completion_tokens"], done["cached_tokens"]),
            model=self.model,
            latency_s=latency,
            logprobs=None
            if logprobs is None
            else tuple(TokenLogprob(t, p, tuple((n, q) for n, q in top)) for t, p, top in logprobs),
            reasoning=done["reasoning"],
            details=details,
        )

    async def _details(self, ready: Frame, done: Frame) -> dict[str, Any]:
        """For provenance: which file, build and settings, and whether a replay can be byte for byte the same."""
        kept = {key: value for key, value in ready.items() if key not in _OTHER_WORKER_KEYS}
        told = {key: done[key] for key in _TOLD if done.get(key) is not None}
        alone = done["neighbours"] == 0
        if self._hashed is None or self._hashed[0] is not ready:
            self._hashed = ready, await asyncio.to_thread(sha256_of, self.path)
        return {
            "gguf": self.path.name,
            "sha256": self._hashed[1],
            **kept,
            **told,
            "alone": alone,
            "reproducible": self._options.reproducible and alone,
        }

    async def _loaded(self) -> Frame:
        return await self._living().ready()

    def _living(self) -> shared.SharedWorker:
        if self._worker is None:
            raise BadRequest("This backend has been closed", reached=False)
        return self._worker

    async def _events(self, frame: Frame, deadline_s: float) -> AsyncIterator[Frame]:
        """The events of one call up to its last. Raises its error, or `TimedOut`."""
        loop = asyncio.get_running_loop()
        inbox: asyncio.Queue[Frame] = asyncio.Queue()
        worker = self._living()

        def deliver(event: Frame) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(inbox.put_nowait, event)

        number = worker.call(frame, deliver)
        ends = loop.time() + deadline_s
        try:
            while True:
                async with asyncio.timeout_at(ends):
                    event = await inbox.get()
                if "error" in event:
                    raise shared.error_from(event["error"])
                yield event
                if "done" in event:
                    return
        except TimeoutError:
            raise TimedOut(f"No complete answer within {deadline_s:.0f} s") from None
        finally:
            worker.cancel(number)


def open_llama_cpp(model: str, settings: object) -> LlamaCppBackend:
    """The door to a GGUF: `model` is a path, a name that `models()` lists, or `embedded`.

    `settings` is the registry's; read are `env` (laid over the process's own), `home`, and the sizes.
    Raises `NoSuchModel` where no such file is found, `BadRequest` for an option that is not understood.
    """
    env: Mapping[str, str] = {**os.environ, **(getattr(settings, "env", None) or {})}
    given = getattr(settings, "home", None)
    home = Path(given) if given and Path(given) != Path() else None
    options = options_from(settings, env)
    return LlamaCppBackend(resolve(model, home, env), model, options, env, home)


def _subject(messages: tuple[Message, ...], prompt: str | None) -> Frame:
    if prompt is not None:
        return {"prompt": prompt}
    return {"messages": [[m.role, m.content] for m in messages]}


def _completion_frame(request: Request, stream: bool) -> Frame:
    return {
        "op": "complete",
        "stream": stream,
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "min_p": request.min_p,
        "frequency_penalty": request.frequency_penalty,
        "presence_penalty": request.presence_penalty,
        "seed": request.seed,
        "stop": list(request.stop),
        "json_schema": dict(request.json_schema) if request.json_schema is not None else None,
        "top_logprobs": request.top_logprobs,
        **_subject(request.messages, request.prompt),
    }
