"""What the user may set about llama.cpp, from settings or `PAIRSMITH_LLAMA_*`; None means: chosen from the machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..errors import BadRequest

KV_TYPES = ("f32", "f16", "q8_0", "q4_0")
PREFIX = "PAIRSMITH_LLAMA_"


@dataclass(frozen=True, slots=True)
class LlamaOptions:
    """Overrides of the machine's own choice. Each field is also an environment variable, PAIRSMITH_LLAMA_<FIELD>."""

    parallel: int | None = None
    """Sequences that run at a time, all lanes together."""
    lanes: int | None = None
    """Contexts that decode side by side, each with its share of the sequences and of the threads."""
    threads: int | None = None
    ctx: int | None = None
    """Tokens that the key/value cache holds, all sequences together."""
    batch: int | None = None
    """Most tokens in one decode call."""
    ubatch: int | None = None
    """Most tokens computed together within one."""
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


_SETTINGS = {
    "n_parallel": "parallel",
    "n_threads": "threads",
    "n_ctx": "ctx",
    "gpu_layers": "gpu_layers",
    "reproducible": "reproducible",
}
"""Fields of the application's settings that are ours, and what they are called here."""


def options_from(settings: object, env: Mapping[str, str]) -> LlamaOptions:
    """Options from the settings' fields, then the environment, which wins.

    Raises `BadRequest` naming the variable that is not understood.
    """
    values: dict[str, Any] = {}
    for theirs, ours in _SETTINGS.items():
        given = getattr(settings, theirs, None)
        if given is not None:
            values[ours] = _value(ours, str(given), theirs)
    for option in fields(LlamaOptions):
        text = env.get(PREFIX + option.name.upper(), "").strip()
        if text:
            values[option.name] = _value(option.name, text, PREFIX + option.name.upper())
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
