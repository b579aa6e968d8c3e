"""What the fake Ollama is made of: models, the words of a brain, a tokeniser, and the writing of an answer."""

from __future__ import annotations

import asyncio
import http.client
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from tests.servers.ollama_plays import Answer, Drop, End


@dataclass(frozen=True)
class Said:
    """What a brain answers. `top[i]` are the probabilities of the likeliest tokens at position i."""

    text: str
    thinking: str = ""
    top: tuple[Mapping[str, float], ...] = ()


@dataclass(frozen=True)
class FakeModel:
    """A model that is installed. `rendered`: it has a Go template, so that an over-long prompt is halved."""

    name: str = "llama3.2:latest"
    capabilities: tuple[str, ...] = ("completion", "tools")
    context_length: int = 131072
    family: str = "llama"
    rendered: bool = False
    size: int = 2019393189
    remote_host: str = ""
    remote_model: str = ""
    parameters: str = ""
    template: str = "{{ .Prompt }}"


@dataclass
class Layer:
    """A part of a model in the library: what a pull has to bring."""

    size: int
    digest: str = ""
    have: int = 0


def count_tokens(text: str) -> int:
    """The fake's tokeniser: four ASCII characters a token, any other character a token of its own."""
    ascii_ = sum(char.isascii() for char in text)
    return -(-ascii_ // 4) + len(text) - ascii_


def pieces_of(text: str) -> list[str]:
    """The fake's tokens, so that they join to the text."""
    return re.findall(r"[\x00-\x7f]{1,4}|[^\x00-\x7f]", text)


async def write_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answer) -> bool:
    """Send an answer; False where the connection is over, by the client or because the answer says so."""
    if not await _wait(reader, answer.delay):
        return False
    head = {"Content-Type": answer.content_type, "Date": "Sat, 01 Aug 2026 10:00:00 GMT", **answer.headers}
    chunked = answer.chunks is not None
    head |= {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(len(answer.body))}
    lines = [f"HTTP/1.1 {answer.status} {http.client.responses.get(answer.status, 'Status')}"]
    lines += [f"{name}: {value}" for name, value in head.items()]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n")
    if not chunked:
        writer.write(answer.body)
    for chunk in answer.chunks or ():
        if isinstance(chunk, Drop):
            await writer.drain()
            writer.transport.abort()
            return True
        if isinstance(chunk, End):
            break
        if isinstance(chunk, float):
            await writer.drain()
            if not await _wait(reader, chunk):
                return False
        else:
            writer.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
    if chunked:
        writer.write(b"0\r\n\r\n")
    await writer.drain()
    return True


async def _wait(reader: asyncio.StreamReader, seconds: float) -> bool:
    """Wait; False at once where the client closes the connection meanwhile."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if reader.at_eof():
            return False
        await asyncio.sleep(min(left, 0.01))
    return True
