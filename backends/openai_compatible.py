"""The `openai` door: any OpenAI-compatible server by its base URL (vLLM, llama-server, LM Studio, TGI, OpenAI).

`ChatServer` is also what the `nim` door is made of. It learns from the server: a field that is refused is not sent
again, and the capability that needs it is withdrawn.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from .addresses import read_url
from .errors import (
    BackendError,
    BadRequest,
    ContextOverflow,
    FieldRejected,
    MalformedReply,
    NoSuchModel,
    Refused,
    Unauthorized,
)
from .http import Answer, Wire
from .http_errors import error_of
from .json_text import mapping, parse_json
from .local_only import check_local
from .model_names import offered_instead
from .openai_door import Door, DoorKey
from .openai_reply import (
    Reply,
    add_chunk,
    choice_probabilities,
    completion_of,
    read_models,
    read_reply,
    usage_of,
)
from .openai_request import JSON_OBJECT, Dialect, Payload, build, build_score
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
from .registry import OPENAI_URL, Settings
from .reward import attributes_of, is_reward_model, read_reward
from .sse import DONE, EventReader
from .text import one_line

SIDE_DEADLINE_S = 15.0
"""For lists of models: they help, and must not hold anything up."""
OPENAI = Dialect("openai", extras=True, raw_prompts=True, most_temperature=2.0)
_LOGPROB_OWNERS = frozenset({"vllm", "llamacpp", "openai", "system", "openai-internal", "sglang"})
_SUBSTITUTES = {"max_tokens": "max_completion_tokens"}


def open_openai(model: str, settings: Settings) -> ChatServer:
    """The door to a model of an OpenAI-compatible server. Raises `NotAllowed`, `BadRequest` (bad address)."""
    url = settings.base_url or OPENAI_URL
    check_local(url, settings.local_only)
    address = read_url(url)
    door = Door(
        OPENAI,
        address,
        "OPENAI_API_KEY",
        key_needed=address.origin == read_url(OPENAI_URL).origin,
        key_may_go=settings.base_url_trusted,
        parallel=4,
    )
    return ChatServer(model, door, settings.env)


class ChatServer:
    """A `Backend` that speaks OpenAI's HTTP interface."""

    def __init__(self, model: str, door: Door, env: Mapping[str, str]) -> None:
        self.name = door.dialect.name
        self.model = model
        self.origin = door.address.origin
        self._door = door
        self._wire = Wire(door.address, f"the server at {self.origin}")
        self.remote = not self._wire.local
        self.pacing_key = f"{self.origin} {door.key_name}"
        self._reward = is_reward_model(model)
        self._key = DoorKey(door, env)
        self._dropped: dict[str, str] = {}
        self._logprobs: bool | None = None
        self._reward_attributes = attributes_of(model)
        self._listed: ModelInfo | None = None
        self._list_asked = False
        self._offered: str | None = None

    async def complete(self, request: Request) -> Completion:
        """One completion request. Raises `BackendError`."""
        payload = build(request, self.model, self._door.dialect, self._dropped, reward=self._reward)
        started = time.monotonic()
        value = await self._asked(payload, request.deadline_s)
        completion = self._completion(read_reply(value), request, payload, started)
        self._learn_logprobs(payload, completion.logprobs)
        return completion

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """As `complete`, piece by piece. Reasoning is held back. Raises `MalformedReply` where the stream is cut."""
        if self._reward:
            completion = await self.complete(request)
            yield Chunk(completion.text, completion)
            return
        payload = build(request, self.model, self._door.dialect, self._dropped, reward=False)
        payload.fields["stream"] = True
        started, reply, gate = time.monotonic(), Reply(), ReasoningGate()
        async for event in self._events(payload, request.deadline_s):
            if shown := gate.feed(add_chunk(reply, event)):
                yield Chunk(shown)
        if reply.finish is None:
            raise MalformedReply(f"{self._wire.server} ended the stream before the answer was complete")
        completion = self._completion(reply, request, payload, started)
        self._learn_logprobs(payload, completion.logprobs)
        yield Chunk(gate.finish(), completion)

    async def score(self, request: ScoreRequest) -> Scored:
        """The probabilities of the choices among the likeliest 20 next tokens. Raises `BadRequest` for more than one
        suffix, `FieldRejected` where the server gives no log-probabilities."""
        if len(request.suffixes) != 1:
            raise BadRequest("this server scores one suffix a request", reached=False)
        if self._reward:
            raise BadRequest(f"{self.model} is a reward model: it scores by itself", reached=False)
        self._refuse_without_logprobs(reached=False)
        payload = build_score(request, self.model, self._door.dialect, self._dropped)
        started = time.monotonic()
        reply = read_reply(await self._asked(payload, request.deadline_s))
        self._learn_logprobs(payload, reply.logprobs)
        if reply.finish == "content_filter":
            raise Refused("the policy of the server cut the answer")
        self._refuse_without_logprobs(reached=True)
        row = choice_probabilities(reply.logprobs or (), request.choices)
        return Scored(
            (row,),
            usage_of(reply.usage, _characters(payload), 1),
            reply.model or self.model,
            time.monotonic() - started,
            {**reply.details, **({"changed": payload.changed} if payload.changed else {})},
        )

    async def models(self) -> list[ModelInfo]:
        """The server's list. Being on it proves nothing. Raises `BackendError`."""
        answer = await self._wire.exchange(
            "GET", "/models", key=await self._key.get(), deadline_s=SIDE_DEADLINE_S
        )
        if not answer.ok:
            raise self._failure(answer)
        found = read_models(self._read(answer))
        if not found and "error" in mapping(self._read(answer)):
            raise self._failure(answer)
        return found

    async def capabilities(self) -> Capabilities:
        """What is known of server and model, without a completion: from its list, and from what it refused so far.

        Log-probabilities count as offered once an answer had them (`health` asks for some), or where the list
        says that the server is one which always has them.
        """
        if not self._list_asked and not self._reward and self._door.dialect.raw_prompts:
            await self._look_in_list()
        return Capabilities(
            json_schema=not self._reward and self._dropped.get("response_format") != "",
            logprobs=self._logprobs is True,
            seed=not self._reward and "seed" not in self._dropped,
            reward_attributes=self._reward_attributes,
            suffixes_per_score=1 if self._logprobs is True and not self._reward else 0,
            parallel=self._door.parallel,
            context_length=self._listed.context_length if self._listed else None,
        )

    async def health(self) -> Health:
        """Makes a completion of one token, which alone proves that key and model work. Never raises."""
        try:
            version = await self._try_one_token()
        except BackendError as error:
            return Health(False, error.message, error.advice, error=error)
        return Health(True, f"ready: {one_line(self.model, 80)} at {self.origin}", version=version)

    async def close(self) -> None:
        """Close the connections."""
        await self._wire.close()

    async def _try_one_token(self) -> str | None:
        messages: tuple[Message, ...] = (Message("user", "Say: ok"),)
        if self._reward:
            messages += (Message("assistant", "ok"),)
        top = None if self._reward or self._logprobs is not None else 1
        for _ in range(4):
            request = Request(
                messages, max_tokens=1, temperature=0, top_logprobs=top, deadline_s=2 * SIDE_DEADLINE_S
            )
            payload = build(request, self.model, self._door.dialect, self._dropped, reward=self._reward)
            try:
                reply = read_reply(await self._asked(payload, request.deadline_s))
            except FieldRejected:
                continue
            self._learn_logprobs(payload, reply.logprobs)
            if self._reward:
                self._reward_attributes = tuple(read_reward(reply.choice, reply.content or ""))
            return text if isinstance(text := reply.details.get("system_fingerprint"), str) else None
        raise BadRequest(f"{self._wire.server} takes no request of ours")

    async def _asked(self, payload: Payload, deadline_s: float) -> Any:
        """The JSON of a good answer. Anything else is raised."""
        answer = await self._wire.exchange(
            "POST", payload.path, payload.fields, key=await self._key.get(), deadline_s=deadline_s
        )
        if answer.ok:
            value = self._read(answer)
            if isinstance(value, dict) and isinstance(value.get("choices"), list) and value["choices"]:
                return value
        raise await self._explained(self._failure(answer, payload))

    async def _events(self, payload: Payload, deadline_s: float) -> AsyncIterator[Any]:
        """The events of a stream, read as JSON, up to [DONE]."""
        reader, key = EventReader(), await self._key.get()
        async with self._wire.open(
            "POST", payload.path, payload.fields, key=key, deadline_s=deadline_s, streaming=True
        ) as stream:
            is_json = "json" in stream.headers.get("content-type", "")
            if not 200 <= stream.status < 300 or is_json:
                answer = await stream.rest()
                raise await self._explained(self._failure(answer, payload))
            async for portion in stream.portions:
                for data in reader.feed(portion):
                    if data == DONE:
                        return
                    yield self._event(data, payload)
            for data in reader.finish():
                if data != DONE:
                    yield self._event(data, payload)

    def _event(self, data: str, payload: Payload) -> Any:
        answer = Answer(200, {}, data.encode("utf-8", "replace"))
        value = self._read(answer)
        if isinstance(value, dict) and value.get("error"):
            raise self._failure(answer, payload)
        return value

    def _completion(self, reply: Reply, request: Request, payload: Payload, started: float) -> Completion:
        try:
            completion = completion_of(
                reply,
                model=self.model,
                asked_characters=_characters(payload),
                latency_s=time.monotonic() - started,
                changed=payload.changed,
            )
        except (MalformedReply, Refused) as error:
            self._key.hide_in(error)
            raise
        if completion.reward is not None:
            self._reward_attributes = tuple(completion.reward)
        return completion

    def _read(self, answer: Answer) -> Any:
        said = ""
        # The message quotes a part of the body: a key that is cut there would not be found afterwards.
        for body in (answer.body, self._key.redacted_body(answer.body)):
            try:
                return parse_json(body)
            except MalformedReply as error:
                said = error.message
        raise MalformedReply(f"{self._wire.server}, HTTP {answer.status}: {said}", status=answer.status)

    def _failure(self, answer: Answer, payload: Payload | None = None) -> BackendError:
        """The typed error of an answer; a refused field is remembered."""
        error = error_of(
            answer.status,
            answer.headers,
            self._key.redacted_body(answer.body),
            server=self._wire.server,
            model=one_line(self.model, 80),
            optional=payload.optional if payload else (),
        )
        self._key.hide_in(error)
        if isinstance(error, FieldRejected) and payload is not None:
            self._drop(error.field, payload.fields[error.field], error.message)
            error.advice = "The next try goes without it"
        if isinstance(error, Unauthorized) and not self._key.is_there:
            error.message = f"{self._wire.server} wants a key, and none was sent"
            error.advice = self._key.advice
        return error

    def _drop(self, field: str, sent: Any, said: str) -> None:
        """Remember a refusal. Several requests may bring the same one: it counts against what they had sent."""
        substitute = _SUBSTITUTES.get(field, "") if self._door.dialect.extras else ""
        if field == "response_format" and sent["type"] != JSON_OBJECT and JSON_OBJECT in said:
            substitute = JSON_OBJECT
        if self._dropped.get(field) != "":
            self._dropped[field] = substitute
        if field in _SUBSTITUTES.values():
            self._dropped |= {name: "" for name, other in _SUBSTITUTES.items() if other == field}
        if field in ("logprobs", "top_logprobs"):
            self._logprobs = False
            self._dropped["logprobs"] = self._dropped["top_logprobs"] = ""

    def _learn_logprobs(self, payload: Payload, found: object) -> None:
        if "logprobs" in payload.fields:
            self._logprobs = bool(found)

    def _refuse_without_logprobs(self, *, reached: bool) -> None:
        if self._logprobs is False:
            raise FieldRejected(
                f"{self._wire.server} gives no log-probabilities for {one_line(self.model, 80)}",
                field="logprobs",
                advice="Judge by JSON instead (--kind json)",
                reached=reached,
            )

    async def _explained(self, error: BackendError) -> BackendError:
        """An error about the model, with what the server offers instead."""
        if not isinstance(error, NoSuchModel):
            if isinstance(error, ContextOverflow) and self._listed and self._listed.context_length:
                error.advice += f" (it holds {self._listed.context_length} tokens)"
            return error
        if self._offered is None:
            listed: list[ModelInfo] = []
            with contextlib.suppress(BackendError):  # the list is a courtesy, this error is the news
                listed = await self.models()
            self._offered = offered_instead(self.model, listed)
        error.advice = ". ".join(part.rstrip(". ") for part in (error.advice, self._offered) if part)
        return error

    async def _look_in_list(self) -> None:
        try:
            listed = await self.models()
        except BackendError as error:
            self._list_asked = error.reached
            return
        self._list_asked = True
        mine = [m for m in listed if m.id == self.model]
        self._listed = mine[0] if mine else listed[0] if len(listed) == 1 else None
        if self._logprobs is None and self._listed and self._listed.description.lower() in _LOGPROB_OWNERS:
            self._logprobs = True


def _characters(payload: Payload) -> int:
    prompt = payload.fields.get("prompt")
    if isinstance(prompt, str):
        return len(prompt)
    return sum(len(m["content"]) for m in payload.fields.get("messages", ()))
