"""Read GPT-2 weights from safetensors (as transformers and the official files name them) or our GGUF; write the first.

Official files hold the four product weights of a block transposed ("Conv1D", [in, out]); causal-mask buffers
(`attn.bias`, `attn.masked_bias`) are skipped. Pickled checkpoints are refused unopened.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from . import gguf
from .errors import TrainingError
from .model import GPT2, HEAD, PRODUCTS, sizes
from .shapes import Shape
from .vocabulary import Vocabulary, from_files, from_shown

PREFIX = "transformer."
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_TURNED = tuple(f"{product}.weight" for product in PRODUCTS)
_GGUF_BLOCK = {
    "attn_norm": "ln_1",
    "attn_qkv": "attn.c_attn",
    "attn_output": "attn.c_proj",
    "ffn_norm": "ln_2",
    "ffn_up": "mlp.c_fc",
    "ffn_down": "mlp.c_proj",
}


@dataclass(slots=True)
class Loaded:
    """A model as it was found: tensors, vocabulary if the place has one, and our own notes about it."""

    model: GPT2
    vocabulary: Vocabulary | None
    notes: dict[str, Any]
    """What `pairsmith.json` beside the weights says (prompt style and origin), {} where there is none."""
    path: Path


def load(path: Path) -> Loaded:
    """A model from a folder, a `.safetensors` or a `.gguf` file, in fp32 on the CPU.

    Raises TrainingError: "weights" (absent, damaged, not GPT-2), "pickle" (never opened), "vocabulary".
    """
    if path.is_dir():
        return _from_folder(path)
    if not path.exists():
        raise TrainingError("weights", f"{path}: no such file or folder")
    _refuse_pickle(path)
    if path.suffix == ".gguf":
        return _from_gguf(path)
    return _from_safetensors(path)


def _from_folder(folder: Path) -> Loaded:
    for name in ("model.safetensors", "model.safetensors.index.json"):
        if (folder / name).exists():
            return _from_safetensors(folder / name)
    for pattern in ("*.safetensors", "*.gguf"):
        found = sorted(folder.glob(pattern))
        if len(found) == 1:
            return load(found[0])
    for file in sorted(folder.iterdir()):
        if file.suffix in PICKLED:
            _refuse_pickle(file)
    raise TrainingError("weights", f"{folder}: no model.safetensors and no single .gguf in it")


def _refuse_pickle(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(9)
    if path.suffix.lower() not in PICKLED and not start.startswith((b"PK\x03\x04", b"\x80")):
        return
    if path.suffix == ".safetensors" and start[8:] == b"{":
        # a header of 128 (or 384, …) bytes: its length begins like a pickle
        return
    raise TrainingError(
        "pickle",
        f"{path.name}: a pickled checkpoint can run any program when it is opened, so it is not opened",
        "Convert it elsewhere (a container or machine that holds nothing of value) and take the new file:\n"
        "  pip install torch safetensors\n"
        f'  python -c "import torch, safetensors.torch as s; '
        f"d = torch.load('{path.name}', map_location='cpu', weights_only=True); "
        "d = d.get('model_state_dict', d); "
        "s.save_file({k: v.clone().contiguous() for k, v in d.items()}, 'model.safetensors')\"",
    )


def _from_safetensors(path: Path) -> Loaded:
    folder = path.parent
    config = _json(folder / "config.json")
    raw: dict[str, torch.Tensor] = {}
    for file in _shards(path):
        raw |= _read_file(file)
    if any(name.startswith("trf_blocks.") for name in raw):
        raw = _from_reference_names(raw)
    tensors = from_hub_names(raw)
    shape = _shape(path.name, tensors, config)
    vocabulary = None
    if (folder / "vocab.json").exists() and (folder / "merges.txt").exists():
        vocabulary = from_files(folder / "vocab.json", folder / "merges.txt")
    return Loaded(_model(path.name, shape, tensors), vocabulary, _json(folder / "pairsmith.json"), path)


def _shards(path: Path) -> list[Path]:
    if path.name != "model.safetensors.index.json":
        return [path]
    names = set(_json(path).get("weight_map", {}).values())
    if not names or any("/" in name or "\\" in name or name.startswith(".") for name in names):
        raise TrainingError("weights", f"{path.name}: names no files beside it")
    return [path.parent / name for name in sorted(names)]


def _read_file(path: Path) -> dict[str, torch.Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {
                name: file.get_tensor(name).float()
                for name in file.keys()  # noqa: SIM118
                if not name.endswith((".attn.bias", ".attn.masked_bias"))
            }
    except (SafetensorError, OSError) as error:
        raise TrainingError("weights", f"{path.name}: not a whole safetensors file: {error}") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise TrainingError("weights", f"{path.name}: cannot be read: {error}") from error
    return values if isinstance(values, dict) else {}


def from_hub_names(raw: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Our tensors from the official names: the prefix goes, product weights are turned to [out, in]."""
    tensors = {}
    for name, tensor in raw.items():
        short = name.removeprefix(PREFIX)
        tensors[short] = tensor.T.contiguous() if short.endswith(_TURNED) else tensor
    return tensors


def to_hub_names(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The official names and layout of our tensors, as GPT2LMHeadModel saves them."""
    raw = {}
    for name, tensor in tensors.items():
        turned = tensor.T if name.endswith(_TURNED) else tensor
        raw[name if name == HEAD else PREFIX + name] = turned.contiguous()
    return raw


def _from_reference_names(raw: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Official names of a model saved by the reference text's code (its product weights are [out, in] already)."""
    plain = {
        "tok_emb.weight": "wte.weight",
        "pos_emb.weight": "wpe.weight",
        "out_head.weight": HEAD,
        "final_norm.scale": "ln_f.weight",
        "final_norm.shift": "ln_f.bias",
    }
    parts = {
        "att.out_proj": "attn.c_proj",
        "ff.layers.0": "mlp.c_fc",
        "ff.layers.2": "mlp.c_proj",
        "norm1": "ln_1",
        "norm2": "ln_2",
    }
    endings = {"scale": "weight", "shift": "bias", "weight": "weight", "bias": "bias"}
    tensors = {plain[name]: tensor for name, tensor in raw.items() if name in plain}
    for name, tensor in raw.items():
        if not name.startswith("trf_blocks.") or name.endswith(".mask"):
            continue
        layer, rest = name.removeprefix("trf_blocks.").split(".", 1)
        part, _, ending = rest.rpartition(".")
        if part == "att.W_query":
            pieces = [raw[name.replace("W_query", piece)] for piece in ("W_query", "W_key", "W_value")]
            target, value = "attn.c_attn", torch.cat(pieces)
        elif part in parts:
            target, value = parts[part], tensor
        else:
            continue
        key = f"h.{layer}.{target}.{endings[ending]}"
        tensors[key] = value.T if key.endswith(_TURNED) else value
    return tensors


def _shape(name: str, tensors: dict[str, torch.Tensor], config: dict[str, Any]) -> Shape:
    if config.get("model_type", "gpt2") != "gpt2":
        raise TrainingError("weights", f"{name}: a {config['model_type']} model, not GPT-2")
    if config.get("activation_function", "gelu_new") not in ("gelu_new", "gelu_pytorch_tanh"):
        raise TrainingError("weights", f"{name}: activation {config['activation_function']} is not GPT-2's")
    for flag in ("scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn", "add_cross_attention"):
        if config.get(flag):
            raise TrainingError("weights", f"{name}: {flag} is not GPT-2's")
    try:
        vocabulary, width = tensors["wte.weight"].shape
        context = tensors["wpe.weight"].shape[0]
    except (KeyError, ValueError) as error:
        raise TrainingError("weights", f"{name}: no GPT-2 embeddings in it") from error
    layers = sum(key.endswith(".ln_1.weight") for key in tensors)
    tied = HEAD not in tensors
    if (
        not tied
        and config.get("tie_word_embeddings", True)
        and torch.equal(tensors[HEAD], tensors["wte.weight"])
    ):
        del tensors[HEAD]
        tied = True
    return Shape(
        layers,
        width,
        int(config.get("n_head", max(1, width // 64))),
        context,
        vocabulary,
        tied,
        float(f"{config.get('layer_norm_epsilon', 1e-5):.6g}"),
    )


def _model(name: str, shape: Shape, tensors: dict[str, torch.Tensor]) -> GPT2:
    expected = dict(sizes(shape))
    for key, size in expected.items():
        if key not in tensors:
            raise TrainingError("weights", f"{name}: {key} is missing")
        if tuple(tensors[key].shape) != size:
            found = "x".join(map(str, tensors[key].shape))
            raise TrainingError("weights", f"{name}: {key} is {found}, not {'x'.join(map(str, size))}")
    extra = sorted(set(tensors) - set(expected))
    if extra:
        raise TrainingError("weights", f"{name}: not GPT-2: it also holds {', '.join(extra[:3])}")
    return GPT2(shape, {key: tensors[key].contiguous() for key in expected})


def _from_gguf(path: Path) -> Loaded:
    file = gguf.read(path)
    values = file.metadata
    if values.get("general.architecture") != "gpt2":
        raise TrainingError(
            "weights", f"{path.name}: a {values.get('general.architecture')} model, not GPT-2"
        )
    tensors = {}
    for name in file.tensors:
        ours = gguf_to_ours(name)
        if ours is not None:
            tensors[ours] = torch.from_numpy(file.array(name))
    config = {
        "n_head": values.get("gpt2.attention.head_count"),
        "layer_norm_epsilon": values.get("gpt2.attention.layer_norm_epsilon", 1e-5),
    }
    shape = _shape(path.name, tensors, config)
    vocabulary = None
    if values.get("tokenizer.ggml.model") == "gpt2":
        names, merges = values.get("tokenizer.ggml.tokens", []), values.get("tokenizer.ggml.merges", [])
        vocabulary = from_shown(names, merges, path.stem)
    style = values.get("pairsmith.prompt_style")
    return Loaded(
        _model(path.name, shape, tensors), vocabulary, {"prompt_style": style} if style else {}, path
    )


def gguf_to_ours(name: str) -> str | None:
    """Our name of a tensor in a GGUF; None for one that we do not use."""
    plain = {
        "token_embd.weight": "wte.weight",
        "position_embd.weight": "wpe.weight",
        "output_norm.weight": "ln_f.weight",
        "output_norm.bias": "ln_f.bias",
        "output.weight": HEAD,
    }
    if name in plain:
        return plain[name]
    parts = name.split(".")
    if len(parts) == 4 and parts[0] == "blk" and parts[2] in _GGUF_BLOCK:
        return f"h.{parts[1]}.{_GGUF_BLOCK[parts[2]]}.{parts[3]}"
    return None


def ours_to_gguf(name: str) -> str:
    """The name that llama.cpp knows our tensor by."""
    if not name.startswith("h."):
        return {
            "wte.weight": "token_embd.weight",
            "wpe.weight": "position_embd.weight",
            "ln_f.weight": "output_norm.weight",
            "ln_f.bias": "output_norm.bias",
            HEAD: "output.weight",
        }[name]
    _, layer, rest = name.split(".", 2)
    part, _, ending = rest.rpartition(".")
    theirs = next(theirs for theirs, ours in _GGUF_BLOCK.items() if ours == part)
    return f"blk.{layer}.{theirs}.{ending}"


def save(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write tensors to a safetensors file under the official names."""
    raw = {name: tensor.detach().cpu() for name, tensor in to_hub_names(tensors).items()}
    save_file(raw, str(path), metadata={"format": "pt"})
