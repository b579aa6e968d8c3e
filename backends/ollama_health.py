"""Can an Ollama server be used now, and if not, what should the user do?"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable

from .errors import BackendError, NoSuchModel, NotReachable
from .ollama_library import CVE, SAFE_SINCE, ModelFacts, ask_version, list_models, near_names, read_version
from .ollama_wire import Wire
from .protocol import Health
from .text import one_line


async def check_health(
    wire: Wire,
    model: str,
    ask: Callable[[], Awaitable[ModelFacts]] | None,
    *,
    here: bool,
    warning: str = "",
) -> Health:
    """Told apart: not installed, not started, something else there, model missing, model that cannot chat.

    `ask` fetches the model's facts (None: only the server is looked at); `here` says that the address is this
    machine's, so that a missing program explains the silence. Never raises `BackendError`.
    """
    try:
        version = await ask_version(wire)
    except NotReachable as problem:
        return await _unreachable(wire, problem, here, warning)
    except BackendError as problem:
        return Health(False, problem.message, problem.advice, error=problem)
    try:
        facts = await ask() if ask is not None else ModelFacts()
    except NoSuchModel as problem:
        return await _no_model(wire, model, problem, version)
    except BackendError as problem:
        return Health(False, problem.message, problem.advice, version, problem)
    if not facts.chats:
        able = one_line(", ".join(sorted(facts.capabilities or ())) or "nothing", 80)
        summary = f"{one_line(model, 80)} cannot chat (what it can do: {able})"
        return Health(False, summary, "Choose a chat model", version)
    return _ready(version, warning)


def _ready(version: str, warning: str) -> Health:
    summary, advice = f"ready, {version}", warning
    numbers = read_version(version)
    if numbers is not None and numbers < SAFE_SINCE:
        summary += f" (security hole {CVE})"
        advice = f"Update Ollama to 0.17.1 or later: {CVE} is fixed there. {advice}".strip()
    return Health(True, summary, advice, version)


async def _unreachable(wire: Wire, problem: NotReachable, here: bool, warning: str) -> Health:
    summary, advice = f"nothing answers at {wire.origin}", "Check OLLAMA_HOST and the network"
    if here and await asyncio.to_thread(shutil.which, "ollama") is None:
        summary = f"not installed: {summary}, and there is no ollama program here"
        advice = "Install it from https://ollama.com/download, or set OLLAMA_HOST"
    elif here:
        summary, advice = f"not started: {summary}", "Start it with: ollama serve"
    return Health(False, summary, f"{advice}. {warning}" if warning else advice, None, problem)


async def _no_model(wire: Wire, model: str, problem: NoSuchModel, version: str) -> Health:
    name = one_line(model, 80)
    advice = f"Run: ollama pull {name}"
    try:
        near = near_names(model, await list_models(wire))
    except BackendError:
        near = []
    if near:
        advice += f"; or use one that is there: {one_line(', '.join(near), 120)}"
    return Health(False, f"model {name} is not there", advice, version, problem)
