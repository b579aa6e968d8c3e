"""A wire-exact Ollama on loopback for tests and tours: every route we use, every fault of `ollama_plays`.

In a test:      async with OllamaServer(brain=lambda request: "Use `git switch`.") as server: server.url
From a shell:   python -m tests.servers.ollama --port 11434 [--play "queue full"] [--version 0.12.5]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import math
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.servers.http_server import HttpServer, Incoming, Outgoing
from tests.servers.ollama_library import blob, create, pull
from tests.servers.ollama_parts import FakeModel, Layer, Said, count_tokens, pieces_of, write_answer
from tests.servers.ollama_plays import (
    PLAYS,
    Answer,
    Json,
    Play,
    as_json,
    as_lines,
    error,
    native_overflow,
)

STARTED = "2026-08-01T10:00:00.123456789Z"
MILLISECOND = 1_000_000


Brain = Callable[[Json], "str | Said"]


def echo(request: Json) -> str:
    """The default brain."""
    messages = request.get("messages") or [{"content": request.get("prompt", "")}]
    return f"You said: {messages[-1].get('content', '')}"


@dataclass(frozen=True)
class _Played(Outgoing):
    answer: Answer = field(default_factory=Answer)


@dataclass(eq=False)
class OllamaServer(HttpServer):
    """The server and everything a test may want to set or see.

    `plays`: names of faults, one taken off for each completion request; `always`: one for all of them.
    """

    brain: Brain = echo
    models: Iterable[FakeModel] = (FakeModel(),)
    version: str = "0.33.0"
    plays: Iterable[str | Play] = ()
    always: str | Play | None = None
    port: int = 0
    allocate: int | None = None
    """The context that is really allocated, where it is less than asked for (too little memory)."""
    slow_load_s: float = 0.3
    load_delay: float = 0.0
    piece_delay: float = 0.0
    library: dict[str, list[Layer]] = field(default_factory=dict)
    pull_error: str = ""
    """Where set, a pull ends with this error in the middle."""
    pull_delay: float = 0.0

    def __post_init__(self) -> None:
        super().__init__(Outgoing(), self.port)
        self.installed = {model.name: model for model in self.models}
        self.script: deque[str | Play] = deque(self.plays)
        self.bodies: list[Json] = []
        """The JSON bodies of the completion requests."""
        self.loaded: dict[str, tuple[int, bool]] = {}
        """Model -> (num_ctx, shift) of its runner."""
        self.loads = 0
        """How often a runner was started: more than once a model means that the options changed."""
        self.blobs: dict[str, bytes] = {}
        self.created: dict[str, Json] = {}
        self.disconnects = 0
        """How often a client went away before it had its answer."""
        self._readers: dict[asyncio.StreamWriter, asyncio.StreamReader] = {}

    @property
    def completions(self) -> int:
        """How many completion requests came in, answered or not."""
        return len(self.bodies)

    async def answer(self, incoming: Incoming) -> Outgoing:
        return _Played(answer=self.respond(incoming.method, incoming.path, incoming.body))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._readers[writer] = reader
        try:
            await super()._serve(reader, writer)
        finally:
            del self._readers[writer]

    async def _write(self, writer: asyncio.StreamWriter, out: Outgoing) -> bool:
        assert isinstance(out, _Played)
        there = await write_answer(self._readers[writer], writer, out.answer)
        self.disconnects += not there
        return there

    # ---- routes ------------------------------------------------------------------------------------------

    def respond(self, method: str, path: str, body: bytes) -> Answer:
        """What to answer to one request."""
        path = path.split("?", 1)[0]
        if path.startswith("/api/blobs/"):
            return blob(self, method, path.removeprefix("/api/blobs/"), body)
        parsed: Any = None
        if body:
            try:
                parsed = json.loads(body)
            except ValueError as problem:
                return error(400, str(problem))
        if method in ("GET", "HEAD") and path == "/":
            return Answer(200, b"Ollama is running", "text/plain; charset=utf-8")
        routes: dict[tuple[str, str], Callable[[Json], Answer]] = {
            ("GET", "/api/version"): lambda _: as_json({"version": self.version}),
            ("GET", "/api/tags"): lambda _: as_json(
                {"models": [self._entry(m) for m in self.installed.values()]}
            ),
            ("GET", "/api/ps"): lambda _: as_json({"models": self._running()}),
            ("POST", "/api/show"): self._show,
            ("POST", "/api/chat"): lambda request: self._complete(request, chat=True),
            ("POST", "/api/generate"): lambda request: self._complete(request, chat=False),
            ("POST", "/api/pull"): lambda request: pull(self, request),
            ("POST", "/api/create"): lambda request: create(self, request),
            ("DELETE", "/api/delete"): self._delete,
        }
        route = routes.get((method, path))
        if route is None:
            return Answer(404, b"404 page not found", "text/plain")
        return route(parsed if isinstance(parsed, dict) else {})

    def knows(self, version: str) -> bool:
        """Whether the played server is at least this old a version."""
        return _version(self.version) >= _version(version)

    def find(self, name: str) -> FakeModel | None:
        """The installed model of this name; the tag is `latest` where there is none."""
        return self.installed.get(name) or self.installed.get(f"{name}:latest")

    def _entry(self, model: FakeModel) -> Json:
        details: Json = {
            "parent_model": "",
            "format": "gguf",
            "family": model.family,
            "families": [model.family],
            "parameter_size": "3.2B",
            "quantization_level": "Q4_K_M",
        }
        entry: Json = {
            "name": model.name,
            "model": model.name,
            "modified_at": "2025-05-04T17:37:44.706015396-07:00",
            "size": 384 if model.remote_host else model.size,
            "digest": hashlib.sha256(model.name.encode()).hexdigest(),
            "details": details,
        }
        if self.knows("0.13.0"):
            details |= {"context_length": model.context_length, "embedding_length": 3072}
            entry["capabilities"] = list(model.capabilities)
        if model.remote_host:
            entry |= {"remote_model": model.remote_model, "remote_host": model.remote_host}
        return entry

    def _running(self) -> list[Json]:
        running = []
        for name, (window, _) in self.loaded.items():
            model = self.find(name)
            entry: Json = self._entry(model) if model else {"name": name, "model": name}
            entry |= {"expires_at": STARTED, "size_vram": 0}
            if self.knows("0.12.6"):
                entry["context_length"] = window
            running.append(entry)
        return running

    def _show(self, request: Json) -> Answer:
        model = self.find(str(request.get("model") or request.get("name") or ""))
        if model is None:
            return error(404, f"model '{request.get('model')}' not found")
        entry = self._entry(model)
        shown: Json = {
            "license": "",
            "modelfile": f"FROM {model.name}",
            "parameters": model.parameters,
            "template": model.template,
            "details": entry["details"],
            "model_info": {
                "general.architecture": model.family,
                "general.parameter_count": 3212749888,
                f"{model.family}.context_length": model.context_length,
                "tokenizer.ggml.tokens": None,
            },
            "modified_at": entry["modified_at"],
        }
        if self.knows("0.6.4"):
            shown["capabilities"] = list(model.capabilities)
        if model.remote_host:
            shown |= {"remote_model": model.remote_model, "remote_host": model.remote_host}
        return as_json(shown)

    def _delete(self, request: Json) -> Answer:
        model = self.find(str(request.get("model")))
        if model is None:
            return error(404, f"model '{request.get('model')}' not found")
        del self.installed[model.name]
        return Answer(200)

    # ---- completions -------------------------------------------------------------------------------------

    def _complete(self, request: Json, *, chat: bool) -> Answer:
        if not (request.get("messages") if chat else request.get("prompt")):
            return self._load_only(request, chat=chat)
        self.bodies.append(request)
        play = self.always if self.always is not None else (self.script.popleft() if self.script else None)
        if play is not None:
            answer = (PLAYS[play] if isinstance(play, str) else play)(self, request)
            if answer is not None:
                return answer
        problem = self._refusal(request, chat=chat)
        return problem if problem is not None else self.say(request)

    def _load_only(self, request: Json, *, chat: bool) -> Answer:
        name = str(request.get("model") or "")
        model = self.find(name)
        if model is None:
            return error(404, f"model '{name}' not found") if name else error(400, "model is required")
        reason = "load"
        if request.get("keep_alive") == 0:
            self.loaded.pop(model.name, None)
            reason = "unload"
        else:
            self._load(model, request)
        empty: Json = {"message": {"role": "assistant", "content": ""}} if chat else {"response": ""}
        return as_json({"model": name, "created_at": STARTED, **empty, "done": True, "done_reason": reason})

    def _refusal(self, request: Json, *, chat: bool) -> Answer | None:
        name = str(request.get("model") or "")
        model = self.find(name)
        if not name:
            return error(400, "model is required")
        if model is None:
            return error(404, f"model '{name}' not found")
        if "completion" not in model.capabilities:
            return error(400, f'"{name}" does not support {"chat" if chat else "generate"}')
        if request.get("think") and "thinking" not in model.capabilities:
            return error(400, f'"{name}" does not support thinking')
        options = request.get("options") or {}
        for option in ("num_ctx", "num_predict", "seed", "top_k"):
            if option in options and not isinstance(options[option], int):
                return error(400, f'option "{option}" must be of type integer')
        if not 0 <= int(request.get("top_logprobs") or 0) <= 20:
            return error(400, "top_logprobs must be between 0 and 20")
        form = request.get("format")
        if form not in (None, "", "json") and not isinstance(form, dict):
            return error(
                400, f'invalid format: {json.dumps(form)}; expected "json" or a valid JSON Schema object'
            )
        tokens, window = self.prompt_tokens(request), self.window_of(request)
        if tokens < window:
            return None
        if not model.rendered or (request.get("truncate") is False and self.knows("0.12.6")):
            return native_overflow(tokens, window)
        return self.say(request, prompt_tokens=window - max((window - 4) // 2, 1))

    def prompt_tokens(self, request: Json) -> int:
        """How many tokens the prompt of this request is to the fake."""
        texts = [str(m.get("content", "")) for m in request.get("messages", [])] or [
            str(request.get("prompt"))
        ]
        return sum(map(count_tokens, texts)) + 4 * len(texts)

    def window_of(self, request: Json) -> int:
        """The context that this request gets."""
        model = self.find(str(request.get("model"))) or FakeModel()
        asked = int((request.get("options") or {}).get("num_ctx") or 4096)
        return min(asked, model.context_length, self.allocate or asked)

    def _load(self, model: FakeModel, request: Json) -> bool:
        runner = (self.window_of(request), request.get("shift") is not False)
        if self.loaded.get(model.name) == runner:
            return False
        self.loaded[model.name] = runner
        self.loads += 1
        return True

    def say(
        self,
        request: Json,
        *,
        text: str | None = None,
        thinking: str | None = None,
        prompt_tokens: int | None = None,
        tokens: int | None = None,
        reason: str = "",
        delay: float = 0.0,
    ) -> Answer:
        """The honest answer, or one with a few things set otherwise."""
        changed: dict[str, Any] = {
            "text": text,
            "thinking": thinking,
            "prompt_tokens": prompt_tokens,
            "tokens": tokens,
        }
        if request.get("stream") is False:
            answer = as_json(self.whole(request, reason=reason, **changed))
        else:
            lines: list[Any] = []
            for line in self.lines(request, reason=reason, **changed):
                lines += [line, self.piece_delay] if self.piece_delay else [line]
            answer = as_lines(lines)
        answer.delay = delay
        return answer

    def whole(self, request: Json, **changed: Any) -> Json:
        """The reply without streaming, as an object."""
        lines = list(self.lines(request, **changed))
        last, key = dict(lines[-1]), "message" if "message" in lines[-1] else "response"
        if key == "message":
            joined = {"role": "assistant", "content": "".join(p["message"].get("content", "") for p in lines)}
            thinking = "".join(p["message"].get("thinking", "") for p in lines)
            last[key] = joined | ({"thinking": thinking} if thinking else {})
        else:
            last[key] = "".join(p.get("response", "") for p in lines)
            thinking = "".join(p.get("thinking", "") for p in lines)
            last |= {"thinking": thinking} if thinking else {}
        if logprobs := [entry for piece in lines for entry in piece.get("logprobs", ())]:
            last["logprobs"] = logprobs
        return last

    def lines(
        self,
        request: Json,
        *,
        text: str | None = None,
        thinking: str | None = None,
        prompt_tokens: int | None = None,
        tokens: int | None = None,
        reason: str = "",
    ) -> Iterator[Json]:
        """The lines of a stream, the last one with the counts."""
        model = self.find(str(request.get("model"))) or FakeModel(str(request.get("model")))
        reloaded = self._load(model, request)
        answer = self.brain(request)
        said = answer if isinstance(answer, Said) else Said(answer)
        if text is None:
            text = said.text
        thinks = "thinking" in model.capabilities and request.get("think") is not False
        if thinking is None:
            thinking = said.thinking if thinks else ""
        pieces = pieces_of(text)
        limit = (request.get("options") or {}).get("num_predict")
        if isinstance(limit, int) and 0 <= limit < len(pieces) and tokens is None:
            pieces, reason = pieces[:limit], reason or "length"
        if thinking:
            yield self._piece(request, "", thinking=thinking)
        for position, piece in enumerate(pieces):
            yield self._piece(request, piece, logprobs=self._logprobs(request, said, piece, position))
        generated = tokens if tokens is not None else len(pieces) + count_tokens(thinking)
        prompt = prompt_tokens if prompt_tokens is not None else self.prompt_tokens(request)
        last = self._piece(request, "") | {"done": True, "done_reason": reason or "stop"}
        counts = {
            "total_duration": (2000 + generated) * MILLISECOND,
            "load_duration": (2000 if reloaded else 40) * MILLISECOND,
            "prompt_eval_count": prompt,
            "prompt_eval_duration": prompt * MILLISECOND,
            "eval_count": generated,
            "eval_duration": generated * MILLISECOND,
        }
        yield last | {key: value for key, value in counts.items() if value}

    def _piece(self, request: Json, text: str, *, thinking: str = "", logprobs: Json | None = None) -> Json:
        extra = {"thinking": thinking} if thinking else {}
        body: Json
        if "messages" in request:
            body = {"message": {"role": "assistant", "content": text} | extra}
        else:
            body = {"response": text} | extra
        found = {"logprobs": [logprobs]} if logprobs else {}
        return {"model": request.get("model"), "created_at": STARTED, **body, "done": False, **found}

    def _logprobs(self, request: Json, said: Said, piece: str, position: int) -> Json | None:
        if not request.get("logprobs") or not self.knows("0.12.11"):
            return None
        table = said.top[position] if position < len(said.top) else {piece: 0.9}
        ranked = sorted(table.items(), key=lambda item: -item[1])
        chosen = piece if position >= len(said.top) else ranked[0][0]
        entries = [
            {"token": token, "logprob": math.log(p) if p > 0 else -99999.0, "bytes": list(token.encode())}
            for token, p in ranked
        ]
        entry = next(e for e in entries if e["token"] == chosen)
        wanted = int(request.get("top_logprobs") or 0)
        return entry | ({"top_logprobs": entries[:wanted]} if wanted else {})


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


async def _main(arguments: argparse.Namespace) -> None:
    server = OllamaServer(
        models=[FakeModel(name) for name in arguments.model or ["llama3.2:latest"]],
        version=arguments.version,
        always=arguments.play,
        brain=(lambda _: arguments.say) if arguments.say is not None else echo,
        port=arguments.port,
        slow_load_s=arguments.slow_load,
    )
    async with server:
        print(server.url, flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Serve until interrupted; the address is the first line of standard output."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers.ollama", description=__doc__)
    parser.add_argument("--port", type=int, default=11434, help="0: any free one")
    parser.add_argument("--version", default="0.33.0", help="the version to play, e.g. 0.12.5")
    parser.add_argument("--model", action="append", help="a model that is installed (may be repeated)")
    parser.add_argument("--play", choices=sorted(PLAYS), help="the fault to play on every completion")
    parser.add_argument("--say", help="what the model answers to everything; without: an echo")
    parser.add_argument("--slow-load", type=float, default=30.0, help="seconds, for --play 'slow load'")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
