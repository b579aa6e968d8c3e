"""Requests to one Ollama server, through the `ollama` package's asynchronous client.

The package sets no deadline, no size limit and no bounds on where its key goes, and raises three families of
exceptions besides its own; here a request ends with a JSON object, the lines of a stream, or a `BackendError`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import httpx

from .addresses import Address
from .errors import BackendError, MalformedReply, NotReachable, TimedOut
from .http import CONNECT_S, KEEP_ALIVE_S, MOST_BYTES
from .http_errors import hide_keys, retry_after
from .keys import Secret
from .local_only import is_local_host
from .ollama_errors import error_from
from .pacing import note_written
from .text import one_line

if TYPE_CHECKING:
    from ollama import AsyncClient

MAX_STREAM_BYTES: Final = 64 << 20
"""A streamed answer takes some 100 bytes a token, and several times that with logprobs."""
MAX_LINE_BYTES: Final = 1 << 20
_SEPARATORS: Final = {
    char.encode(): f"\\u{ord(char):04x}".encode() for char in ("\u0085", "\u2028", "\u2029")
}
_CALL: Final = "pairsmith.call"


@dataclass(frozen=True, slots=True)
class Cap:
    """The most bytes that a body, and one line of it, may have; None: no limit."""

    total: int | None = MOST_BYTES
    line: int | None = None


@dataclass(slots=True)
class _Call:
    """One request on its way: what bounds it, and how far it came."""

    completion: bool = False
    """Whether the ledger counts it as a call once it has left."""
    cap: Cap = Cap()
    sent: bool = False

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        if event == "http11.send_request_headers.started":
            self.sent = True
        elif event == "http11.send_request_body.complete" and self.completion:
            note_written()

    @property
    def extensions(self) -> dict[str, Any]:
        return {"trace": self.trace, _CALL: self}

    @property
    def reached(self) -> bool:
        return self.completion and self.sent


class Wire:
    """Requests to one server. Not bound to an event loop. `model` is only for messages."""

    def __init__(self, address: Address, *, model: str = "", key: Secret | None = None) -> None:
        self.origin = address.origin
        self._address = address
        self._model = model
        self._key = key
        self._client: AsyncClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._installed = True

    async def look_for_program(self) -> None:
        """See anew whether there is an `ollama` program on this machine: it decides what the advice is."""
        self._installed = await asyncio.to_thread(shutil.which, "ollama") is not None

    async def get(self, path: str, *, deadline_s: float) -> dict[str, Any]:
        """The JSON object at a path. Raises `BackendError`."""
        return await self._exchange("GET", path, None, deadline_s, _Call())

    async def post(
        self, path: str, body: Mapping[str, Any], *, deadline_s: float, completion: bool = False
    ) -> dict[str, Any]:
        """The JSON object that answers a body. `completion`: the ledger counts it as a call if it leaves."""
        return await self._exchange("POST", path, body, deadline_s, _Call(completion))

    async def lines(
        self,
        path: str,
        body: Mapping[str, Any],
        *,
        deadline_s: float | None,
        idle_s: float | None = None,
        completion: bool = False,
    ) -> AsyncGenerator[dict[str, Any], None]:
        """The JSON lines of a stream. An error line is raised; closing the iterator closes the connection.

        `deadline_s` is for the whole stream (None: no end), `idle_s` for the silence between two pieces.
        """
        end = None if deadline_s is None else time.monotonic() + deadline_s
        call = _Call(completion, Cap(MAX_STREAM_BYTES if deadline_s is not None else None, MAX_LINE_BYTES))
        with self._translated(call):
            client = await self._open()
            stream = await client._request(
                dict[str, Any],
                "POST",
                path,
                json=body,
                stream=True,
                timeout=httpx.Timeout(idle_s, connect=CONNECT_S),
                extensions=call.extensions,
            )
        try:
            while True:
                with self._translated(call):
                    async with asyncio.timeout(None if end is None else max(0.0, end - time.monotonic())):
                        part = await anext(stream, None)
                if part is None:
                    return
                yield part
        finally:
            with contextlib.suppress(Exception):
                await stream.aclose()  # type: ignore[attr-defined]

    async def send(
        self,
        method: str,
        path: str,
        *,
        deadline_s: float | None,
        idle_s: float | None = None,
        content: AsyncIterator[bytes] | None = None,
        length: int | None = None,
    ) -> None:
        """Send raw bytes of a known length, or nothing. Raises `BackendError` unless that succeeds."""
        headers = {"content-type": "application/octet-stream"} if content is not None else {}
        if length is not None:
            headers["content-length"] = str(length)
        call = _Call()
        with self._translated(call):
            async with asyncio.timeout(deadline_s):
                client = await self._open()
                await client._request_raw(  # type: ignore[no-untyped-call]
                    method,
                    path,
                    content=content,
                    headers=headers,
                    timeout=httpx.Timeout(idle_s, connect=CONNECT_S),
                    extensions=call.extensions,
                )

    async def close(self) -> None:
        """Close every connection. Safe to call twice; a later request opens new ones."""
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            with contextlib.suppress(Exception):
                await client._client.aclose()

    async def _exchange(
        self, method: str, path: str, body: Mapping[str, Any] | None, deadline_s: float, call: _Call
    ) -> dict[str, Any]:
        with self._translated(call):
            async with asyncio.timeout(deadline_s):
                client = await self._open()
                reply: dict[str, Any] = await client._request(
                    dict[str, Any], method, path, json=body, extensions=call.extensions
                )
            if reply.get("error"):
                raise MalformedReply(f"HTTP 200 with an error in it: {one_line(str(reply['error']), 160)}")
        return reply

    async def _open(self) -> AsyncClient:
        """The client of this event loop. Made in a thread: the package and the certificates take a while to load."""
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            made = await asyncio.to_thread(self._build)
            await self.look_for_program()
            if self._client is None or self._loop is not loop:
                self._client, self._loop = made, loop
        return self._client

    def _build(self) -> AsyncClient:
        from ollama import AsyncClient

        limits = httpx.Limits(max_connections=None, keepalive_expiry=KEEP_ALIVE_S)
        client = AsyncClient(
            host=self._address.url,
            timeout=httpx.Timeout(None, connect=CONNECT_S),
            follow_redirects=False,
            trust_env=False,
            headers={"Accept-Encoding": "identity", "User-Agent": "pairsmith"},
            transport=_CappedTransport(
                httpx.AsyncHTTPTransport(
                    trust_env=False, verify=self._address.scheme == "https", limits=limits
                )
            ),
            event_hooks={"response": [self._check]},
        )
        # The package puts $OLLAMA_API_KEY into the headers for any host whatever.
        client._client.headers.pop("authorization", None)
        if self._key is not None:
            client._client.headers["authorization"] = f"Bearer {self._key.reveal()}"
        return client

    async def _check(self, response: httpx.Response) -> None:
        """Raise our error for a bad status: the package's own drops the headers, and fails on some bodies."""
        if response.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            raise MalformedReply("the server compressed its reply although that was ruled out")
        if response.is_success:
            return
        body = (await response.aread()).decode("utf-8", "replace")
        raise error_from(
            response.status_code,
            self._key.redact(body) if self._key is not None else body,
            model=self._model,
            origin=self.origin,
            retry_after=retry_after(response.headers),
        )

    def _not_reachable(self) -> NotReachable:
        silent = f"nothing answers at {self.origin}"
        if not is_local_host(self._address.host):
            return NotReachable(silent, advice="Check OLLAMA_HOST and the network")
        if not self._installed:
            advice = "Install it from https://ollama.com/download, or set OLLAMA_HOST"
            return NotReachable(f"Ollama is not installed here, and {silent}", advice=advice)
        return NotReachable(f"Ollama is not started: {silent}", advice="Start it with: ollama serve")

    @contextlib.contextmanager
    def _translated(self, call: _Call) -> Iterator[None]:
        """Every failure becomes a `BackendError`, without the chain of causes: those hold headers and bodies."""
        try:
            yield
            return
        except BackendError as problem:
            error = problem
        except Exception as problem:
            error = self._translate(problem, call)
        error.reached = error.reached and call.reached
        raise error

    def _translate(self, problem: Exception, call: _Call) -> BackendError:
        """Our error for whatever the package, httpx, json or pydantic raised."""
        from ollama import ResponseError

        if isinstance(problem, ResponseError):
            said = problem.error if isinstance(problem.error, str) else ""
            return error_from(problem.status_code, said, model=self._model, origin=self.origin)
        timed_out = isinstance(problem, TimeoutError | httpx.TimeoutException)
        broken = isinstance(problem, OSError | httpx.TransportError)
        if (timed_out or broken) and not call.sent:
            return self._not_reachable()
        if timed_out:
            advice = "A model that is being loaded may need longer: try again, or allow more time"
            return TimedOut(f"no complete answer from {self.origin} in time", advice=advice)
        if broken:
            return MalformedReply(f"{self.origin} broke the connection before its answer was complete")
        if isinstance(problem, json.JSONDecodeError):
            sample = hide_keys(one_line(problem.doc[:200], 80)) or "an empty body"
            return MalformedReply(f"not JSON from {self.origin}: {sample}")
        return MalformedReply(f"no proper reply from {self.origin} ({type(problem).__name__})")


class _CappedTransport(httpx.AsyncBaseTransport):
    """A transport that stops reading a body at the request's `Cap`."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._inner.handle_async_request(request)
        call = request.extensions.get(_CALL, _Call())
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _CappedStream(response.stream, call.cap)
        if call.cap.line is not None:
            response.stream = _OneLinePerObject(response.stream)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class _CappedStream(httpx.AsyncByteStream):
    def __init__(self, inner: httpx.AsyncByteStream, cap: Cap) -> None:
        self._inner = inner
        self._cap = cap

    async def __aiter__(self) -> AsyncIterator[bytes]:
        total = line = 0
        async for chunk in self._inner:
            total += len(chunk)
            newline = chunk.rfind(b"\n")
            line = line + len(chunk) if newline < 0 else len(chunk) - newline - 1
            for size, most in ((total, self._cap.total), (line, self._cap.line)):
                if most is not None and size > most:
                    raise MalformedReply(f"the server's reply is too large: more than {most:,} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


class _OneLinePerObject(httpx.AsyncByteStream):
    """Writes those three characters as JSON escapes that Python takes for ends of lines, and JSON for text."""

    def __init__(self, inner: httpx.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        held = b""
        async for chunk in self._inner:
            data = held + chunk
            cut = _half_separator(data)
            held = data[len(data) - cut :]
            if whole := data[: len(data) - cut]:
                for raw, escaped in _SEPARATORS.items():
                    whole = whole.replace(raw, escaped)
                yield whole
        if held:
            yield held

    async def aclose(self) -> None:
        await self._inner.aclose()


def _half_separator(data: bytes) -> int:
    """How many bytes at the end may be the beginning of a separator."""
    return next((n for n in (2, 1) if any(data.endswith(raw[:n]) and len(raw) > n for raw in _SEPARATORS)), 0)
