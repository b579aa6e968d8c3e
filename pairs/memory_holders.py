"""Before a training starts: how much memory is free, who else holds a model in it, and making them let go."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pairsmith.backends.errors import BackendError
from pairsmith.backends.registry import Settings
from pairsmith.backends.text import one_line

from .training_child import run_verb

_QUICK_S = 3.0


@dataclass(frozen=True, slots=True)
class Holder:
    """A model that is in memory. `who` is "Ollama" or "the llama.cpp worker"."""

    who: str
    model: str


def may_have_gpu(device: str) -> bool:
    """Whether a run on this device may use a GPU, told without loading anything."""
    if device != "auto":
        return device != "cpu"
    return sys.platform == "darwin" or any(Path(f"/dev/{name}").exists() for name in ("nvidia0", "kfd"))


async def free_memory() -> list[str]:
    """A line for each GPU, such as "cuda:0 (NVIDIA H200): 139,000 MB free". Raises TrainingFailed."""
    done = await run_verb(["devices"])
    found = done.get("devices")
    return [
        f"{one_line(str(item.get('label')), 80)}: {int(item.get('memory_free_mb') or 0):,} MB free"
        for item in (found if isinstance(found, list) else ())
        if isinstance(item, dict) and item.get("device") != "cpu"
    ]


async def find_holders(settings: Settings) -> list[Holder]:
    """Models held by Ollama on this machine and by our own workers. Who cannot be asked holds none."""
    held = [Holder("the llama.cpp worker", name) for name in _workers()]
    try:
        async with asyncio.timeout(_QUICK_S):
            held += [Holder("Ollama", name) for name in await _ollama_models(settings)]
    except (BackendError, TimeoutError):
        pass
    return held


async def unload(settings: Settings, holders: Sequence[Holder]) -> list[str]:
    """Make them let go; a line for each. Raises nothing: what cannot be unloaded is said."""
    said = []
    if any(holder.who != "Ollama" for holder in holders):
        from pairsmith.backends.llama_cpp import shared

        await asyncio.to_thread(shared.unload_all)
    for holder in holders:
        name = one_line(holder.model, 80)
        try:
            if holder.who == "Ollama":
                await _unload_from_ollama(settings, holder.model)
            said.append(f"unloaded {name} from {holder.who}")
        except BackendError as error:
            said.append(f"{holder.who} still holds {name}: {error.message}")
    return said


def _workers() -> list[str]:
    shared = sys.modules.get("pairsmith.backends.llama_cpp.shared")
    return [] if shared is None else list(shared.loaded())


async def _ollama_models(settings: Settings) -> list[str]:
    from pairsmith.backends.ollama import open_ollama

    # Only a server on this machine shares our memory.
    backend = open_ollama("", replace(settings, local_only=True))
    try:
        return sorted(await backend.loaded())
    finally:
        await backend.close()


async def _unload_from_ollama(settings: Settings, model: str) -> None:
    from pairsmith.backends.ollama import open_ollama

    backend = open_ollama(model, settings)
    try:
        await backend.unload()
    finally:
        await backend.close()
