"""What the ollama door says about a server and its models: state, advice, addresses, cloud models."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from pairsmith.backends.errors import BadRequest, NoSuchModel, NotAllowed, NotReachable
from pairsmith.backends.ollama import OllamaBackend, open_ollama
from pairsmith.backends.ollama_host import parse_host
from pairsmith.backends.ollama_library import is_cloud_name, read_version
from pairsmith.backends.protocol import Message, Request
from pairsmith.backends.registry import Settings, open_backend, parse_spec
from tests.servers.ollama import FakeModel, OllamaServer
from tests.servers.ollama_plays import Answer

EMBEDDER = FakeModel("nomic-embed-text:latest", capabilities=("embedding",), family="nomic-bert")
CLOUD = FakeModel("gpt-oss:120b-cloud", remote_host="https://ollama.com:443", remote_model="gpt-oss:120b")
HIDDEN_CLOUD = FakeModel("mine:latest", remote_host="https://ollama.com:443", remote_model="gpt-oss:120b")
HELLO = Request(messages=(Message("user", "Hello"),))


def opened(server: OllamaServer, model: str = "llama3.2", **settings: Any) -> OllamaBackend:
    return open_ollama(model, Settings(ollama_host=server.url, **settings))


async def closed_url() -> str:
    async with OllamaServer() as server:
        return server.url


async def test_a_server_with_the_model_is_ready() -> None:
    async with OllamaServer() as server:
        health = await opened(server).health()
        assert (health.ok, health.summary, health.version) == (True, "ready, 0.33.0", "0.33.0")
        assert server.completions == 0


@pytest.mark.parametrize(
    ("program", "state", "advice"),
    [(None, "not installed", "ollama.com/download"), ("/usr/bin/ollama", "not started", "ollama serve")],
)
async def test_not_installed_and_not_started_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, program: str | None, state: str, advice: str
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: program)
    backend = open_ollama("llama3.2", Settings(ollama_host=await closed_url()))
    health = await backend.health()
    assert not health.ok
    assert state in health.summary
    assert advice in health.advice
    assert isinstance(health.error, NotReachable)
    with pytest.raises(NotReachable, match=state):
        await backend.complete(HELLO)


async def test_a_reachable_server_needs_no_program_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    async with OllamaServer() as server:
        assert (await opened(server).health()).ok


async def test_a_missing_model_names_the_pull_and_what_is_there_instead() -> None:
    models = [FakeModel("llama3.2:1b"), FakeModel("gemma3:4b")]
    async with OllamaServer(models=models) as server:
        health = await opened(server, "llama3.2").health()
        assert not health.ok
        assert isinstance(health.error, NoSuchModel)
        assert "ollama pull llama3.2" in health.advice
        assert "llama3.2:1b" in health.advice
        assert "gemma" not in health.advice


async def test_an_embedding_model_cannot_chat() -> None:
    async with OllamaServer(models=[EMBEDDER]) as server:
        backend = opened(server, "nomic-embed-text")
        health = await backend.health()
        assert (health.ok, "embedding" in health.summary) == (False, True)
        assert not (await backend.capabilities()).chat
        with pytest.raises(BadRequest, match="does not support chat"):
            await backend.complete(HELLO)
        await backend.close()


async def test_something_else_on_the_port_is_not_called_ollama() -> None:
    class Other(OllamaServer):
        def respond(self, *_: Any) -> Answer:
            return Answer(200, b'{"hello":"world"}')

    async with Other() as server:
        health = await opened(server).health()
        assert not health.ok
        assert "not Ollama" in health.summary


async def test_without_a_model_only_the_server_is_looked_at() -> None:
    async with OllamaServer(models=[]) as server:
        backend = opened(server, "")
        assert (await backend.health()).ok
        assert await backend.models() == []
        with pytest.raises(BadRequest, match="no model"):
            await backend.complete(HELLO)


@pytest.mark.parametrize(
    ("version", "safe"), [("0.17.0", False), ("0.12.5", False), ("0.17.1", True), ("0.0.0", True)]
)
async def test_a_version_with_a_known_hole_is_usable_but_warned_of(version: str, safe: bool) -> None:
    async with OllamaServer(version=version) as server:
        health = await opened(server).health()
        assert health.ok
        assert ("CVE-2026-7482" in health.summary) is not safe
        assert ("0.17.1" in health.advice) is not safe


async def test_health_never_raises_where_models_does() -> None:
    backend = open_ollama("llama3.2", Settings(ollama_host=await closed_url()))
    assert not (await backend.health()).ok
    with pytest.raises(NotReachable):
        await backend.models()


# ---- models --------------------------------------------------------------------------------------------------


async def test_models_come_with_kind_size_context_and_whether_they_are_remote() -> None:
    async with OllamaServer(models=[FakeModel(), EMBEDDER, CLOUD]) as server:
        chat, embedder, cloud = await opened(server).models()
        assert (chat.id, chat.kind, chat.remote) == ("llama3.2:latest", "chat", False)
        assert (chat.size_bytes, chat.context_length) == (2019393189, 131072)
        assert embedder.kind == "embedding"
        assert (cloud.remote, cloud.size_bytes) == (True, None)


async def test_an_old_server_that_says_less_is_read_as_far_as_it_goes() -> None:
    async with OllamaServer(models=[FakeModel(), EMBEDDER], version="0.5.0") as server:
        backend = opened(server)
        chat, embedder = await backend.models()
        assert (chat.kind, chat.context_length) == ("chat", None)
        assert embedder.kind == "embedding"
        able = await backend.capabilities()
        assert (able.chat, able.json_schema, able.logprobs) == (True, True, False)
        assert (await backend.complete(HELLO)).text
        await backend.close()


# ---- what leaves the machine ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gpt-oss:120b-cloud", "kimi:cloud", "x/y:Z-CLOUD"])
def test_a_cloud_name_is_remote_and_refused_on_a_local_only_workspace(name: str) -> None:
    assert is_cloud_name(name)
    assert open_ollama(name, Settings()).remote
    with pytest.raises(NotAllowed, match="cloud") as caught:
        open_ollama(name, Settings(local_only=True))
    assert not caught.value.reached


@pytest.mark.parametrize("name", ["llama3.2", "cloudy:7b", "cloud", "my-cloud:7b"])
def test_other_names_are_local(name: str) -> None:
    assert not open_ollama(name, Settings(local_only=True)).remote


async def test_a_cloud_model_behind_a_plain_name_is_refused_before_a_word_is_sent() -> None:
    async with OllamaServer(models=[HIDDEN_CLOUD]) as server:
        backend = opened(server, "mine", local_only=True)
        with pytest.raises(NotAllowed, match="cloud") as caught:
            await backend.complete(HELLO)
        assert (caught.value.reached, server.completions, backend.remote) == (False, 0, True)
        health = await backend.health()
        assert not health.ok
        assert isinstance(health.error, NotAllowed)
        await backend.close()


async def test_listing_shows_a_model_to_be_remote() -> None:
    async with OllamaServer(models=[HIDDEN_CLOUD]) as server:
        backend = opened(server, "mine")
        assert not backend.remote
        await backend.models()
        assert backend.remote
        assert "data leaves this machine" in (await backend.health()).summary


async def test_the_health_of_a_cloud_model_is_proven_by_one_token() -> None:
    async with OllamaServer(models=[CLOUD], plays=["cloud without sign-in", "cloud limit"]) as server:
        backend = opened(server, CLOUD.name)
        health = await backend.health()
        assert (health.ok, "ollama signin" in health.advice) == (False, True)
        assert not (await backend.health()).ok
        health = await backend.health()
        assert (health.ok, "data leaves this machine" in health.summary) == (True, True)
        assert [body["options"]["num_predict"] for body in server.bodies] == [1, 1, 1]
        await backend.close()


@pytest.mark.parametrize("host", ["192.168.1.5", "https://ollama.com", "example.com:11434", "[2001:db8::1]"])
def test_a_server_elsewhere_is_refused_on_a_local_only_workspace(host: str) -> None:
    with pytest.raises(NotAllowed):
        open_ollama("llama3.2", Settings(ollama_host=host, local_only=True))
    assert open_ollama("llama3.2", Settings(ollama_host=host)).remote


@pytest.mark.parametrize("host", [None, "127.0.0.1", "localhost:9", "0.0.0.0", "[::1]:5", ":11435", "[::]"])
def test_a_server_here_is_local(host: str | None) -> None:
    assert not open_ollama("llama3.2", Settings(ollama_host=host, local_only=True)).remote


# ---- OLLAMA_HOST ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (None, "http://127.0.0.1:11434"),
        ("", "http://127.0.0.1:11434"),
        ("1.2.3.4", "http://1.2.3.4:11434"),
        (":56789", "http://127.0.0.1:56789"),
        ("1.2.3.4:56789", "http://1.2.3.4:56789"),
        ("http://1.2.3.4", "http://1.2.3.4"),
        ("https://example.com", "https://example.com"),
        ("https://example.com:56789/path/", "https://example.com:56789/path"),
        ("example.com/", "http://example.com:11434"),
        ("example.com/path", "http://example.com:11434/path"),
        ("[0001:002:003:0004::1]:56789", "http://[0001:002:003:0004::1]:56789"),
        ("::1", "http://[::1]:11434"),
        (' "0.0.0.0:77" ', "http://127.0.0.1:77"),
        ("[::]", "http://[::1]:11434"),
        ("http://", "http://127.0.0.1"),
    ],
)
def test_every_form_of_ollama_host_is_read_as_ollama_reads_it(text: str | None, url: str) -> None:
    address, warning = parse_host(text)
    assert (address.url, warning) == (url, "")


@pytest.mark.parametrize("text", ["h:99999", "h:abc", "h:0", "h:-1"])
async def test_a_bad_port_means_the_default_with_a_warning(text: str) -> None:
    address, warning = parse_host(text)
    assert address.port == 11434
    assert "bad port" in warning


@pytest.mark.parametrize("text", ["ftp://h", "h h", "user:password@h", "http://a@b:1", "h/?q", "a\nb"])
def test_what_is_no_address_is_refused_without_showing_a_password(text: str) -> None:
    with pytest.raises(BadRequest, match="OLLAMA_HOST") as caught:
        parse_host(text)
    assert "password" not in str(caught.value)


async def test_a_path_before_the_api_is_kept() -> None:
    class Behind(OllamaServer):
        def respond(self, method: str, path: str, body: bytes) -> Answer:
            assert path.startswith("/ollama/")
            return super().respond(method, path.removeprefix("/ollama"), body)

    async with Behind() as server:
        backend = open_ollama("llama3.2", Settings(ollama_host=f"{server.url}/ollama/"))
        assert (await backend.complete(HELLO)).text
        await backend.close()


def test_the_registry_opens_this_door() -> None:
    backend = open_backend(parse_spec("ollama:llama3.2:1b"), Settings())
    assert (backend.name, backend.model, backend.origin) == (
        "ollama",
        "llama3.2:1b",
        "http://127.0.0.1:11434",
    )


@pytest.mark.parametrize(
    ("text", "version"),
    [("0.33.0-rc2", (0, 33, 0)), ("v0.12.6", (0, 12, 6)), ("0.0.0", None), ("dev", None), (None, None)],
)
def test_versions_are_read_with_their_suffixes(text: Any, version: tuple[int, ...] | None) -> None:
    assert read_version(text) == version
