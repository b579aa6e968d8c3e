"""What talks to backends knows about the world: environment variables, the user's defaults, the workspace's.

Order, for generator and judge: what is asked for, the workspace's, the user's settings, and the embedded model (for
the generator always; for judging and evaluating where it knows the domain). For the server that `openai` means: what
is asked for, the environment, the user's, the workspace's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pairsmith.backends.errors import NoSuchModel
from pairsmith.backends.registry import Settings

from .demonstration import EMBEDDED, knows
from .doors import DEFAULT_GENERATOR
from .store.workspace import Workspace
from .user_settings import UserSettings, read_user_settings


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The variables in force, what the doors make of them, and the user's defaults."""

    env: Mapping[str, str]
    settings: Settings
    user: UserSettings

    def __repr__(self) -> str:
        return "Surroundings(...)"


def read_surroundings(
    env: Mapping[str, str], workspace: Workspace | None = None, base_url: str | None = None
) -> Surroundings:
    """Everything for talking to backends (blocking). Raises UsageError and BackendError for what cannot be read."""
    user = read_user_settings(env)
    trusted = True
    if base_url is None and not env.get("OPENAI_BASE_URL", "").strip():
        base_url = user.base_url
    if base_url is None and workspace is not None:
        base_url = workspace.meta("base_url")
        trusted = base_url is None
    local_only = workspace is not None and workspace.local_only
    settings = Settings.from_environment(
        env,
        local_only=local_only,
        base_url=base_url,
        base_url_trusted=trusted,
        reproducible=user.reproducible,
    )
    return Surroundings(env, settings, user)


def present_generator(workspace: Workspace, surroundings: Surroundings) -> str:
    """BACKEND:MODEL that writes where nothing says otherwise."""
    return workspace.meta("generator") or surroundings.user.generator or DEFAULT_GENERATOR


def present_judge(workspace: Workspace, surroundings: Surroundings) -> str | None:
    """BACKEND:MODEL that judges where nothing says otherwise; None where nobody named one."""
    return workspace.meta("judge") or surroundings.user.judge


def default_judge(workspace: Workspace, surroundings: Surroundings) -> str | None:
    """As `present_judge`; where nobody named one, the demonstration model if it is here and knows the domain."""
    named = present_judge(workspace, surroundings)
    if named is not None or not knows(workspace.meta("domain") or ""):
        return named
    from pairsmith.backends.llama_cpp.catalogue import resolve

    try:
        resolve(EMBEDDED.partition(":")[2], surroundings.settings.home, surroundings.env)
    except NoSuchModel:
        return None
    return EMBEDDED
