"""A model folder that other tools load: transformers' GPT2LMHeadModel, and our own `weights.load`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from . import atomic, weights
from .errors import TrainingError
from .shapes import Shape
from .vocabulary import END, Vocabulary


def write(
    target: Path,
    shape: Shape,
    tensors: Mapping[str, torch.Tensor],
    vocabulary: Vocabulary,
    notes: dict[str, Any],
    extra: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> None:
    """Publish weights, `config.json`, tokenizer files and our notes as the folder `target`.

    `extra` are further JSON files by name. Raises TrainingError("export") where the disk refuses.
    """
    try:
        with atomic.folder(target) as partial:
            weights.save(partial / "model.safetensors", tensors)
            progress(len(tensors), len(tensors))
            vocabulary.save(partial)
            files = {
                "config.json": hub_config(shape, vocabulary),
                "generation_config.json": _generation(vocabulary),
                "tokenizer_config.json": _tokenizer(shape),
                "special_tokens_map.json": dict.fromkeys(("bos_token", "eos_token", "unk_token"), END),
                "pairsmith.json": notes,
                **(extra or {}),
            }
            for name, values in files.items():
                (partial / name).write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise TrainingError("export", f"{target}: cannot be written: {error}") from error


def hub_config(shape: Shape, vocabulary: Vocabulary) -> dict[str, Any]:
    """transformers' GPT2Config of a shape."""
    end = vocabulary.end_of_text
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        "vocab_size": shape.vocabulary,
        "n_positions": shape.context,
        "n_ctx": shape.context,
        "n_embd": shape.width,
        "n_layer": shape.layers,
        "n_head": shape.heads,
        "n_inner": None,
        "layer_norm_epsilon": shape.epsilon,
        "tie_word_embeddings": shape.tied_head,
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "bos_token_id": end,
        "eos_token_id": end,
        "dtype": "float32",
    }


def _generation(vocabulary: Vocabulary) -> dict[str, Any]:
    end = vocabulary.end_of_text
    return {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end, "do_sample": False}


def _tokenizer(shape: Shape) -> dict[str, Any]:
    return {
        "tokenizer_class": "GPT2Tokenizer",
        "model_max_length": shape.context,
        "bos_token": END,
        "eos_token": END,
        "unk_token": END,
        "add_prefix_space": False,
    }
