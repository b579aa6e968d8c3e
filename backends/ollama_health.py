"""Can an Ollama server be used now, and if not, what should the user do?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from .errors import BackendError, NoSuchModel
from .ollama_library import CVE, SAFE_SINCE, ModelFacts, ask_version, list_models, near_names, read_version
from .ollama_wire import Wire
from .protocol import Health
from .text import one_line


async def check_health(
    wire: Wire,
    model: str,
    ask: Callable[[], Awaitable[ModelFacts]] | None,
    *,
    warning: str = "",
) -> Health:
    """Told apart: not installed, not started, something else there, model missing, model that cannot chat.

    `ask` fetches the model's facts (None: only the server is looked at). Never raises `BackendError`.
    """
    await wire.look_for_program()
    try:
        version = await ask_version(wire)
    except BackendError as problem:
        return Health(False, problem.message, f"{problem.advice}. {warning}".strip(". "), error=problem)
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
