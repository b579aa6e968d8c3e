"""Writes `assets/selftest.gguf`: the small quantised model that proves a fresh llama.cpp build right.

A Llama of random weights (2 layers, 64 wide, 256 tokens without a vocabulary), all matrices in Q8_0, so that
its decode runs through the same quantised kernels as a real model, AMX and the repacked ones included. The
seed is searched for: at every step of the greedy continuation the best token leads the next by 0.3 standard
deviations of the logits or more, three times what rounding moves any of them (0.1, measured against float64
for the AMX and the AVX2 kernels). What `backends/llama_cpp/selftest.py` expects is printed at the end.

    python tools/make_selftest_gguf.py [--search N] [OUT]
"""

from __future__ import annotations

import argparse
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SEED = 3097
VOCAB, WIDTH, LAYERS, HEADS, HIDDEN, CONTEXT = 256, 64, 2, 4, 128, 128
EPSILON = 1e-5
PROMPT = tuple((37 * i + 11) % VOCAB for i in range(40))
"""More than 32 tokens, so that the batched kernels run and not only the one-row ones."""
STEPS = 8
MIN_DISTINCT = 8
F32, Q8_0, BLOCK, ALIGNMENT = 0, 8, 32, 32


@dataclass(frozen=True)
class Tensor:
    """One tensor as the file holds it, and what its bytes mean to a reader."""

    name: str
    kind: int
    shape: tuple[int, ...]
    data: bytes
    values: Floats


def quantised(name: str, values: Floats) -> Tensor:
    """`values` in Q8_0: blocks of 32 along the last axis, each one float16 scale and 32 int8."""
    blocks = values.reshape(-1, BLOCK)
    scale = (np.abs(blocks).max(axis=1) / 127).astype(np.float16)
    levels = np.round(blocks / scale.astype(np.float64)[:, None]).clip(-127, 127).astype(np.int8)
    packed = np.empty((len(blocks), 2 + BLOCK), dtype=np.uint8)
    packed[:, :2] = scale.view(np.uint8).reshape(-1, 2)
    packed[:, 2:] = levels.view(np.uint8)
    read = (levels * scale.astype(np.float64)[:, None]).reshape(values.shape)
    return Tensor(name, Q8_0, values.shape, packed.tobytes(), read)


def plain(name: str, values: Floats) -> Tensor:
    """`values` in float32."""
    stored = values.astype("<f4")
    return Tensor(name, F32, values.shape, stored.tobytes(), stored.astype(np.float64))


def tensors(seed: int) -> list[Tensor]:
    """The model's weights, each sublayer as loud as the embedding, so that an error in any of them shows."""
    random = np.random.RandomState(seed)  # its stream is frozen for ever, unlike default_rng's

    def matrix(name: str, rows: int, columns: int, gain: float = 1.0) -> Tensor:
        return quantised(name, random.standard_normal((rows, columns)) * gain / np.sqrt(columns))

    def norm(name: str) -> Tensor:
        return plain(name, 1 + 0.1 * random.standard_normal(WIDTH))

    result = [quantised("token_embd.weight", random.standard_normal((VOCAB, WIDTH)))]
    for layer in range(LAYERS):
        at = f"blk.{layer}."
        result += [
            norm(at + "attn_norm.weight"),
            matrix(at + "attn_q.weight", WIDTH, WIDTH, 1.5),
            matrix(at + "attn_k.weight", WIDTH, WIDTH, 1.5),
            matrix(at + "attn_v.weight", WIDTH, WIDTH, 1.5),
            matrix(at + "attn_output.weight", WIDTH, WIDTH, 1.5),
            norm(at + "ffn_norm.weight"),
            matrix(at + "ffn_gate.weight", HIDDEN, WIDTH),
            matrix(at + "ffn_up.weight", HIDDEN, WIDTH),
            matrix(at + "ffn_down.weight", WIDTH, HIDDEN, 1.5),
        ]
    return [*result, norm("output_norm.weight"), matrix("output.weight", VOCAB, WIDTH)]


def _normed(x: Floats, weight: Floats) -> Floats:
    result: Floats = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + EPSILON) * weight
    return result


def _rotated(x: Floats) -> Floats:
    """Rotary positions of (tokens, heads, dim), neighbouring dimensions paired, base 10,000."""
    tokens, _, dim = x.shape
    angle = np.arange(tokens)[:, None] * 10000.0 ** (-np.arange(0, dim, 2) / dim)[None, :]
    cos, sin = np.cos(angle)[:, None, :], np.sin(angle)[:, None, :]
    even, odd = x[..., 0::2], x[..., 1::2]
    out = np.empty_like(x)
    out[..., 0::2] = even * cos - odd * sin
    out[..., 1::2] = even * sin + odd * cos
    return out


def logits(weights: dict[str, Floats], tokens: tuple[int, ...]) -> Floats:
    """The next-token logits after `tokens`, computed the plain way in float64."""
    x = weights["token_embd.weight"][list(tokens)]
    mask = np.triu(np.full((len(tokens), len(tokens)), -np.inf), 1)
    for layer in range(LAYERS):
        at = f"blk.{layer}."
        h = _normed(x, weights[at + "attn_norm.weight"])
        q, k, v = (
            (h @ weights[f"{at}attn_{part}.weight"].T).reshape(len(tokens), HEADS, WIDTH // HEADS)
            for part in "qkv"
        )
        scores = np.einsum("qhd,khd->hqk", _rotated(q), _rotated(k)) / np.sqrt(WIDTH // HEADS) + mask
        share = np.exp(scores - scores.max(axis=-1, keepdims=True))
        share /= share.sum(axis=-1, keepdims=True)
        mixed = np.einsum("hqk,khd->qhd", share, v).reshape(len(tokens), WIDTH)
        x = x + mixed @ weights[at + "attn_output.weight"].T
        h = _normed(x, weights[at + "ffn_norm.weight"])
        gate = h @ weights[at + "ffn_gate.weight"].T
        up = h @ weights[at + "ffn_up.weight"].T
        x = x + (gate / (1 + np.exp(-gate)) * up) @ weights[at + "ffn_down.weight"].T
    last = _normed(x[-1], weights["output_norm.weight"])
    result: Floats = weights["output.weight"] @ last
    return result


def greedy(seed: int, least_gap: float = 0.0) -> tuple[float, tuple[int, ...]]:
    """(smallest lead of a chosen token over the next, in standard deviations of the logits; the tokens).

    Gives up, with the tokens so far, at the first lead below `least_gap`.
    """
    weights = {t.name: t.values for t in tensors(seed)}
    chosen: tuple[int, ...] = ()
    smallest = float("inf")
    while len(chosen) < STEPS and smallest >= least_gap:
        out = logits(weights, PROMPT + chosen)
        second, first = np.sort(out)[-2:]
        smallest = min(smallest, float((first - second) / out.std()))
        chosen += (int(out.argmax()),)
    return smallest, chosen


def search(seeds: int) -> int:
    """The seed below `seeds` whose continuation is the least doubtful and not a mere repetition."""
    best, best_gap = 0, 0.0
    for seed in range(seeds):
        gap, chosen = greedy(seed, best_gap)
        if gap > best_gap and len(set(chosen)) >= MIN_DISTINCT:
            best, best_gap = seed, gap
            print(f"seed {seed}: lead {gap:.3f} standard deviations, tokens {chosen}", flush=True)
    return best


def gguf(seed: int) -> bytes:
    """The whole file, GGUF version 3."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    def entry(key: str, value: str | int | float) -> bytes:
        if isinstance(value, str):
            return text(key) + struct.pack("<I", 8) + text(value)
        if isinstance(value, int):
            return text(key) + struct.pack("<II", 4, value)
        return text(key) + struct.pack("<If", 6, value)

    entries: dict[str, str | int | float] = {
        "general.architecture": "llama",
        "general.name": "Pairsmith self-test",
        "general.license": "mit",
        "general.file_type": 7,
        "general.quantization_version": 2,
        "llama.vocab_size": VOCAB,
        "llama.context_length": CONTEXT,
        "llama.embedding_length": WIDTH,
        "llama.block_count": LAYERS,
        "llama.feed_forward_length": HIDDEN,
        "llama.attention.head_count": HEADS,
        "llama.attention.layer_norm_rms_epsilon": EPSILON,
        "llama.rope.dimension_count": WIDTH // HEADS,
        "llama.rope.freq_base": 10000.0,
        "tokenizer.ggml.model": "no_vocab",
    }
    held = tensors(seed)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(held), len(entries))
    head += b"".join(entry(key, value) for key, value in entries.items())
    body = b""
    for tensor in held:
        head += text(tensor.name) + struct.pack("<I", len(tensor.shape))
        head += struct.pack(f"<{len(tensor.shape)}Q", *reversed(tensor.shape))
        head += struct.pack("<IQ", tensor.kind, len(body))
        body += tensor.data + bytes(-len(tensor.data) % ALIGNMENT)
    return head + bytes(-len(head) % ALIGNMENT) + body


def main() -> None:
    """Write the file, searching for a better seed first where asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "out", nargs="?", type=Path, default=Path(__file__).parents[1] / "assets/selftest.gguf"
    )
    parser.add_argument("--search", type=int, metavar="N", help="try the seeds below N, take the best")
    args = parser.parse_args()
    seed = search(args.search) if args.search else SEED
    gap, chosen = greedy(seed)
    args.out.write_bytes(gguf(seed))
    print(f"{args.out}: {args.out.stat().st_size:,} bytes, seed {seed}, lead {gap:.3f} standard deviations")
    print(f"PROMPT = {PROMPT}\nEXPECTED = {chosen}")


if __name__ == "__main__":
    main()
