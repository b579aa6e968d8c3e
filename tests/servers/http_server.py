"""A small real HTTP/1.1 server on loopback that answers as it is told: well, badly, slowly, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self


@dataclass(frozen=True)
class Incoming:
    """One request as it was received."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float
    """Loop time at which its last byte was read."""

    @property
    def json(self) -> Any:
        return json.loads(self.body) if self.body else None


@dataclass(frozen=True)
class Outgoing:
    """What to answer. `raw` replaces everything that would go over the wire."""

    status: int = 200
    body: bytes | str | dict[str, Any] | list[Any] = b""
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    pieces: Sequence[tuple[float, bytes]] | None = None
    """(seconds to wait, bytes): sent chunked, or verbatim where `raw` is given too."""
    delay: float = 0.0
    then: Literal["keep", "close", "reset", "hang"] = "keep"

    def head(self) -> bytes:
        """Status line and headers of the well-formed answer."""
        headers = {"content-type": "application/json", **self.headers}
        if self.pieces is not None:
            headers["transfer-encoding"] = "chunked"
        else:
            headers["content-length"] = str(len(self.content()))
        lines = [f"HTTP/1.1 {self.status} Said", *(f"{k}: {v}" for k, v in headers.items())]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"

    def content(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()


Handler = Callable[[Incoming], Outgoing | Awaitable[Outgoing]]


class HttpServer:
    """`async with HttpServer(handler) as server:` listens on a free port of 127.0.0.1; `server.url` has no path."""

    def __init__(self, handler: Handler | Outgoing | Sequence[Outgoing], port: int = 0) -> None:
        """A sequence is played in order, its last element for ever."""
        self.requests: list[Incoming] = []
        self._port = port
        self._script = list(handler) if isinstance(handler, Sequence) else None
        self._handler = handler
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def completions(self) -> int:
        """How many completion requests came in."""
        return sum(1 for r in self.requests if r.method == "POST" and r.path.endswith("/completions"))

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, limit=2**24)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def answer(self, incoming: Incoming) -> Outgoing:
        """What this request is answered. Subclasses override it."""
        if self._script is not None:
            return self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if isinstance(self._handler, Outgoing):
            return self._handler
        assert callable(self._handler)
        result = self._handler(incoming)
        return result if isinstance(result, Outgoing) else await result

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while incoming := await self._read(reader):
                    self.requests.append(incoming)
                    if not await self._write(writer, await self.answer(incoming)):
                        break
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Incoming | None:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {
            k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines if line)
        }
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Incoming(method, path, headers, body, asyncio.get_running_loop().time())

    async def _write(self, writer: asyncio.StreamWriter, out: Outgoing) -> bool:
        """Whether the connection is kept."""
        if out.delay:
            await asyncio.sleep(out.delay)
        if out.raw is not None:
            writer.write(out.raw)
            for pause, piece in out.pieces or ():
                await _after(pause, writer, piece)
        else:
            writer.write(out.head())
            if out.pieces is None:
                writer.write(out.content())
            else:
                for pause, piece in out.pieces:
                    await _after(pause, writer, b"%x\r\n%s\r\n" % (len(piece), piece))
                writer.write(b"0\r\n\r\n")
        await writer.drain()
        if out.then == "hang":
            await asyncio.sleep(3600)
        if out.then == "reset":
            sock: socket.socket = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        return out.then == "keep" and out.raw is None


async def _after(pause: float, writer: asyncio.StreamWriter, data: bytes) -> None:
    await writer.drain()
    if pause:
        await asyncio.sleep(pause)
    writer.write(data)
