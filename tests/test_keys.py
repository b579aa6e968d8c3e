"""Keys: found in the environment or the keyring, sent only where they belong, shown to nobody."""

from __future__ import annotations

import logging
import pickle
import sys
import traceback
from types import ModuleType
from typing import Any

import pytest

from pairsmith.backends.errors import BadRequest, Unauthorized
from pairsmith.backends.keys import Secret, find_key, store_key
from pairsmith.backends.openai_compatible import open_openai
from pairsmith.backends.registry import Settings, open_backend, parse_spec
from tests.http_doors import ASK, CANARY
from tests.servers.http_server import HttpServer
from tests.servers.nim import Answer, ok

GOOD = ok(Answer("fine"), "m")


@pytest.fixture
def keyring(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], str]:
    held: dict[tuple[str, str], str] = {}
    module = ModuleType("keyring")
    module.get_password = lambda service, name: held.get((service, name))  # type: ignore[attr-defined]
    module.set_password = lambda service, name, v: held.update({(service, name): v})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", module)
    return held


def test_a_secret_shows_itself_to_nobody() -> None:
    secret = Secret(CANARY)
    shown = f"{secret} {secret!r} {secret!s} {[secret]} {secret:>10} " + "%s %r" % (secret, secret)  # noqa: UP031
    assert CANARY not in shown
    assert secret.reveal() == CANARY
    assert secret.redact(f"x{CANARY}y") == "x***y"
    with pytest.raises(TypeError):
        pickle.dumps(secret)


def test_the_environment_comes_before_the_keyring(keyring: dict[tuple[str, str], str]) -> None:
    store_key("NVIDIA_API_KEY", "https://a.example", Secret("from-the-ring"))
    assert find_key("NVIDIA_API_KEY", {}, "https://b.example") is None
    found = find_key("NVIDIA_API_KEY", {}, "https://a.example")
    assert found is not None
    assert found.reveal() == "from-the-ring"
    found = find_key("NVIDIA_API_KEY", {"NVIDIA_API_KEY": " 'from-env' "}, "https://a.example")
    assert found is not None
    assert found.reveal() == "from-env"


def test_a_keyring_that_fails_means_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:
        raise RuntimeError("locked")

    module = ModuleType("keyring")
    module.get_password = module.set_password = fail  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", module)
    assert find_key("NVIDIA_API_KEY", {}, "https://a.example") is None
    with pytest.raises(Unauthorized) as caught:
        store_key("NVIDIA_API_KEY", "https://a.example", Secret(CANARY))
    assert CANARY not in str(caught.value)


def test_a_keyring_that_hangs_means_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    module = ModuleType("keyring")
    module.get_password = lambda *a: threading.Event().wait()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", module)
    monkeypatch.setattr("pairsmith.backends.keys.KEYRING_PATIENCE_S", 0.05)
    assert find_key("NVIDIA_API_KEY", {}, "https://a.example") is None


@pytest.mark.parametrize("value", [f"{CANARY}\r\nx: y", f"{CANARY}\x00", f"{CANARY} é", "a b"])
def test_a_value_that_would_break_the_header_is_refused(value: str) -> None:
    with pytest.raises(Unauthorized) as caught:
        find_key("NVIDIA_API_KEY", {"NVIDIA_API_KEY": value})
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_settings_do_not_show_the_environment() -> None:
    assert CANARY not in repr(Settings.from_environment({"NVIDIA_API_KEY": CANARY}))


async def test_a_key_is_not_sent_unencrypted_off_the_machine() -> None:
    door = open_openai("m", Settings(env={"OPENAI_API_KEY": CANARY}, base_url="http://gpu.example:8000/v1"))
    with pytest.raises(BadRequest) as caught:
        await door.complete(ASK)
    assert "not encrypted" in str(caught.value)
    assert not caught.value.reached


async def test_an_address_out_of_a_workspace_gets_no_key() -> None:
    async with HttpServer(GOOD) as server:
        env = {"OPENAI_API_KEY": CANARY}
        settings = Settings.from_environment(env, base_url=f"{server.url}/v1", base_url_trusted=False)
        await open_openai("m", settings).complete(ASK)
        assert "authorization" not in server.requests[0].headers
        settings = Settings.from_environment(
            {**env, "OPENAI_BASE_URL": f"{server.url}/v1"},
            base_url=f"{server.url}/v1",
            base_url_trusted=False,
        )
        await open_openai("m", settings).complete(ASK)
        assert server.requests[1].headers["authorization"] == f"Bearer {CANARY}"


async def test_the_nim_key_does_not_go_to_the_openai_address_nor_the_other_way() -> None:
    async with HttpServer(GOOD) as server:
        env = {"NVIDIA_API_KEY": CANARY, "OPENAI_BASE_URL": f"{server.url}/v1"}
        await open_backend(parse_spec("openai:m"), Settings.from_environment(env)).complete(ASK)
        assert "authorization" not in server.requests[0].headers
        env = {"OPENAI_API_KEY": CANARY, "PAIRSMITH_NIM_URL": f"{server.url}/v1"}
        with pytest.raises(Unauthorized):
            await open_backend(parse_spec("nim:m"), Settings.from_environment(env)).complete(ASK)
        assert len(server.requests) == 1


async def test_the_key_is_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with HttpServer(GOOD) as server:
        door = open_openai("m", Settings(env={"OPENAI_API_KEY": CANARY}, base_url=f"{server.url}/v1"))
        await door.complete(ASK)
    assert CANARY in server.requests[0].headers["authorization"]
    assert CANARY not in caplog.text
    assert CANARY not in door.pacing_key
