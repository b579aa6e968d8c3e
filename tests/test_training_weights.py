"""Weights in and out: transformers and llama.cpp compute the same logits; pickles stay closed; damage is named."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pairsmith.training import bpe, export, export_gguf, export_safetensors, forward, gguf, weights
from pairsmith.training.errors import TrainingError
from pairsmith.training.inference import Options, load
from pairsmith.training.model import GPT2
from pairsmith.training.prompts import STYLES
from pairsmith.training.shapes import Shape
from pairsmith.training.vocabulary import Vocabulary
from tests.small_models import colour_pairs, lively_model

TEXTS = [STYLES["alpaca"].text(pair["instruction"], "", pair["output"]) for pair in colour_pairs(60, 1)]


@pytest.fixture(scope="module")
def words() -> Vocabulary:
    return bpe.train([*TEXTS, "naïve café ☕ 12345", "don't  stop\r\n\tnow"], 400)


def _model(words: Vocabulary, tied: bool = True) -> GPT2:
    return lively_model(Shape(3, 64, 4, 128, len(words), tied))


def _ids(words: Vocabulary) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, len(words) - 1, (2, 50), generator=generator)


@pytest.mark.parametrize("tied", [True, False])
def test_transformers_loads_our_folder_with_equal_logits(
    tmp_path: Path, words: Vocabulary, tied: bool
) -> None:
    transformers = pytest.importorskip("transformers")
    model, ids = _model(words, tied), _ids(words)
    export_safetensors.write(tmp_path / "m", model.shape, model.tensors, words, {})
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "m").eval()
    with torch.no_grad():
        assert torch.allclose(theirs(ids).logits, forward.logits(model, ids), atol=1e-4)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "m")
    for text in [*TEXTS[:5], "naïve ☕ don't\n\n  x"]:
        assert tokenizer.encode(text) == words.encode(text)


@pytest.mark.parametrize("tied", [True, False])
def test_our_loader_reads_what_transformers_saves(tmp_path: Path, tied: bool) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=300, n_positions=64, n_embd=48, n_layer=2, n_head=3, tie_word_embeddings=tied
    )
    torch.manual_seed(0)
    theirs = transformers.GPT2LMHeadModel(config).eval()
    for parameter in theirs.parameters():
        parameter.data.add_(torch.randn(parameter.shape) * 0.05)
    theirs.save_pretrained(tmp_path / "m")
    ours = weights.load(tmp_path / "m").model
    ids = torch.randint(0, 300, (2, 40))
    assert ours.shape.tied_head is tied
    with torch.no_grad():
        assert torch.allclose(theirs(ids).logits, forward.logits(ours, ids), atol=1e-4)


def test_official_names_without_prefix_and_with_mask_buffers_are_read(
    tmp_path: Path, words: Vocabulary
) -> None:
    model = _model(words)
    raw = {name.removeprefix("transformer."): t for name, t in weights.to_hub_names(model.tensors).items()}
    raw["h.0.attn.bias"] = torch.ones(1, 1, 128, 128)
    save_file(raw, str(tmp_path / "model.safetensors"))
    (tmp_path / "config.json").write_text(json.dumps({"n_head": 4}))
    loaded = weights.load(tmp_path).model
    assert all(torch.equal(loaded.tensors[name], tensor) for name, tensor in model.tensors.items())


def test_the_reference_texts_own_names_are_read(tmp_path: Path) -> None:
    model = lively_model(Shape(1, 64, 1, 32, 40, tied_head=False))
    q, k, v = model.tensors["h.0.attn.c_attn.weight"].chunk(3)
    bq, bk, bv = model.tensors["h.0.attn.c_attn.bias"].chunk(3)
    raw = {
        "tok_emb.weight": model.tensors["wte.weight"],
        "pos_emb.weight": model.tensors["wpe.weight"],
        "out_head.weight": model.tensors["lm_head.weight"],
        "final_norm.scale": model.tensors["ln_f.weight"],
        "final_norm.shift": model.tensors["ln_f.bias"],
    }
    block = {"W_query.weight": q, "W_key.weight": k, "W_value.weight": v}
    block |= {"W_query.bias": bq, "W_key.bias": bk, "W_value.bias": bv, "mask": torch.ones(32, 32)}
    raw |= {f"trf_blocks.0.att.{name}": tensor for name, tensor in block.items()}
    for theirs, ours in (
        ("att.out_proj", "attn.c_proj"),
        ("ff.layers.0", "mlp.c_fc"),
        ("ff.layers.2", "mlp.c_proj"),
    ):
        raw |= {
            f"trf_blocks.0.{theirs}.{end}": model.tensors[f"h.0.{ours}.{end}"] for end in ("weight", "bias")
        }
    for theirs, ours in (("norm1", "ln_1"), ("norm2", "ln_2")):
        raw[f"trf_blocks.0.{theirs}.scale"] = model.tensors[f"h.0.{ours}.weight"]
        raw[f"trf_blocks.0.{theirs}.shift"] = model.tensors[f"h.0.{ours}.bias"]
    path = tmp_path / "gpt2-sft.safetensors"
    save_file({name: tensor.clone().contiguous() for name, tensor in raw.items()}, str(path))
    loaded = weights.load(path).model
    assert all(torch.equal(loaded.tensors[name], tensor) for name, tensor in model.tensors.items())


@pytest.mark.parametrize("kind", list(export_gguf.KINDS))
@pytest.mark.parametrize("tied", [True, False])
def test_llama_cpp_computes_our_logits(tmp_path: Path, words: Vocabulary, kind: str, tied: bool) -> None:
    llama_cpp = pytest.importorskip("llama_cpp")
    model, ids = _model(words, tied), _ids(words)
    path = tmp_path / "m.gguf"
    number = export_gguf.KINDS[kind]
    export_gguf.write(path, model.shape, model.tensors, words, number, "alpaca", "test")
    llama = llama_cpp.Llama(str(path), n_ctx=128, logits_all=True, verbose=False)
    llama.eval(ids[0].tolist())
    theirs = torch.tensor(np.array(llama.scores[:50]))
    # what is left in F32 is llama.cpp's own f16 cache and GELU table
    limit = 0.1 if kind == "gguf-q8_0" else 5e-3
    assert float((theirs - forward.logits(model, ids)[0]).abs().max()) < limit
    for text in [*TEXTS[:20], "naïve ☕ don't\n\n  x 123 <|endoftext|>"]:
        assert llama.tokenize(text.encode(), add_bos=False) == words.encode(text)
    llama.close()


def test_gguf_goes_back_and_forth(tmp_path: Path, words: Vocabulary) -> None:
    model = _model(words, tied=False)
    export_gguf.write(tmp_path / "m.gguf", model.shape, model.tensors, words, gguf.F32, "phi3", "test")
    loaded = weights.load(tmp_path / "m.gguf")
    assert loaded.model.shape == model.shape
    assert all(torch.equal(loaded.model.tensors[name], tensor) for name, tensor in model.tensors.items())
    assert loaded.vocabulary is not None
    assert loaded.vocabulary.tokens == words.tokens
    assert loaded.notes == {"prompt_style": "phi3"}


@pytest.mark.parametrize("style", sorted(STYLES))
def test_the_chat_template_renders_what_was_trained(style: str) -> None:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(export_gguf.CHAT_TEMPLATES[style])
    messages = [{"role": "user", "content": "Name a colour"}]
    rendered = template.render(messages=messages, add_generation_prompt=True)
    chosen = STYLES[style]
    assert rendered == chosen.prompt("Name a colour", "") + chosen.header
    answered = [*messages, {"role": "assistant", "content": "red"}]
    whole = template.render(messages=answered, add_generation_prompt=False)
    assert whole == chosen.text("Name a colour", "", "red") + "<|endoftext|>"


@pytest.mark.parametrize("style", sorted(STYLES))
def test_the_modelfile_has_the_training_template(tmp_path: Path, words: Vocabulary, style: str) -> None:
    model = _model(words)
    export_safetensors.write(tmp_path / "m", model.shape, model.tensors, words, {"prompt_style": style})
    speaker = load(str(tmp_path / "m"), Options(device="cpu"))
    files = export.write(speaker, tmp_path / "ollama", "ollama", "x", {})
    text = files[1].read_text()
    rendered = re.sub(
        r"\{\{ if .System \}\}.*?(?:\{\{ else \}\}(.*?))?\{\{ end \}\}",
        r"\1",
        text.split('"""')[1],
        flags=re.S,
    )
    expected = STYLES[style].prompt("{{ .Prompt }}", "") + STYLES[style].header + "{{ .Response }}"
    assert rendered == expected
    assert files[0].name == "model.gguf"
    assert text.startswith("FROM ./model.gguf")


class _Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pth", "model.safetensors", "model.gguf"])
def test_a_pickle_is_refused_unopened_with_the_lines_that_convert_it(tmp_path: Path, name: str) -> None:
    canary = tmp_path / "opened"
    (tmp_path / name).write_bytes(pickle.dumps({"w": _Trap(canary)}))
    with pytest.raises(TrainingError) as refused:
        weights.load(tmp_path / name)
    assert refused.value.kind == "pickle"
    assert "weights_only=True" in refused.value.advice
    assert not canary.exists()


def test_a_torch_archive_is_refused_also_as_a_folder(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(2)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(TrainingError, match="pickled"):
        weights.load(tmp_path)


@pytest.mark.parametrize("cut", [3, 40, 2000, -7])
def test_a_torn_gguf_is_named(tmp_path: Path, words: Vocabulary, cut: int) -> None:
    model = _model(words)
    path = tmp_path / "m.gguf"
    export_gguf.write(path, model.shape, model.tensors, words, gguf.F16, "alpaca", "test")
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(TrainingError, match="whole GGUF"):
        weights.load(path)


def test_a_torn_safetensors_is_named(tmp_path: Path, words: Vocabulary) -> None:
    model = _model(words)
    weights.save(tmp_path / "m.safetensors", model.tensors)
    path = tmp_path / "m.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(TrainingError, match="whole safetensors"):
        weights.load(path)


def test_another_architecture_is_refused(tmp_path: Path, words: Vocabulary) -> None:
    weights.save(tmp_path / "model.safetensors", _model(words).tensors)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(TrainingError, match="llama"):
        weights.load(tmp_path)


def test_a_missing_tensor_is_named(tmp_path: Path, words: Vocabulary) -> None:
    tensors = dict(_model(words).tensors)
    del tensors["h.1.mlp.c_fc.bias"]
    weights.save(tmp_path / "m.safetensors", tensors)
    with pytest.raises(TrainingError, match=r"h\.1\.mlp\.c_fc\.bias"):
        weights.load(tmp_path / "m.safetensors")
