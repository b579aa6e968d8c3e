"""What tells one OpenAI-compatible server from another, and the key that goes to it alone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from .addresses import Address
from .errors import BackendError, Unauthorized
from .keys import Secret, check_key_may_go, find_key
from .local_only import is_local_host
from .openai_request import Dialect


@dataclass(frozen=True, slots=True)
class Door:
    """What tells one kind of server from another: how it speaks, how it is called, which key it wants."""

    dialect: Dialect
    address: Address
    key_name: str
    key_needed: bool
    key_may_go: bool
    parallel: int


class DoorKey:
    """The key of a door: looked for once, sent to its origin alone, hidden in whatever comes back."""

    def __init__(self, door: Door, env: Mapping[str, str]) -> None:
        self._door = door
        self._env = env
        self._key: Secret | None = None
        self._sought = False

    @property
    def is_there(self) -> bool:
        """Whether one was found."""
        return self._key is not None

    @property
    def advice(self) -> str:
        """What to do where there is none."""
        name = self._door.key_name
        if not self._door.key_may_go:
            return f"An address out of a workspace gets no key: set OPENAI_BASE_URL to it beside {name}"
        here = self._door.dialect.name == "nim" and is_local_host(self._door.address.host)
        return f"Set {name} in the environment" + (" (any text will do)" if here else "")

    async def get(self) -> Secret | None:
        """The key for this origin. Raises `Unauthorized` where one is needed and none is there, `BadRequest` where it
        would travel in the clear."""
        door = self._door
        if not self._sought and door.key_may_go:
            self._key = await asyncio.to_thread(find_key, door.key_name, self._env, door.address.origin)
            self._sought = True
        if self._key is None and door.key_needed:
            raise Unauthorized(f"no key for {door.address.origin}", advice=self.advice, reached=False)
        if self._key is not None:
            check_key_may_go(door.key_name, door.address)
        return self._key

    def redacted(self, text: str) -> str:
        """The text without the key."""
        return self._key.redact(text) if self._key else text

    def redacted_body(self, body: bytes) -> bytes:
        """The bytes of an answer without the key (as in a text: one of a few letters is in every word)."""
        return self.redacted(body.decode("latin-1")).encode("latin-1")

    def hide_in(self, error: BackendError) -> None:
        """Take the key out of an error's message."""
        error.message = self.redacted(error.message)
        error.args = (error.message,)
