"""`export MODEL`: safetensors, GGUF in three kinds, or a folder for Ollama."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import atomic, export_gguf, export_safetensors, gguf
from .errors import TrainingError
from .inference import Speaker
from .prompts import ALPACA_PREAMBLE, Style

FORMATS = ("safetensors", *export_gguf.KINDS, "ollama")


def write(
    speaker: Speaker,
    target: Path,
    format_: str,
    name: str,
    notes: dict[str, Any],
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[Path]:
    """Write a model in one of FORMATS; the files or the folder. Raises TrainingError("export")."""
    if format_ not in FORMATS:
        raise TrainingError("export", f"no format {format_!r}", f"Formats are: {', '.join(FORMATS)}.")
    shape, tensors = speaker.model.shape, speaker.model.merged()
    if format_ == "safetensors":
        if (target / "config.json").exists() and not (target / atomic.MANIFEST).exists():
            raise TrainingError(
                "export", f"{target}: a model that we did not write is there", "Take a new folder."
            )
        export_safetensors.write(target, shape, tensors, speaker.vocabulary, notes, progress=progress)
        return [target]
    if format_ == "ollama":
        kind = gguf.F16
        weights = target / "model.gguf"
    else:
        kind, weights = export_gguf.KINDS[format_], target
        if target.is_dir():
            weights = target / f"{name}.gguf"
    export_gguf.write(weights, shape, tensors, speaker.vocabulary, kind, speaker.style.name, name, progress)
    if format_ != "ollama":
        return [weights]
    atomic.text(target / "Modelfile", modelfile(speaker.style, shape.context))
    return [weights, target / "Modelfile"]


def modelfile(style: Style, context: int) -> str:
    """The Modelfile of a model.gguf beside it: the style's template byte for byte, greedy, stopping where it ends.

    `ollama create NAME -f Modelfile` makes the model.
    """
    if style.name == "alpaca":
        system = "{{ if .System }}{{ .System }}{{ else }}" + ALPACA_PREAMBLE + "{{ end }}"
        template = system + "\n\n### Instruction:\n{{ .Prompt }}\n\n### Response:\n{{ .Response }}"
        stops = ["### Instruction:", "<|endoftext|>"]
    else:
        said = style.prompt("{{ if .System }}{{ .System }}\n{{ end }}{{ .Prompt }}", "")
        template = said + style.header + "{{ .Response }}"
        stops = ["<|user|>" if style.name == "phi3" else style.marker, "<|endoftext|>"]
    lines = ["FROM ./model.gguf", f'TEMPLATE """{template}"""', f"PARAMETER num_ctx {context}"]
    lines += ["PARAMETER temperature 0", *(f'PARAMETER stop "{stop}"' for stop in stops)]
    return "\n".join(lines) + "\n"
