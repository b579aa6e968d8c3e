"""From BACKEND:MODEL to a door; and no way out of a local-only workspace."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairsmith.backends.addresses import read_url
from pairsmith.backends.errors import BackendError, BadRequest, NotAllowed, UnknownBackend
from pairsmith.backends.local_only import check_local, is_local
from pairsmith.backends.registry import NAMES, Settings, Spec, open_backend, parse_spec


def test_a_model_may_hold_colons() -> None:
    assert parse_spec("ollama:llama3.2:1b") == Spec("ollama", "llama3.2:1b")
    assert parse_spec(" NIM:meta/llama-3.1-405b-instruct ") == Spec("nim", "meta/llama-3.1-405b-instruct")
    assert str(parse_spec("llama-cpp:/m/a.gguf")) == "llama-cpp:/m/a.gguf"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nmi:x", "nim:x"),
        ("llama_cpp:x", "llama-cpp:x"),
        ("olama:q:1b", "ollama:q:1b"),
        ("gpt-4", "one of nim"),
    ],
)
def test_an_unknown_backend_names_the_four_and_what_was_meant(text: str, said: str) -> None:
    with pytest.raises(UnknownBackend) as caught:
        parse_spec(text)
    assert said in str(caught.value)
    assert all(name in str(caught.value) for name in NAMES)


@pytest.mark.parametrize("text", ["openai", "openai:", "nim: ", "ollama:\x1b"])
def test_a_backend_without_a_model_is_refused(text: str) -> None:
    with pytest.raises(UnknownBackend, match="no model given"):
        parse_spec(text)


@given(st.text(max_size=40))
def test_no_spec_breaks_the_reading(text: str) -> None:
    with contextlib.suppress(UnknownBackend):
        assert parse_spec(text).backend in NAMES


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8000/v1",
        "http://LOCALHOST./v1",
        "http://127.0.0.1",
        "http://127.8.9.10:1/x",
        "https://[::1]:443",
        "http://[::ffff:127.0.0.1]/v1",
    ],
)
def test_this_machine_is_local(url: str) -> None:
    assert is_local(url)
    check_local(url, True)


@pytest.mark.parametrize(
    "url",
    [
        "https://integrate.api.nvidia.com/v1",
        "http://localhost.example.com",
        "http://localhost@example.com",
        "http://127.0.0.1@example.com",
        "http://example.com#@127.0.0.1",
        "http://127.0.0.1\\@example.com",
        "http://2130706433",
        "http://127.1",
        "http://0x7f.0.0.1",
        "http://0.0.0.0:80",
        "http://10.0.0.1",
        "http://[::2]",
        "http://[fe80::1%25lo]",
        "ftp://127.0.0.1",
        "127.0.0.1:80",
        "http://ｌocalhost",
        "",
    ],
)
def test_everything_else_is_not(url: str) -> None:
    assert not is_local(url)
    with pytest.raises(NotAllowed):
        check_local(url, True)


@given(st.text(max_size=60))
def test_no_address_breaks_the_reading(text: str) -> None:
    try:
        read_url(text)
    except BadRequest:
        assert not is_local(text)


@pytest.mark.parametrize("spec", ["nim:m", "openai:m"])
async def test_local_only_refuses_before_any_socket(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a socket, or a look-up")

    monkeypatch.setattr(socket, "socket", forbidden)
    monkeypatch.setattr(socket, "getaddrinfo", forbidden)
    settings = Settings.from_environment({"NVIDIA_API_KEY": "k", "OPENAI_API_KEY": "k"}, local_only=True)
    with pytest.raises(NotAllowed) as caught:
        open_backend(parse_spec(spec), settings)
    assert not caught.value.reached


def test_a_key_in_the_address_is_refused_and_not_shown() -> None:
    with pytest.raises(BackendError) as caught:
        open_backend(parse_spec("openai:m"), Settings(base_url="https://user:s3cret@host/v1"))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PAIRSMITH_REQUESTS_PER_MINUTE", "0"),
        ("PAIRSMITH_REQUESTS_PER_MINUTE", "x"),
        ("PAIRSMITH_TIME_SCALE", "nan"),
    ],
)
def test_a_variable_that_cannot_be_read_is_named(name: str, value: str) -> None:
    with pytest.raises(BadRequest, match=name):
        Settings.from_environment({name: value})


def test_a_flag_comes_before_the_environment() -> None:
    env = {"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}
    assert (
        Settings.from_environment(env, base_url="http://127.0.0.1:2/v1").base_url == "http://127.0.0.1:2/v1"
    )
    assert Settings.from_environment(env).base_url == "http://127.0.0.1:1/v1"
