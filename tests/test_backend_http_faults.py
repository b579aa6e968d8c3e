"""A server that lies, stalls, floods or dies: always a typed error, in bounded time and memory."""

from __future__ import annotations

import asyncio
import gzip
import socket
import tracemalloc
import zlib

import pytest

from pairsmith.backends.errors import (
    BackendError,
    BadRequest,
    ContextOverflow,
    MalformedReply,
    NotReachable,
    TimedOut,
)
from pairsmith.backends.protocol import Message, Request
from tests.http_doors import ASK, CANARY, nim_at, openai_at
from tests.servers import nim
from tests.servers.http_server import HttpServer, Outgoing

GOOD = nim.ok(nim.Answer("fine"), "m")
QUICK = Request((Message("user", "x"),), deadline_s=0.4)


def broken(raw: bytes, **more: object) -> Outgoing:
    return Outgoing(raw=raw, **more)  # type: ignore[arg-type]


CUTS = {
    "reset at once": broken(b"", then="reset"),
    "closed at once": broken(b"", then="close"),
    "reset in the body": broken(GOOD.head() + GOOD.content()[:20], then="reset"),
    "too short for its length": broken(GOOD.head() + GOOD.content()[:-5], then="close"),
    "chunk cut": broken(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n50\r\n{", then="close"),
    "no length, JSON cut": broken(b"HTTP/1.1 200 OK\r\n\r\n" + GOOD.content()[:30], then="close"),
    "garbage": broken(b"\x00\xff\x13\x37 what?\r\n\r\n", then="close"),
    "bad chunk size": broken(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n{}", then="close"),
    "header of 200 KB": broken(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000 + b"\r\n\r\n", then="close"),
    "gzip that is none": Outgoing(200, b"not gzip", {"content-encoding": "gzip"}),
    "unasked packing": Outgoing(200, b"x", {"content-encoding": "br"}),
    "a web page": Outgoing(200, b"<html><body>hello</body></html>", {"content-type": "text/html"}),
    "deep JSON": Outgoing(200, b"[" * 200_000),
    "nothing": Outgoing(200, b""),
}


@pytest.mark.parametrize("name", CUTS)
async def test_a_broken_answer_is_a_malformed_reply(name: str) -> None:
    async with HttpServer(CUTS[name]) as server:
        with pytest.raises(MalformedReply) as caught:
            await openai_at(server.url).complete(ASK)
    assert caught.value.reached
    assert caught.value.retryable


SLOW = {
    "silence": Outgoing(200, b"", delay=30),
    "hang after the headers": broken(GOOD.head(), then="hang"),
    "one byte at a time": broken(GOOD.head(), pieces=[(0.1, bytes([c])) for c in GOOD.content()]),
    "headers one byte at a time": broken(b"", pieces=[(0.1, bytes([c])) for c in GOOD.head()]),
    "interim answers for ever": broken(b"", pieces=[(0.05, b"HTTP/1.1 102 Processing\r\n\r\n")] * 200),
}


@pytest.mark.parametrize("name", SLOW)
async def test_the_deadline_is_for_the_whole_exchange(name: str) -> None:
    async with HttpServer(SLOW[name]) as server:
        with pytest.raises(TimedOut) as caught:
            await openai_at(server.url).complete(QUICK)
    assert caught.value.reached


async def test_the_deadline_holds_for_streams_too() -> None:
    words = nim.events(nim.Answer("a b c d e f g h"), "m")
    slow = Outgoing(headers=words.headers, pieces=[(0.2, p) for _, p in words.pieces or ()])
    async with HttpServer(slow) as server:
        with pytest.raises(TimedOut):
            async for _ in openai_at(server.url).stream(QUICK):
                pass


async def test_nothing_listening_is_not_reachable_and_no_call() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(NotReachable) as caught:
            await openai_at(url).complete(ASK)
    assert not caught.value.reached
    assert "nothing listens there" in str(caught.value)


async def test_a_name_that_does_not_resolve_is_not_reachable() -> None:
    from pairsmith.backends.nim import open_nim
    from pairsmith.backends.registry import Settings

    settings = Settings(env={"NVIDIA_API_KEY": CANARY}, nim_url="https://no-such-host.invalid/v1")
    with pytest.raises(NotReachable) as caught:
        await open_nim("m", settings).complete(ASK)
    assert not caught.value.reached


async def test_no_tls_there_is_not_reachable() -> None:
    async with HttpServer(GOOD) as server:
        with pytest.raises(NotReachable) as caught:
            await openai_at(server.url.replace("http:", "https:")).complete(QUICK)
    assert not caught.value.reached


def bomb(megabytes: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    zeros = b" " * 2**20
    return b"".join(packer.compress(zeros) for _ in range(megabytes)) + packer.flush()


async def test_a_gzip_bomb_is_given_up_early() -> None:
    async with HttpServer(Outgoing(200, bomb(300), {"content-encoding": "gzip"})) as server:
        door = openai_at(server.url)
        tracemalloc.start()
        with pytest.raises(MalformedReply, match="more than 8 MB"):
            await door.complete(ASK)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 50_000_000


@pytest.mark.parametrize("body", [b"x" * (10 * 2**20)], ids=["10 MB"])
async def test_a_flood_is_given_up(body: bytes) -> None:
    async with HttpServer(Outgoing(200, body)) as server:
        with pytest.raises(MalformedReply, match="more than 8 MB"):
            await openai_at(server.url).complete(ASK)


async def test_packed_answers_are_read() -> None:
    packed = Outgoing(200, gzip.compress(GOOD.content()), {"content-encoding": "gzip"})
    async with HttpServer(packed) as server:
        assert (await openai_at(server.url).complete(ASK)).text == "fine"


async def test_the_content_type_does_not_matter() -> None:
    odd = Outgoing(200, GOOD.body, {"content-type": "text/plain; charset=latin-1"})
    async with HttpServer(odd) as server:
        assert (await openai_at(server.url).complete(ASK)).text == "fine"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_refused_and_the_other_server_sees_nothing(status: int) -> None:
    async with HttpServer(GOOD) as sink:
        away = Outgoing(status, b"", {"location": f"{sink.url}/v1/chat/completions?secret=1"})
        async with HttpServer(away) as server:
            with pytest.raises(BadRequest) as caught:
                await nim_at(server.url).complete(ASK)
        assert sink.requests == []
    assert sink.url in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_cookies_are_not_kept() -> None:
    async with HttpServer(Outgoing(200, GOOD.body, {"set-cookie": "track=1; path=/"})) as server:
        door = openai_at(server.url)
        await door.complete(ASK)
        await door.complete(ASK)
    assert "cookie" not in server.requests[1].headers


async def test_no_proxy_is_used_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    async with HttpServer(GOOD) as proxy, HttpServer(GOOD) as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        await openai_at(server.url).complete(ASK)
        assert proxy.requests == []
        assert server.completions == 1


async def test_a_cancelled_task_cancels_the_request() -> None:
    async with HttpServer(Outgoing(200, b"", delay=30)) as server:
        task = asyncio.create_task(openai_at(server.url).complete(ASK))
        while not server.requests:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def test_one_door_serves_several_event_loops() -> None:
    async def once(door: object, server: HttpServer) -> str:
        return (await door.complete(ASK)).text  # type: ignore[attr-defined]

    async def whole() -> None:
        async with HttpServer(GOOD) as server:
            door = openai_at(server.url)
            first = await once(door, server)
            second = await asyncio.to_thread(lambda: asyncio.run(once(door, server)))
            assert first == second == "fine"

    asyncio.run(whole())


NASTY = {
    "a lone surrogate": (b'"a \\ud800 b"', "a \ufffd b"),
    "NUL": (b'"a \\u0000 b"', "a \ufffd b"),
    "bytes that are not UTF-8": (b'"a \xff b"', "a \ufffd b"),
    "a raw line feed": (b'"a \n b"', "a \n b"),
}


@pytest.mark.parametrize("name", NASTY)
async def test_text_that_no_store_takes_is_cleaned(name: str) -> None:
    raw, expected = NASTY[name]
    body = b'\xef\xbb\xbf{"choices":[{"message":{"content":' + raw + b'},"finish_reason":"stop"}],"usage":{'
    body += b'"prompt_tokens":' + b"9" * 5000 + b',"completion_tokens":NaN}}'
    async with HttpServer(Outgoing(200, body)) as server:
        completion = await openai_at(server.url).complete(ASK)
    assert completion.text == expected
    assert completion.usage.estimated


async def test_the_key_is_in_no_error_even_if_the_server_echoes_it() -> None:
    replies = [
        Outgoing(401, {"error": {"message": f"Incorrect key {CANARY} provided"}}),
        Outgoing(400, f"Bearer {CANARY}"),
        Outgoing(200, f"{CANARY} is not JSON"),
        Outgoing(
            200, {"choices": [{"message": {"content": None, "refusal": CANARY}, "finish_reason": "stop"}]}
        ),
        broken(b"", then="reset"),
        Outgoing(301, b"", {"location": f"http://x.example/?key={CANARY}"}),
    ]
    for reply in replies:
        async with HttpServer(reply) as server:
            door = nim_at(server.url)
            with pytest.raises(BackendError) as caught:
                await door.complete(ASK)
            assert CANARY in server.requests[0].headers["authorization"]
            seen: BaseException | None = caught.value
            while seen is not None:
                assert CANARY not in f"{seen!s} {seen!r} {vars(seen)}"
                seen = seen.__cause__ or seen.__context__
            assert CANARY not in repr(door)


@pytest.mark.parametrize("before", [b"no JSON: ", b"y" * 100])
async def test_the_key_is_in_no_error_of_a_stream_either_whole_or_cut(before: bytes) -> None:
    event = b"data: " + before + CANARY.encode() + b"\n\n"
    for reply in (
        Outgoing(headers={"content-type": "text/event-stream"}, pieces=[(0.0, event)]),
        Outgoing(200, before + CANARY.encode()),
    ):
        async with HttpServer(reply) as server:
            with pytest.raises(MalformedReply) as caught:
                async for _ in openai_at(server.url).stream(ASK):
                    pass
            with pytest.raises(MalformedReply) as whole:
                await openai_at(server.url).complete(ASK)
        assert CANARY[:8] not in f"{caught.value} {whole.value}"


@pytest.mark.parametrize("key", ["x", "0"])
async def test_a_key_of_one_letter_does_not_garble_what_the_server_says(key: str) -> None:
    said = "This model's maximum context length is 4096 tokens"
    async with HttpServer(Outgoing(400, {"error": {"message": said, "code": 400}})) as server:
        with pytest.raises(ContextOverflow, match=said):
            await openai_at(server.url, key=key).complete(ASK)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:9"),
        ("ALL_PROXY", "ftp://127.0.0.1:9"),
        ("SSL_CERT_FILE", "/nonexistent/certificates.pem"),
    ],
)
async def test_proxies_and_certificates_that_cannot_be_used_are_said(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    health = await openai_at("https://pairsmith.invalid").health()
    assert isinstance(health.error, BadRequest)
    assert not health.error.reached
    assert name in health.advice


async def test_an_address_that_cannot_be_one_is_a_bad_request() -> None:
    with pytest.raises(BadRequest, match=r"192\.168\.1\.300") as caught:
        await openai_at("https://192.168.1.300:8000").models()
    assert not caught.value.reached
