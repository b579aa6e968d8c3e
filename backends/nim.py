"""The `nim` door: NVIDIA's hosted API, or another NIM by PAIRSMITH_NIM_URL.

It refuses fields that it does not know, so it gets the fewest; never `stream_options`, which makes it hang. Its list
of models proves nothing: it is served without a key and names retired ones.
"""

from __future__ import annotations

from .addresses import read_url
from .local_only import check_local
from .openai_compatible import ChatServer
from .openai_door import Door
from .openai_request import Dialect
from .registry import Settings

NIM = Dialect("nim", extras=False, raw_prompts=False, most_temperature=1.0)
"""Temperatures go to 1 on the reference pages of several of its models."""
AT_ONCE = 6
"""What clients of the free tier settled on: 4 to 8."""


def open_nim(model: str, settings: Settings) -> ChatServer:
    """The door to a NIM model. Raises `NotAllowed` in a local-only workspace, `BadRequest` for a bad address."""
    check_local(settings.nim_url, settings.local_only)
    door = Door(
        NIM, read_url(settings.nim_url), "NVIDIA_API_KEY", key_needed=True, key_may_go=True, parallel=AT_ONCE
    )
    return ChatServer(model, door, settings.env)
