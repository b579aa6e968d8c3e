"""What the user may set about llama.cpp, from settings or `PAIRSMITH_LLAMA_*`; None means: chosen from the machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import BadRequest

KV_TYPES = ("f32", "f16", "q8_0", "q4_0")
PREFIX = "PAIRSMITH_LLAMA_"


@dataclass(frozen=True, slots=True)
class LlamaOptions:
    """Overrides of the machine's own choice. Each field is also an environment variable, PAIRSMITH_LLAMA_<FIELD>."""

    parallel: int | None = None
    """Sequences decoded together."""
    threads: int | None = None
    ctx: int | None = None
    """Tokens that the key/value cache holds, all sequences together."""
    batch: int | None = None
    """Most tokens in one decode call."""
    kv: str | None = None
    """Type of the key/value cache: f32, f16, q8_0 or q4_0."""
    gpu_layers: int | None = None
    """Layers kept on the GPU; -1 for all."""
    flash: bool | None = None
    """Flash attention; None leaves it to llama.cpp."""
    think: bool | None = None
    """Let models with a switchable thinking mode think."""
    reproducible: bool = False
    """Run every completion alone, from an empty cache, in batches of one fixed shape: the same request then gives
    the same bytes again on the same build, file and settings. Costs the gain of batching."""


def options_from(settings: object, env: Mapping[str, str]) -> LlamaOptions:
    """Options from `settings.llama` (a mapping, a dataclass or None), then the environment, which wins.

    Raises `BadRequest` naming the variable that is not understood.
    """
    given = getattr(settings, "llama", None) or {}
    if isinstance(given, LlamaOptions):
        given = dataclasses.asdict(given)
    elif dataclasses.is_dataclass(given) and not isinstance(given, type):
        given = dataclasses.asdict(given)
    known = {f.name for f in dataclasses.fields(LlamaOptions)}
    values: dict[str, Any] = {k: _value(k, str(v), k) for k, v in given.items() if k in known and v is not None}
    for name in known:
        text = env.get(PREFIX + name.upper(), "").strip()
        if text:
            values[name] = _value(name, text, PREFIX + name.upper())
    return LlamaOptions(**values)


def _value(name: str, text: str, shown: str) -> int | bool | str:
    if name == "kv":
        if text.lower() not in KV_TYPES:
            raise BadRequest(f"{shown} must be one of {', '.join(KV_TYPES)}", reached=False)
        return text.lower()
    if name in ("flash", "think", "reproducible"):
        if text.lower() not in ("1", "0", "true", "false", "yes", "no", "on", "off"):
            raise BadRequest(f"{shown} must be 1 or 0", reached=False)
        return text.lower() in ("1", "true", "yes", "on")
    try:
        number = int(text)
    except ValueError:
        raise BadRequest(f"{shown} must be a whole number", reached=False) from None
    if number < (-1 if name == "gpu_layers" else 1):
        raise BadRequest(f"{shown} must be at least {-1 if name == 'gpu_layers' else 1}", reached=False)
    return number
