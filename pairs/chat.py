"""Talking to a model: any backend's, or one of our own in the style that it was trained in (a training child)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pairsmith.backends.protocol import Backend, Completion, Message, Request

from .errors import UsageError
from .store.runs import Run
from .store.workspace import Workspace
from .training_child import ChildEvent, TrainingChild, TrainingFailed, failure_of, models_folder
from .training_runs import base_of, config_of, tuned_model_of
from .training_settings import located_base

_DEADLINE_S = 600.0


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """None: the backend's own default; a model of our own answers greedily with at most 256 tokens."""

    system: str = ""
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. `finish_reason` is "length" where it was cut off; `tokens_per_s`: None where nobody measured."""

    text: str
    tokens: int
    finish_reason: str
    tokens_per_s: float | None = None


class Partner(Protocol):
    """Somebody to talk to. Text is untrusted."""

    name: str

    def reply(self, text: str) -> AsyncGenerator[str | Answer, None]:
        """The answer piece by piece, and then the whole of it. Closing the generator gives the answer up."""
        ...

    async def close(self) -> None:
        """Let go of connections and processes."""
        ...


def run_partner(
    home: Path,
    workspace: Workspace,
    run: Run,
    options: ChatOptions,
    *,
    base: bool = False,
    device: str = "auto",
) -> ChildPartner:
    """The model that a training run made, or (`base`) what it started from, in the run's prompt style (blocking).

    Raises PairsmithError where the model is not on this machine, UsageError where the run began with random weights.
    """
    if not base:
        model = str(tuned_model_of(home, workspace, run))
        return ChildPartner(model, options, name=f"training run {run.id}", device=device)
    located = located_base(base_of(run), home)
    if located.startswith("scratch:"):
        raise UsageError(
            f"training run {run.id} started from random weights: there is nobody to talk to",
            "Talk to what it became",
        )
    style = str(config_of(run).get("prompt_style", "alpaca"))
    return ChildPartner(
        located, options, name=base_of(run), style=style, device=device, models_dir=models_folder(home)
    )


class BackendPartner:
    """A conversation with a backend's model: it remembers what was said. Raises BackendError."""

    def __init__(self, backend: Backend, options: ChatOptions) -> None:
        self.name = f"{backend.name}:{backend.model}"
        self._backend = backend
        self._options = options
        self._said: list[Message] = [Message("system", options.system)] if options.system else []

    async def reply(self, text: str) -> AsyncGenerator[str | Answer, None]:
        """See Partner. An answer that failed or was given up is not remembered, nor is its question."""
        options = self._options
        capabilities = await self._backend.capabilities()
        # llama-cpp writes the plain Alpaca prompt for a model without a template.
        chats = capabilities.chat or self._backend.name == "llama-cpp"
        asked = [*self._said, Message("user", text)]
        request = Request(
            messages=tuple(asked) if chats else (),
            prompt=None if chats else text,
            max_tokens=options.max_tokens,
            temperature=options.temperature,
            seed=options.seed,
            deadline_s=_DEADLINE_S,
        )
        whole: Completion | None = None
        pieces = self._backend.stream(request)
        try:
            async for chunk in pieces:
                if chunk.text:
                    yield chunk.text
                whole = chunk.completion or whole
        finally:
            close = getattr(pieces, "aclose", None)
            if close is not None:
                await close()
        if whole is not None:
            if chats:
                self._said = [*asked, Message("assistant", whole.text)]
            yield Answer(whole.text, whole.usage.completion_tokens, whole.finish_reason)

    async def close(self) -> None:
        """See Partner."""
        await self._backend.close()


class ChildPartner:
    """A model of our own: every question stands alone, as in its training. Raises TrainingFailed."""

    def __init__(
        self,
        model: str,
        options: ChatOptions,
        *,
        name: str,
        style: str | None = None,
        device: str = "auto",
        models_dir: Path | None = None,
    ) -> None:
        self.name = name
        arguments: list[object] = ["chat", model, "--device", device, "--offline"]
        arguments += ["--models-dir", models_dir] if models_dir else []
        arguments += ["--prompt-style", style] if style else []
        arguments += ["--max-new-tokens", options.max_tokens or 256]
        arguments += ["--temperature", options.temperature or 0.0]
        arguments += ["--seed", options.seed] if options.seed is not None else []
        self._arguments = arguments
        self._child: TrainingChild | None = None
        self._lines: AsyncGenerator[ChildEvent, None] | None = None

    async def start(self) -> ChildEvent:
        """Load the model; what the child says of it (device, prompt_style, base_is_random, parameters)."""
        await self.close()
        self._child = TrainingChild(self._arguments, stand_back=False)
        self._lines = self._child.lines()
        async for event in self._lines:
            if event["event"] == "error":
                await self.close()
                raise failure_of(event)
            if event["event"] == "started":
                return event
        await self.close()
        raise TrainingFailed("the model's process ended before it was ready", kind="vanished")

    async def reply(self, text: str) -> AsyncGenerator[str | Answer, None]:
        """See Partner. Giving an answer up ends the child; the next question loads the model again."""
        if self._lines is None:
            await self.start()
        assert self._child is not None
        assert self._lines is not None
        await self._child.write({"instruction": text, "input": ""})
        complete = False
        try:
            async for event in self._lines:
                if event["event"] == "text":
                    yield str(event.get("delta", ""))
                elif event["event"] == "answer":
                    complete = True
                    rate = event.get("tokens_per_s")
                    yield Answer(
                        str(event.get("text", "")),
                        int(event.get("tokens") or 0),
                        str(event.get("finish_reason", "stop")),
                        float(rate) if isinstance(rate, int | float) else None,
                    )
                    return
                elif event["event"] == "error":
                    complete = True
                    raise failure_of(event)
            raise TrainingFailed("the model's process ended in the middle of the answer", kind="vanished")
        finally:
            if not complete:
                await self.close()

    @property
    def pid(self) -> int | None:
        """Of the model's process; None while there is none."""
        return None if self._child is None else self._child.pid

    @property
    def alive(self) -> bool:
        """Whether the model is loaded, or being loaded."""
        return self.pid is not None

    async def close(self) -> None:
        """See Partner."""
        if self._child is not None:
            self._child.terminate()  # in the middle of an answer it does not see that its input has ended
        lines, self._lines, self._child = self._lines, None, None
        if lines is not None:
            with contextlib.suppress(RuntimeError):
                await lines.aclose()
