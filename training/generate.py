"""Answers for many prompts at once: their common beginning computed once, keys and values kept, finished rows dropped.

Greedy answers are, token for token, those of computing every text again for every token (in fp32).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch.nn import functional

from . import attention
from .batches import Packed, pack
from .data import Example
from .model import GPT2

ROOM = 32
"""Tokens by which the store of keys and values grows."""
ROWS = 128
"""Prompts that are answered at a time,"""
CELLS = 1 << 14
"""fewer where they are long: so many places for tokens (of 124M, their keys and values alone take 1.2 GB)."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen; temperature 0 is greedy."""

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 123


@dataclass(slots=True)
class Answer:
    """What was generated after one prompt (end-of-text not included)."""

    tokens: list[int] = field(default_factory=list)
    finish_reason: str = ""
    """"stop" (end-of-text), "length" (the limit or the end of the context), or "" if it was cancelled."""


class Cancelled(Exception):
    """The caller's `stop` said so."""


@dataclass(slots=True)
class _Cache:
    """Keys and values of one layer: of the common beginning, and of each row's own tokens."""

    shared_k: torch.Tensor
    """[heads, width, shared]"""
    shared_v: torch.Tensor
    """[heads, shared, width]"""
    k: torch.Tensor
    """[rows, heads, room, width]"""
    v: torch.Tensor

    def keep(self, rows: torch.Tensor, used: int) -> None:
        """Only these rows, and of them only the columns in use, with room for more."""
        self.k, self.v = (_roomy(part[:, :, :used].index_select(0, rows)) for part in (self.k, self.v))

    def grow(self) -> None:
        self.k, self.v = _roomy(self.k), _roomy(self.v)


def _roomy(part: torch.Tensor) -> torch.Tensor:
    """The same with ROOM more columns of zeros."""
    rows, heads, used, width = part.shape
    wide = part.new_empty(rows, heads, used + ROOM, width)
    wide[:, :, :used] = part
    wide[:, :, used:] = 0
    return wide


def generate(
    model: GPT2,
    prompts: Sequence[Sequence[int]],
    end_of_text: int,
    sampling: Sampling,
    tokens: int | None = None,
    rows: int = ROWS,
    limits: Sequence[int] | None = None,
    on_answer: Callable[[int, Answer], None] = lambda _index, _answer: None,
    on_token: Callable[[int, int], None] = lambda _index, _token: None,
    stop: Callable[[], bool] = lambda: False,
) -> list[Answer]:
    """An answer for every prompt (not empty, shorter than the context), in order.

    `tokens` is the number of ids that have a text (a model may have more); `rows` the most prompts at a time; `limits`
    are lengths for each prompt instead of `max_new_tokens`. Raises Cancelled when `stop()` is true.
    """
    answers = [Answer() for _ in prompts]
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    with torch.no_grad():
        while order:
            count = min(rows, len(order))
            while count > 1 and count * len(prompts[order[count - 1]]) > CELLS:
                count -= 1
            chosen, order = order[:count], order[count:]
            batch = _Batch(model, prompts, chosen, end_of_text, sampling, tokens, answers)
            batch.limits = limits
            batch.run(on_answer, on_token, stop)
    return answers


class _Batch:
    def __init__(
        self,
        model: GPT2,
        prompts: Sequence[Sequence[int]],
        chosen: list[int],
        end_of_text: int,
        sampling: Sampling,
        tokens: int | None,
        answers: list[Answer],
    ) -> None:
        self.model = model
        self.shape = model.shape
        self.end = end_of_text
        self.sampling = sampling
        self.tokens = tokens or model.shape.vocabulary
        self.answers = answers
        self.limits: Sequence[int] | None = None
        self.alive = list(chosen)
        self.row_of = list(range(len(chosen)))
        """For each living prompt, its row in the cache."""
        self.draws = {index: random.Random(f"{sampling.seed}:{index}") for index in chosen}
        self.caches: list[_Cache] = []
        batch = pack([Example(tuple(prompts[index]), tuple(prompts[index])) for index in chosen])
        self.batch = batch.to(model.device)
        self.shared = batch.shared
        own = [len(prompts[index]) - batch.shared for index in chosen]
        self.host_lengths = list(own)
        self.lengths = torch.tensor(own, device=model.device)
        """Own tokens in each row of the cache."""
        self.longest = max(own)

    def run(
        self,
        on_answer: Callable[[int, Answer], None],
        on_token: Callable[[int, int], None],
        stop: Callable[[], bool],
    ) -> None:
        logits = self._prefill()
        while True:
            if stop():
                raise Cancelled
            next_tokens = self._choose(logits)
            kept_rows, kept_tokens, kept = [], [], []
            for place, index in enumerate(self.alive):
                token = next_tokens[place]
                if not self._ended(place, index, token):
                    on_token(index, token)
                    kept_rows.append(self.row_of[place])
                    kept_tokens.append(token)
                    kept.append(index)
                else:
                    if self.answers[index].finish_reason == "length":
                        on_token(index, token)
                    on_answer(index, self.answers[index])
            self.alive, self.row_of = kept, kept_rows
            if not kept:
                return
            tokens = self._compact(kept_tokens)
            logits = self._step(tokens)

    def _ended(self, place: int, index: int, token: int) -> bool:
        answer = self.answers[index]
        if token == self.end:
            answer.finish_reason = "stop"
            return True
        answer.tokens.append(token)
        full = self.shared + self._length(place) >= self.shape.context
        limit = self.limits[index] if self.limits is not None else self.sampling.max_new_tokens
        if len(answer.tokens) >= limit or full:
            answer.finish_reason = "length"
            return True
        return False

    def _length(self, place: int) -> int:
        return self.host_lengths[self.row_of[place]]

    def _compact(self, tokens: list[int]) -> torch.Tensor:
        """The living rows' new tokens, in the cache's order; the cache shrinks when a quarter of it is dead."""
        rows = len(self.lengths)
        if len(self.alive) <= rows * 3 // 4:
            keep = torch.tensor(self.row_of, device=self.model.device)
            for cache in self.caches:
                cache.keep(keep, self.longest)
            self.lengths = self.lengths.index_select(0, keep)
            self.host_lengths = [self.host_lengths[row] for row in self.row_of]
            self.row_of = list(range(len(self.alive)))
            rows = len(self.alive)
        ids = [self.end] * rows
        for row, token in zip(self.row_of, tokens, strict=True):
            ids[row] = token
        return torch.tensor(ids, device=self.model.device)

    def _choose(self, logits: torch.Tensor) -> list[int]:
        logits = logits[:, : self.tokens]
        if self.sampling.temperature <= 0:
            # on a CPU numpy's argmax is ten times as fast as torch's; both take the first of equals
            best: list[int] = (logits.numpy() if logits.device.type == "cpu" else logits).argmax(1).tolist()
            return [best[row] for row in self.row_of]
        values, ids = (logits.cpu() / self.sampling.temperature).sort(1, descending=True)
        if self.sampling.top_k:
            values, ids = values[:, : self.sampling.top_k], ids[:, : self.sampling.top_k]
        sums = values.double().softmax(1).cumsum(1)
        chosen = []
        for index, row in zip(self.alive, self.row_of, strict=True):
            limit = min(self.sampling.top_p or 1.0, 1.0)
            nucleus = float(sums[row][torch.searchsorted(sums[row], limit).clamp(max=sums.shape[1] - 1)])
            drawn = self.draws[index].random() * nucleus
            place = int(torch.searchsorted(sums[row], drawn, right=True).clamp(max=sums.shape[1] - 1))
            chosen.append(int(ids[row, place]))
        return chosen

    def _prefill(self) -> torch.Tensor:
        batch, shape = self.batch, self.shape
        last_cells = torch.arange(batch.examples, device=self.model.device) * batch.longest
        last_cells = last_cells + self.shared + self.lengths - 1
        last_rows = batch.to_padded.index_select(0, last_cells)
        x = self.model.tensors["wte.weight"][batch.ids] + self.model.tensors["wpe.weight"][batch.positions]
        for layer in range(shape.layers):
            name = f"h.{layer}"
            qkv = _linear(self.model, f"{name}.attn.c_attn", _norm(self.model, f"{name}.ln_1", x))
            mixed = self._prefill_attention(qkv, batch)
            if layer == shape.layers - 1:
                mixed, x = mixed.index_select(0, last_rows), x.index_select(0, last_rows)
            x = self._rest_of_block(name, x, mixed)
        return self._logits(x)

    def _prefill_attention(self, qkv: torch.Tensor, batch: Packed) -> torch.Tensor:
        shape = self.shape
        padded = qkv.index_select(0, batch.to_padded).view(
            batch.examples, batch.longest, 3, shape.heads, shape.head_width
        )
        q, k, v = (padded[:, :, part].transpose(1, 2) for part in range(3))
        mixed = _causal(q, k, v)
        shared = self.shared
        cache = _Cache(
            k[0, :, :shared].transpose(1, 2).contiguous(),
            v[0, :, :shared].contiguous(),
            k[:, :, shared:].contiguous(),
            v[:, :, shared:].contiguous(),
        )
        cache.grow()
        self.caches.append(cache)
        flat = mixed.transpose(1, 2).reshape(batch.examples * batch.longest, shape.width)
        return flat.index_select(0, batch.to_packed)

    def _step(self, ids: torch.Tensor) -> torch.Tensor:
        """Logits after one more token in every row."""
        positions = (self.lengths + self.shared).clamp(max=self.shape.context - 1)
        if self.longest >= self.caches[0].k.shape[2]:
            for cache in self.caches:
                cache.grow()
        x = self.model.tensors["wte.weight"][ids] + self.model.tensors["wpe.weight"][positions]
        self.longest += 1
        hidden = torch.arange(self.longest, device=ids.device) > self.lengths.unsqueeze(1)
        mask = torch.zeros(hidden.shape, device=ids.device).masked_fill_(hidden, -torch.inf)[:, None, None]
        rows = torch.arange(len(ids), device=ids.device)
        for layer in range(self.shape.layers):
            name = f"h.{layer}"
            qkv = _linear(self.model, f"{name}.attn.c_attn", _norm(self.model, f"{name}.ln_1", x))
            mixed = self._step_attention(self.caches[layer], qkv, rows, mask)
            x = self._rest_of_block(name, x, mixed)
        self.lengths = self.lengths + 1
        self.host_lengths = [length + 1 for length in self.host_lengths]
        return self._logits(x)

    def _step_attention(
        self, cache: _Cache, qkv: torch.Tensor, rows: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        shape = self.shape
        q, k, v = qkv.view(len(rows), 3, shape.heads, shape.head_width).unbind(1)
        cache.k[rows, :, self.lengths] = k
        cache.v[rows, :, self.lengths] = v
        q = q * shape.head_width**-0.5
        own_k, own_v = cache.k[:, :, : self.longest], cache.v[:, :, : self.longest]
        own = (q.unsqueeze(2) @ own_k.transpose(2, 3)).float() + mask
        if not self.shared:
            weights = own.softmax(-1).to(v.dtype)
            return (weights @ own_v).reshape(len(rows), shape.width)
        common = (q.transpose(0, 1) @ cache.shared_k).float().transpose(0, 1).unsqueeze(2)
        weights = torch.cat([common, own], -1).softmax(-1).to(v.dtype)
        first = weights[:, :, 0, : self.shared].transpose(0, 1) @ cache.shared_v
        second = weights[..., self.shared :] @ own_v
        return (first.transpose(0, 1) + second.squeeze(2)).reshape(len(rows), shape.width)

    def _rest_of_block(self, name: str, x: torch.Tensor, mixed: torch.Tensor) -> torch.Tensor:
        x = x + _linear(self.model, f"{name}.attn.c_proj", mixed)
        wide = _linear(self.model, f"{name}.mlp.c_fc", _norm(self.model, f"{name}.ln_2", x))
        wide = functional.gelu(wide, approximate="tanh")
        return x + _linear(self.model, f"{name}.mlp.c_proj", wide)

    def _logits(self, x: torch.Tensor) -> torch.Tensor:
        head = self.model.compute[self.model.head_name]
        return torch.mm(_norm(self.model, "ln_f", x).to(head.dtype), head.T).float()


def _causal(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Causal attention of [rows, heads, length, width], by the way that is faster for the length."""
    rows, heads, length, width = q.shape
    if length > attention.SHORT or q.device.type != "cpu":
        return functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    flat = [part.reshape(rows * heads, length, width) for part in (q, k, v)]
    return torch.bmm(attention.weights_of(flat[0], flat[1]), flat[2]).view(rows, heads, length, width)


def _linear(model: GPT2, name: str, x: torch.Tensor) -> torch.Tensor:
    weight = model.compute[f"{name}.weight"]
    return functional.linear(x.to(weight.dtype), weight, model.tensors[f"{name}.bias"].to(weight.dtype))


def _norm(model: GPT2, name: str, x: torch.Tensor) -> torch.Tensor:
    weight, bias = model.tensors[f"{name}.weight"], model.tensors[f"{name}.bias"]
    return functional.layer_norm(x, [x.shape[-1]], weight, bias, model.shape.epsilon)
