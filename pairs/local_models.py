"""A model on this machine for a quick look: what the demonstrations of the command line and the application use."""

from __future__ import annotations

import asyncio

from pairsmith.backends.errors import BackendError
from pairsmith.backends.registry import Settings, open_backend, parse_spec

LARGEST = 2_500_000_000
"""Bytes of the largest model that is chosen for a quick look."""


async def find_generator(settings: Settings) -> str | None:
    """A model on this machine that is small enough for a quick look: the embedded one, a GGUF, one of Ollama's."""
    for spec in ("llama-cpp:embedded", "llama-cpp:any.gguf", "ollama:any"):
        found = await _smallest(spec, settings)
        if found is not None:
            return found
    return None


async def _smallest(spec: str, settings: Settings) -> str | None:
    parsed = parse_spec(spec)
    try:
        if parsed.backend == "llama-cpp":
            from pairsmith.backends.llama_cpp.catalogue import find_models, resolve

            if parsed.model == "embedded":
                resolve("embedded", settings.home, settings.env)
                return spec
            models = await asyncio.to_thread(find_models, settings.home, settings.env)
        else:
            backend = open_backend(parsed, settings)
            if backend.remote:
                return None
            try:
                models = await asyncio.wait_for(backend.models(), 5)
            finally:
                await backend.close()
    except (BackendError, TimeoutError):
        return None
    fitting = [m for m in models if m.kind == "chat" and not m.remote and 0 < (m.size_bytes or 0) <= LARGEST]
    best = min(fitting, key=lambda model: model.size_bytes or 0, default=None)
    return None if best is None else f"{parsed.backend}:{best.id}"
