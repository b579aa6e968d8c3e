"""From a name to a backend: `nim:meta/llama-3.1-405b-instruct` is read, and the right door is opened, lazily."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from .errors import BadRequest, UnknownBackend
from .protocol import Backend
from .text import one_line

NAMES = ("nim", "openai", "ollama", "llama-cpp")
NIM_URL = "https://integrate.api.nvidia.com/v1"
OPENAI_URL = "https://api.openai.com/v1"


@dataclass(frozen=True, slots=True)
class Spec:
    """BACKEND:MODEL, as on the command line."""

    backend: str
    model: str

    def __str__(self) -> str:
        return f"{self.backend}:{self.model}"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the doors need to know besides the model. Build it with `from_environment`."""

    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The variables that may hold keys. Never shown."""
    home: Path = Path()
    """Folder of settings, models and runs."""
    local_only: bool = False
    base_url: str | None = None
    """Address of the OpenAI-compatible server; None: OpenAI's own."""
    base_url_trusted: bool = True
    """False where the address came out of a workspace file: no key is sent there, for that file may be a stranger's."""
    nim_url: str = NIM_URL
    ollama_host: str | None = None
    requests_per_minute: int | None = None
    """The most requests a minute for remote servers; None: find out."""
    time_scale: float = 1.0
    """How much faster than the wall clock rate limits and back-offs run. 1 but in tests against scaled servers."""
    deadline_s: float = 120.0
    """Total seconds for one request, for callers that have no better figure."""
    n_parallel: int | None = None
    """llama-cpp: sequences at once; None: measured."""
    n_threads: int | None = None
    n_ctx: int | None = None
    """Context window in tokens for llama-cpp and ollama; None: the door's choice."""
    gpu_layers: int | None = None
    """llama-cpp: layers on the GPU; None: all that fit."""
    reproducible: bool = False
    """llama-cpp: one answer at a time, so that the same request gives the same bytes again."""

    @classmethod
    def from_environment(
        cls,
        env: Mapping[str, str],
        *,
        local_only: bool = False,
        base_url: str | None = None,
        base_url_trusted: bool = True,
        **others: object,
    ) -> Settings:
        """Settings from environment variables, with `base_url` (a flag or a workspace's) before OPENAI_BASE_URL.

        `others` are fields of this class. Raises `BadRequest` for a variable that cannot be read.
        """
        from_env = env.get("OPENAI_BASE_URL", "").strip() or None
        settings = cls(
            env=dict(env),
            home=_home(env),
            local_only=local_only,
            base_url=base_url or from_env,
            base_url_trusted=base_url_trusted or base_url in (None, from_env),
            nim_url=env.get("PAIRSMITH_NIM_URL", "").strip() or NIM_URL,
            ollama_host=env.get("OLLAMA_HOST", "").strip() or None,
            requests_per_minute=_whole(env, "PAIRSMITH_REQUESTS_PER_MINUTE"),
            time_scale=_scale(env),
        )
        return replace(settings, **others) if others else settings  # type: ignore[arg-type]


def parse_spec(text: str) -> Spec:
    """Read BACKEND:MODEL; the model may hold colons. Raises `UnknownBackend` naming the four and what was meant."""
    name, _, model = text.strip().partition(":")
    name, model = name.strip().lower(), model.strip()
    if name not in NAMES:
        near = difflib.get_close_matches(name.replace("_", "-"), NAMES, n=1, cutoff=0.5)
        meant = f"Did you mean {near[0]}:{one_line(model, 60) or 'MODEL'}? " if near else ""
        raise UnknownBackend(
            f"unknown backend {one_line(name, 40)!r}",
            advice=f"{meant}Give BACKEND:MODEL, where BACKEND is one of {', '.join(NAMES)}",
            reached=False,
        )
    if not model or any(ord(c) < 32 for c in model):
        raise UnknownBackend(
            f"no model given for {name}", advice=f"Give BACKEND:MODEL, like {_EXAMPLES[name]}", reached=False
        )
    return Spec(name, model)


_EXAMPLES = {
    "nim": "nim:meta/llama-3.1-405b-instruct",
    "openai": "openai:MODEL with --base-url http://127.0.0.1:8000/v1",
    "ollama": "ollama:llama3.2",
    "llama-cpp": "llama-cpp:embedded or llama-cpp:/path/to/model.gguf",
}


def open_backend(spec: Spec, settings: Settings) -> Backend:
    """The door to a model. Opens no connection. Raises `BackendError`: not allowed here, no key, no such file."""
    if spec.backend == "nim":
        from .nim import open_nim

        return open_nim(spec.model, settings)
    if spec.backend == "openai":
        from .openai_compatible import open_openai

        return open_openai(spec.model, settings)
    if spec.backend == "ollama":
        from .ollama import open_ollama

        return open_ollama(spec.model, settings)
    if spec.backend == "llama-cpp":
        from .llama_cpp.backend import open_llama_cpp

        return open_llama_cpp(spec.model, settings)
    raise UnknownBackend(
        f"unknown backend {one_line(spec.backend, 40)!r}", advice=f"One of {', '.join(NAMES)}"
    )


def _home(env: Mapping[str, str]) -> Path:
    given = env.get("PAIRSMITH_HOME", "").strip()
    if given:
        return Path(given).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir("pairsmith", appauthor=False))


def _whole(env: Mapping[str, str], name: str) -> int | None:
    text = env.get(name, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 9 and int(text) > 0):
        raise BadRequest(f"{name} is not a whole number above 0: {one_line(text, 40)!r}", reached=False)
    return int(text)


def _scale(env: Mapping[str, str]) -> float:
    text = env.get("PAIRSMITH_TIME_SCALE", "").strip() or "1"
    try:
        scale = float(text)
    except ValueError:
        scale = math.nan
    if not 0 < scale <= 10_000:
        raise BadRequest(
            f"PAIRSMITH_TIME_SCALE is not a number above 0: {one_line(text, 40)!r}", reached=False
        )
    return scale
