"""One exchange over HTTP, with everything bounded: total time, bytes after decompression, connections, trust.

No redirect is followed, no cookie kept, no proxy used for this machine, nothing retried. What goes wrong on the way
is a `BackendError`; what the server answers, whatever its status, is an `Answer`.
"""

from __future__ import annotations

import asyncio
import http.cookiejar
import json
import time
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from .addresses import Address
from .errors import BackendError, BadRequest, MalformedReply, NotReachable, TimedOut
from .keys import Secret
from .local_only import is_local_host
from .pacing import note_written
from .text import one_line

MOST_BYTES = 8 * 1024 * 1024
CONNECT_S = 15.0
KEEP_ALIVE_S = 4.0
"""Shorter than any server's: a request sent on a connection that the server is closing would be lost."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


@dataclass(slots=True)
class _Progress:
    """How far a request came, to tell a server that never saw it from one that did."""

    deadline: float
    sent: bool = False

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        if event == "http11.send_request_headers.started":
            self.sent = True
        elif event == "http11.send_request_body.complete":
            note_written()

    def left(self) -> float:
        return self.deadline - time.monotonic()


@dataclass(slots=True)
class Stream:
    """An answer whose body is still coming."""

    status: int
    headers: Mapping[str, str]
    portions: AsyncIterator[bytes] = field(repr=False)

    async def rest(self) -> Answer:
        """Wait for the whole body."""
        return Answer(self.status, self.headers, b"".join([p async for p in self.portions]))


class Wire:
    """Requests to one server. Not bound to an event loop: each gets its own connections."""

    def __init__(self, address: Address, server: str) -> None:
        """`server` is how messages call it."""
        self.address = address
        self.server = server
        self.local = is_local_host(address.host)
        self._client: httpx.AsyncClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def exchange(
        self,
        method: str,
        path: str,
        payload: Mapping[str, Any] | None = None,
        *,
        key: Secret | None = None,
        deadline_s: float,
    ) -> Answer:
        """Send, and wait for the whole answer. Raises `NotReachable`, `TimedOut`, `MalformedReply`, `BadRequest`."""
        async with self.open(method, path, payload, key=key, deadline_s=deadline_s) as stream:
            return await stream.rest()

    @asynccontextmanager
    async def open(
        self,
        method: str,
        path: str,
        payload: Mapping[str, Any] | None = None,
        *,
        key: Secret | None = None,
        deadline_s: float,
        streaming: bool = False,
    ) -> AsyncIterator[Stream]:
        """Send, and give the answer as soon as its headers are there. The deadline covers the body too."""
        progress = _Progress(time.monotonic() + deadline_s)
        client, request = self._prepared(method, path, payload, key, progress, streaming)
        response = await self._guarded(client.send(request, stream=True), progress)
        try:
            headers = {name.lower(): value for name, value in response.headers.items()}
            yield Stream(response.status_code, headers, self._portions(response, progress))
        finally:
            await response.aclose()

    async def close(self) -> None:
        """Close the connections. A later request opens new ones."""
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.aclose()

    def _prepared(
        self,
        method: str,
        path: str,
        payload: Mapping[str, Any] | None,
        key: Secret | None,
        progress: _Progress,
        streaming: bool,
    ) -> tuple[httpx.AsyncClient, httpx.Request]:
        """What a request needs before a socket opens. Raises `BadRequest` where address or environment forbid one."""
        try:
            return self._connected(), self._request(method, path, payload, key, progress, streaming)
        except (httpx.InvalidURL, ImportError, ValueError, OSError) as raw:
            # httpx also reads the proxies and certificates of the environment, and raises whatever it meets there
            why = one_line(str(raw), 160)
        raise BadRequest(
            f"no request to {self.server} can be made: {why}",
            advice="Check the address, and HTTPS_PROXY, ALL_PROXY and SSL_CERT_FILE in the environment",
            reached=False,
        )

    def _connected(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            self._loop = loop
            self._client = httpx.AsyncClient(
                follow_redirects=False,
                trust_env=not self.local,
                verify=self.address.scheme == "https",
                cookies=http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=[])),
                limits=httpx.Limits(max_connections=None, keepalive_expiry=KEEP_ALIVE_S),
                timeout=httpx.Timeout(None, connect=CONNECT_S),
            )
        return self._client

    def _request(
        self,
        method: str,
        path: str,
        payload: Mapping[str, Any] | None,
        key: Secret | None,
        progress: _Progress,
        streaming: bool,
    ) -> httpx.Request:
        headers = {
            "accept": "text/event-stream" if streaming else "application/json",
            "accept-encoding": "identity" if streaming else "gzip",
            "user-agent": "pairsmith",
        }
        content = None
        if payload is not None:
            headers["content-type"] = "application/json"
            content = json.dumps(payload).encode("ascii")
        request = httpx.Request(
            method,
            self.address.url + path,
            headers=headers,
            content=content,
            extensions={"trace": progress.trace, "timeout": {"connect": CONNECT_S}},
        )
        if key is not None:
            request.headers["authorization"] = f"Bearer {key.reveal()}"
        return request

    async def _guarded(self, step: Any, progress: _Progress) -> Any:
        """Await one step under the deadline; what goes wrong is raised typed, without the chain that holds headers."""
        try:
            async with asyncio.timeout(max(0.001, progress.left())):
                return await step
        except TimeoutError:
            error = self._timed_out(progress)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as raw:
            error = self._broken(raw, progress)
        raise error

    async def _portions(self, response: httpx.Response, progress: _Progress) -> AsyncIterator[bytes]:
        """The decompressed body, at most `MOST_BYTES` of it."""
        unpack = _unpacker(response.headers.get("content-encoding", ""), self.server)
        raw = response.aiter_raw()
        received = unpacked = 0
        while True:
            portion = await self._guarded(anext(raw, None), progress)
            if portion is None:
                break
            received += len(portion)
            plain = unpack(portion, MOST_BYTES + 1 - unpacked)
            unpacked += len(plain)
            if received > MOST_BYTES or unpacked > MOST_BYTES:
                raise MalformedReply(f"{self.server} sent more than {MOST_BYTES // 2**20} MB")
            if plain:
                yield plain

    def _timed_out(self, progress: _Progress) -> BackendError:
        if progress.sent:
            return TimedOut(
                f"{self.server} did not answer in time", advice="Allow more time, or ask for fewer tokens"
            )
        return NotReachable(f"no connection to {self.server} in time", advice=self._advice(), reached=False)

    def _broken(self, raw: Exception, progress: _Progress) -> BackendError:
        if isinstance(raw, httpx.ConnectTimeout):
            return NotReachable(
                f"no connection to {self.server} in time", advice=self._advice(), reached=False
            )
        if isinstance(raw, httpx.UnsupportedProtocol | httpx.InvalidURL | httpx.LocalProtocolError):
            return BadRequest(f"a request to {self.server} cannot be made", reached=progress.sent)
        if not progress.sent:
            return NotReachable(
                f"no connection to {self.server}: {_cause(raw)}", advice=self._advice(), reached=False
            )
        if isinstance(raw, httpx.RemoteProtocolError) and "header" in str(raw).lower():
            return MalformedReply(f"{self.server} sent an answer that is not HTTP")
        return MalformedReply(f"{self.server} broke the connection before its answer was complete")

    def _advice(self) -> str:
        if self.local:
            return "Start the server, or give its address"
        return "Check the network and the address"


def _cause(raw: Exception) -> str:
    text = str(raw)
    for sign, said in (
        ("CERTIFICATE", "its certificate is not trusted"),
        ("SSL", "no TLS there"),
        ("refused", "nothing listens there"),
        ("getaddrinfo", "the name does not resolve"),
        ("Name or service", "the name does not resolve"),
        ("name resolution", "the name does not resolve"),
        ("nodename", "the name does not resolve"),
        ("No address", "the name does not resolve"),
        ("attempts failed", "nothing listens there"),
    ):
        if sign in text:
            return said
    return one_line(text, 80) or type(raw).__name__


def _unpacker(encoding: str, server: str) -> Any:
    """A function (portion, most bytes to give) -> plain bytes. Gives one byte too many where there is too much."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return lambda portion, most: portion[:most] if len(portion) > most else portion
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise MalformedReply(f"{server} packed its answer in a way that was not asked for")
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)

    def unpack(portion: bytes, most: int) -> bytes:
        try:
            return inflate.decompress(portion, max(1, most))
        except zlib.error:
            raise MalformedReply(f"{server} sent a packed answer that cannot be unpacked") from None

    return unpack
