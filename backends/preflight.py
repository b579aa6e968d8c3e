"""What can be known about a backend before the first completion is paid for: is it allowed, has it a key, is the file a
model, is the model there. Only servers on this machine's network path that were chosen are asked, and only about
themselves."""

from __future__ import annotations

import asyncio

from .addresses import read_url
from .errors import Unauthorized
from .keys import find_key
from .registry import OPENAI_URL, Settings, Spec, open_backend

_KEYS = {"nim": "NVIDIA_API_KEY", "openai": "OPENAI_API_KEY"}


async def preflight(spec: Spec, settings: Settings) -> None:
    """Raise the `BackendError` that the first completion would surely meet, where that can be told without one.

    Told: not allowed in a local-only workspace, no key, no such file, not a GGUF, Ollama's server or model missing.
    Not told: a wrong key, a model that a remote server does not have.
    """
    backend = open_backend(spec, settings)
    try:
        if spec.backend == "llama-cpp":
            from .llama_cpp.catalogue import resolve
            from .llama_cpp.gguf import read_gguf

            await asyncio.to_thread(lambda: read_gguf(resolve(spec.model, settings.home, settings.env)))
        elif spec.backend == "ollama":
            await backend.capabilities()
        elif await asyncio.to_thread(lacks_key, spec.backend, settings):
            raise Unauthorized(
                f"no key for {address_of(spec.backend, settings)}",
                advice=f"Set {_KEYS[spec.backend]} in the environment, or name a file with --env-file",
                reached=False,
            )
    finally:
        await backend.close()


def lacks_key(backend: str, settings: Settings) -> bool:
    """Whether a remote backend needs a key and has none (blocks up to two seconds where a keyring must be asked).

    Raises `Unauthorized` for a key that cannot be one, `BadRequest` for an address that is none.
    """
    origin = address_of(backend, settings)
    if backend == "openai" and origin != read_url(OPENAI_URL).origin:
        return False
    return find_key(_KEYS[backend], settings.env, origin) is None


def address_of(backend: str, settings: Settings) -> str:
    """scheme://host:port that `nim` or `openai` means. Raises `BadRequest`."""
    return read_url(settings.nim_url if backend == "nim" else settings.base_url or OPENAI_URL).origin
