"""Tiny GGUF models for tests: real files that the real llama.cpp loads in milliseconds.

`make_tiny_gguf` writes random weights (text is noise, but every mechanism works: schema-bound output parses);
`make_markov_gguf` writes a model that babbles after a given text, word by word, so that output reads like language.
Both have a small byte-level BPE vocabulary, so any UTF-8 text can be tokenised.
"""

from __future__ import annotations

import itertools
import re
import struct
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Quant = Literal["f32", "f16", "q8_0"]

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] "
    "+ '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CORPUS = (
    "Write a short answer. Explain how to create a new branch in a repository and merge it into the main one.\n"
    "The instruction describes a task. The response completes the request: list, name, sort, compare the items.\n"
    "Grade the response from 0 to 4 for helpfulness, correctness, coherence, complexity and verbosity.\n"
)
_ALIGN = 32
_TYPES = {"f32": 0, "f16": 1, "q8_0": 8}
_WORDS = re.compile(r"'(?:s|t|re|ve|m|ll|d)| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+")


def byte_characters() -> list[str]:
    """GPT-2's printable stand-in for each of the 256 bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {byte: chr(byte) for byte in plain}
    extra = (chr(256 + n) for n in range(256))
    return [table[byte] if byte in table else next(extra) for byte in range(256)]


def learn_merges(text: str, limit: int) -> list[tuple[str, str]]:
    """Byte-pair merges of `text`, most frequent first, at most `limit` (fewer where every word is one token)."""
    chars = byte_characters()
    words = Counter(tuple(chars[b] for b in word.encode()) for word in _WORDS.findall(text))
    merges: list[tuple[str, str]] = []
    while len(merges) < limit:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, count in words.items():
            for pair in itertools.pairwise(word):
                pairs[pair] += count
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        words = Counter({_merged(word, best): count for word, count in words.items()})
    return merges


def _merged(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    out: list[str] = []
    for piece in word:
        if out and (out[-1], piece) == pair:
            out[-1] += piece
        else:
            out.append(piece)
    return tuple(out)


def quantised(values: Array, quant: Quant) -> tuple[int, bytes]:
    """(ggml type, bytes) of a tensor; Q8_0 in blocks of 32 with an F16 scale."""
    if quant == "f32":
        return _TYPES["f32"], values.astype("<f4").tobytes()
    if quant == "f16":
        return _TYPES["f16"], values.astype("<f2").tobytes()
    blocks = values.reshape(-1, 32)
    scale = (np.abs(blocks).max(axis=1) / 127.0).astype("<f2")
    safe = np.where(scale == 0, 1, scale).astype(np.float32)
    out = np.empty(len(blocks), dtype=[("d", "<f2"), ("q", "i1", 32)])
    out["d"] = scale
    out["q"] = np.clip(np.rint(blocks / safe[:, None]), -127, 127).astype(np.int8)
    return _TYPES["q8_0"], out.tobytes()


def _value(value: Any) -> bytes:
    """A metadata value with its type tag: bool 7, uint32 4, float32 6, string 8, array 9 (strings or int32)."""
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, str):
        return struct.pack("<I", 8) + _string(value)
    strings = bool(value) and isinstance(value[0], str)
    body = b"".join(_string(v) if strings else struct.pack("<i", v) for v in value)
    return struct.pack("<IIQ", 9, 8 if strings else 5, len(value)) + body


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def write_gguf(path: Path, metadata: dict[str, Any], tensors: dict[str, tuple[Array, Quant]]) -> Path:
    """Write a GGUF version 3 file. Tensors are row-major, [out, in]."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    head += b"".join(_string(key) + _value(value) for key, value in metadata.items())
    infos, blobs, offset = b"", [], 0
    for name, (values, quant) in tensors.items():
        kind, raw = quantised(values, quant)
        shape = values.shape[::-1]
        infos += _string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)
        raw += b"\0" * (-len(raw) % _ALIGN)
        blobs.append(raw)
        offset += len(raw)
    head += infos
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(head + b"\0" * (-len(head) % _ALIGN))
        for raw in blobs:
            file.write(raw)
    return path


def _invented(number: int) -> str:
    """A word that no text has: it can be generated, never tokenised."""
    letters = "\u0120qx"
    while number:
        number, digit = divmod(number, 26)
        letters += chr(97 + digit)
    return letters + "q"


def _vocabulary(text: str, merges: int, pad_to: int) -> tuple[dict[str, Any], list[str]]:
    """Tokeniser metadata and the token list; invented words fill the vocabulary up to `pad_to`."""
    pairs = learn_merges(text, merges)
    tokens = list(dict.fromkeys([*byte_characters(), *(a + b for a, b in pairs)]))
    tokens += [_invented(n) for n in range(pad_to - len(tokens) - len(SPECIALS))]
    kinds = [1] * len(tokens) + [3] * len(SPECIALS)
    tokens += SPECIALS
    metadata = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": [f"{a} {b}" for a, b in pairs],
        "tokenizer.ggml.bos_token_id": tokens.index("<|endoftext|>"),
        "tokenizer.ggml.eos_token_id": tokens.index("<|im_end|>"),
        "tokenizer.ggml.add_bos_token": False,
    }
    return metadata, tokens


def make_tiny_gguf(
    path: Path | str,
    *,
    arch: Literal["llama", "gpt2"] = "llama",
    quant: Quant = "f32",
    seed: int = 0,
    chat_template: str | None = CHATML,
    context: int = 1024,
    n_embd: int = 64,
    n_layer: int = 2,
    n_head: int = 4,
    n_kv_head: int = 2,
    n_ff: int = 128,
    n_vocab: int = 0,
    merges: int = 160,
    scale: float = 0.3,
    extra: dict[str, Any] | None = None,
) -> Path:
    """Write a model of random weights and return its path. `chat_template=None` leaves the template out.

    `n_vocab` pads the vocabulary (for realistic sizes); `scale` is the standard deviation of the weights;
    `extra` adds or overrides metadata (None removes a key).
    """
    rng = np.random.default_rng(seed)
    vocabulary, tokens = _vocabulary(CORPUS, merges, n_vocab)
    metadata: dict[str, Any] = {
        "general.architecture": arch,
        "general.name": f"tiny {arch} {quant} {seed}",
        "general.file_type": {"f32": 0, "f16": 1, "q8_0": 7}[quant],
        f"{arch}.context_length": context,
        f"{arch}.embedding_length": n_embd,
        f"{arch}.block_count": n_layer,
        f"{arch}.feed_forward_length": n_ff,
        f"{arch}.attention.head_count": n_head,
        **vocabulary,
    }
    if chat_template is not None:
        metadata["tokenizer.chat_template"] = chat_template
    make = _llama_tensors if arch == "llama" else _gpt2_tensors
    tensors = make(rng, metadata, quant, len(tokens), n_kv_head, scale)
    for key, value in (extra or {}).items():
        metadata.pop(key, None)
        if value is not None:
            metadata[key] = value
    return write_gguf(Path(path), metadata, tensors)


def _llama_tensors(
    rng: np.random.Generator, meta: dict[str, Any], quant: Quant, vocab: int, kv_heads: int, scale: float
) -> dict[str, tuple[Array, Quant]]:
    width, ff, heads = (
        meta["llama.embedding_length"],
        meta["llama.feed_forward_length"],
        meta["llama.attention.head_count"],
    )
    head = width // heads
    meta["llama.attention.head_count_kv"] = kv_heads
    meta["llama.attention.layer_norm_rms_epsilon"] = 1e-5
    meta["llama.rope.dimension_count"] = head
    meta["llama.vocab_size"] = vocab

    def noise(*shape: int) -> tuple[Array, Quant]:
        return rng.standard_normal(shape, dtype=np.float32) * np.float32(scale), quant

    ones: tuple[Array, Quant] = (np.ones(width, dtype=np.float32), "f32")
    tensors = {"token_embd.weight": noise(vocab, width)}
    for n in range(meta["llama.block_count"]):
        tensors |= {
            f"blk.{n}.attn_norm.weight": ones,
            f"blk.{n}.attn_q.weight": noise(width, width),
            f"blk.{n}.attn_k.weight": noise(kv_heads * head, width),
            f"blk.{n}.attn_v.weight": noise(kv_heads * head, width),
            f"blk.{n}.attn_output.weight": noise(width, width),
            f"blk.{n}.ffn_norm.weight": ones,
            f"blk.{n}.ffn_gate.weight": noise(ff, width),
            f"blk.{n}.ffn_up.weight": noise(ff, width),
            f"blk.{n}.ffn_down.weight": noise(width, ff),
        }
    return tensors | {"output_norm.weight": ones}


def _gpt2_tensors(
    rng: np.random.Generator, meta: dict[str, Any], quant: Quant, vocab: int, _kv_heads: int, scale: float
) -> dict[str, tuple[Array, Quant]]:
    width, ff = meta["gpt2.embedding_length"], meta["gpt2.feed_forward_length"]
    meta["gpt2.attention.layer_norm_epsilon"] = 1e-5

    def noise(*shape: int) -> tuple[Array, Quant]:
        return rng.standard_normal(shape, dtype=np.float32) * np.float32(scale), quant

    def vector(size: int, fill: float) -> tuple[Array, Quant]:
        return np.full(size, fill, dtype=np.float32), "f32"

    tensors = {
        "token_embd.weight": noise(vocab, width),
        "position_embd.weight": (noise(meta["gpt2.context_length"], width)[0], "f32"),
    }
    for n in range(meta["gpt2.block_count"]):
        tensors |= {
            f"blk.{n}.attn_norm.weight": vector(width, 1),
            f"blk.{n}.attn_norm.bias": vector(width, 0),
            f"blk.{n}.attn_qkv.weight": noise(3 * width, width),
            f"blk.{n}.attn_qkv.bias": vector(3 * width, 0),
            f"blk.{n}.attn_output.weight": noise(width, width),
            f"blk.{n}.attn_output.bias": vector(width, 0),
            f"blk.{n}.ffn_norm.weight": vector(width, 1),
            f"blk.{n}.ffn_norm.bias": vector(width, 0),
            f"blk.{n}.ffn_up.weight": noise(ff, width),
            f"blk.{n}.ffn_up.bias": vector(ff, 0),
            f"blk.{n}.ffn_down.weight": noise(width, ff),
            f"blk.{n}.ffn_down.bias": vector(width, 0),
        }
    return tensors | {"output_norm.weight": vector(width, 1), "output_norm.bias": vector(width, 0)}


def make_markov_gguf(
    path: Path | str,
    text: str,
    *,
    chat_template: str | None = CHATML,
    context: int = 1024,
    end: float = 0.2,
) -> Path:
    """Write a model whose next word follows the last one as often as it does in `text`; return its path.

    A line feed opens a line like those of `text`; after the last word of a line the answer ends with probability
    `end`. Unseen words are as good as impossible. Real transformer, no attention: a one-hot embedding goes straight
    to the output table of log-probabilities.
    """
    metadata, tokens = _vocabulary(text, 10_000, 0)
    vocab, width = len(tokens), -(-len(tokens) // 64) * 64
    logp = _bigrams(text, tokens, end)
    embedding = np.eye(vocab, width, dtype=np.float32)
    output = np.zeros((vocab, width), dtype=np.float32)
    output[:, :vocab] = logp.T / np.sqrt(width)
    heads = width // 64
    full: dict[str, Any] = {
        "general.architecture": "llama",
        "general.name": "markov babbler",
        "general.file_type": 0,
        "llama.context_length": context,
        "llama.embedding_length": width,
        "llama.block_count": 1,
        "llama.feed_forward_length": 64,
        "llama.attention.head_count": heads,
        **metadata,
    }
    if chat_template is not None:
        full["tokenizer.chat_template"] = chat_template
    tensors = _llama_tensors(np.random.default_rng(0), full, "f32", vocab, 1, 0.0)
    tensors["token_embd.weight"] = (embedding, "f32")
    tensors["output.weight"] = (output, "f32")
    return write_gguf(Path(path), full, tensors)


def _bigrams(text: str, tokens: list[str], end: float) -> Array:
    """Row i: log-probability of each token after token i."""
    chars = byte_characters()
    ids = {token: n for n, token in enumerate(tokens)}
    counts = np.full((len(tokens), len(tokens)), 1e-9, dtype=np.float64)
    feed, stop = ids[chars[10]], ids["<|im_end|>"]
    counts[:, stop] = 1e-3
    for line in text.splitlines():
        words = ["".join(chars[b] for b in word.encode()) for word in _WORDS.findall(line)]
        row = [feed, *(ids[word] for word in words if word in ids)]
        for a, b in itertools.pairwise(row):
            counts[a, b] += 1
        if len(row) > 1:
            counts[row[-1], feed] += 1 - end
            counts[row[-1], stop] += end
    return np.asarray(np.log(counts / counts.sum(axis=1, keepdims=True)), np.float32)
