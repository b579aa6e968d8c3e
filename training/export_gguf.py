"""A GGUF that llama.cpp and Ollama load, with the chat template of the style that the model was trained in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import atomic, gguf
from .errors import TrainingError
from .model import HEAD, PRODUCTS
from .prompts import ALPACA_PREAMBLE
from .shapes import Shape
from .vocabulary import Vocabulary
from .weights import ours_to_gguf

KINDS = {"gguf-f32": gguf.F32, "gguf-f16": gguf.F16, "gguf-q8_0": gguf.Q8_0}
_FILE_TYPES = {gguf.F32: 0, gguf.F16: 1, gguf.Q8_0: 7}
_CONTROL, _NORMAL = 3, 1

CHAT_TEMPLATES = {
    "alpaca": (
        "{%- set said = namespace(preamble='" + ALPACA_PREAMBLE + "') -%}"
        "{%- for message in messages -%}"
        "{%- if message['role'] == 'system' -%}{%- set said.preamble = message['content'] -%}"
        "{%- elif message['role'] == 'user' -%}"
        "{{- said.preamble + '\\n\\n### Instruction:\\n' + message['content'] -}}"
        "{%- else -%}"
        "{{- '\\n\\n### Response:\\n' + message['content'] + '<|endoftext|>' -}}"
        "{%- endif -%}{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{- '\\n\\n### Response:\\n' -}}{%- endif -%}"
    ),
    "phi3": (
        "{%- set said = namespace(system='') -%}"
        "{%- for message in messages -%}"
        "{%- if message['role'] == 'system' -%}{%- set said.system = message['content'] + '\\n' -%}"
        "{%- elif message['role'] == 'user' -%}"
        "{{- '<|user|>\\n' + said.system + message['content'] -}}"
        "{%- else -%}"
        "{{- '\\n<|assistant|>:\\n' + message['content'] + '<|endoftext|>' -}}"
        "{%- endif -%}{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{- '\\n<|assistant|>:\\n' -}}{%- endif -%}"
    ),
    "short": (
        "{%- set said = namespace(system='') -%}"
        "{%- for message in messages -%}"
        "{%- if message['role'] == 'system' -%}{%- set said.system = message['content'] + '\\n' -%}"
        "{%- elif message['role'] == 'user' -%}"
        "{{- said.system + message['content'] -}}"
        "{%- else -%}"
        "{{- '\\n<|>\\n' + message['content'] + '<|endoftext|>' -}}"
        "{%- endif -%}{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{- '\\n<|>\\n' -}}{%- endif -%}"
    ),
}
"""Jinja, per style: one turn is rendered byte for byte as in training, header of the response included."""


def write(
    target: Path,
    shape: Shape,
    tensors: Mapping[str, torch.Tensor],
    vocabulary: Vocabulary,
    kind: int,
    style: str,
    name: str,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    more: Mapping[str, str | float] | None = None,
) -> None:
    """Publish a GGUF file. Products are stored in `kind`, norms, biases and positions in F32; `more` is metadata.

    Raises TrainingError("export"): a width that Q8_0 cannot hold, a disk that refuses.
    """
    if kind == gguf.Q8_0 and shape.width % gguf.BLOCK:
        raise TrainingError(
            "export", f"Q8_0 needs a width that is a multiple of 32, not {shape.width}", "Take gguf-f16."
        )
    entries = [_entry(key, tensor, kind) for key, tensor in tensors.items()]
    try:
        with atomic.file(target) as partial, partial.open("wb") as file:
            known = metadata(shape, vocabulary, kind, style, name)
            gguf.write(file, {**known, **(more or {})}, entries, progress)
            gguf.sync(file)
    except OSError as error:
        raise TrainingError("export", f"{target}: cannot be written: {error}") from error


def _entry(
    name: str, tensor: torch.Tensor, kind: int
) -> tuple[str, tuple[int, ...], int, Callable[[], np.ndarray[Any, Any]]]:
    product = name in ("wte.weight", HEAD) or name.endswith(tuple(f"{part}.weight" for part in PRODUCTS))
    return (
        ours_to_gguf(name),
        tuple(tensor.shape),
        kind if product else gguf.F32,
        lambda: np.asarray(tensor.detach().float().cpu().numpy()),
    )


def metadata(shape: Shape, vocabulary: Vocabulary, kind: int, style: str, name: str) -> dict[str, Any]:
    """The keys that llama.cpp needs for a GPT-2 (`tokenizer.ggml.pre` above all), and our prompt style."""
    names = vocabulary.shown_tokens()
    names += [f"[unused{index}]" for index in range(len(names), shape.vocabulary)]
    end = vocabulary.end_of_text
    return {
        "general.architecture": "gpt2",
        "general.name": name,
        "general.file_type": _FILE_TYPES[kind],
        "general.quantization_version": 2,
        "gpt2.block_count": shape.layers,
        "gpt2.context_length": shape.context,
        "gpt2.embedding_length": shape.width,
        "gpt2.feed_forward_length": 4 * shape.width,
        "gpt2.attention.head_count": shape.heads,
        "gpt2.attention.layer_norm_epsilon": shape.epsilon,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": names,
        "tokenizer.ggml.token_type": [
            _CONTROL if index == end or index >= len(vocabulary) else _NORMAL for index in range(len(names))
        ],
        "tokenizer.ggml.merges": vocabulary.shown_merges(),
        "tokenizer.ggml.bos_token_id": end,
        "tokenizer.ggml.eos_token_id": end,
        "tokenizer.ggml.unknown_token_id": end,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": CHAT_TEMPLATES[style],
        "pairsmith.prompt_style": style,
    }
