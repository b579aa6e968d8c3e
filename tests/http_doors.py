"""Opening the HTTP doors on a test server."""

from __future__ import annotations

from pairsmith.backends.nim import open_nim
from pairsmith.backends.openai_compatible import ChatServer, open_openai
from pairsmith.backends.protocol import Message, Request
from pairsmith.backends.registry import Settings

CANARY = "nvapi-CANARY-4711-abcdefghij"
MODEL = "meta/llama-3.1-405b-instruct"
ASK = Request((Message("user", "What is Git?"),), max_tokens=64, temperature=0.2, top_p=0.7, deadline_s=10)


def nim_at(url: str, model: str = MODEL, key: str = CANARY) -> ChatServer:
    """The `nim` door to a server; `url` has no path."""
    return open_nim(model, Settings(env={"NVIDIA_API_KEY": key}, nim_url=f"{url}/v1"))


def openai_at(url: str, model: str = "m", key: str | None = CANARY) -> ChatServer:
    """The `openai` door to a server; `url` has no path."""
    env = {"OPENAI_API_KEY": key} if key else {}
    return open_openai(model, Settings(env=env, base_url=f"{url}/v1"))
