"""Choosing the next token: llama.cpp's samplers per request, a grammar check that is cheap, log-probabilities."""

from __future__ import annotations

import copy
import ctypes
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import llama_cpp as lc
import numpy as np

from ..errors import BadRequest, MalformedReply
from ..text import one_line
from .native import Logits, Model

DEFAULT_TEMPERATURE, DEFAULT_TOP_K, DEFAULT_TOP_P, DEFAULT_MIN_P = 0.8, 40, 0.95, 0.05
_RANDOM_SEED = 0xFFFFFFFF
_PENALTY_WINDOW = 256
_LARGEST_RANGE = 256
_REPETITIONS = ("minLength", "maxLength", "minItems", "maxItems")
_MOST_REPETITIONS = 1000
_LONGEST_GRAMMAR = 200_000
_CHAR = (
    r'char ::= [^"\\\x7F\x00-\x1F] | "\\" (["\\/bfnrt] | "u" '
    r"([0-9a-cA-CefEF] [0-9a-fA-F] [0-9a-fA-F] [0-9a-fA-F] | [dD] [0-7] [0-9a-fA-F] [0-9a-fA-F]))"
)
"""The converter's own rule lets raw control characters and halves of surrogate pairs into strings."""
_CANDIDATE = np.dtype([("id", "<i4"), ("logit", "<f4"), ("p", "<f4")])


@dataclass(frozen=True, slots=True)
class Sampling:
    """How one request samples."""

    temperature: float = DEFAULT_TEMPERATURE
    top_p: float = DEFAULT_TOP_P
    top_k: int = DEFAULT_TOP_K
    min_p: float = DEFAULT_MIN_P
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    seed: int = 0

    @property
    def greedy(self) -> bool:
        return self.temperature <= 0


_PREFERENCES = {"temperature": ("temp", 2.0), "top_p": ("top_p", 1.0), "min_p": ("min_p", 1.0)}
"""What a file may say about sampling, as `general.sampling.*` (llama.cpp's names), and the most that is believed."""


def preferred(metadata: Mapping[str, Any]) -> Sampling:
    """How a model's file asks to be sampled where a request leaves it open; else llama.cpp's own defaults."""
    found: dict[str, Any] = {}
    for ours, (theirs, most) in _PREFERENCES.items():
        value = metadata.get(f"general.sampling.{theirs}")
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= most:
            found[ours] = float(value)
    top_k = metadata.get("general.sampling.top_k")
    if isinstance(top_k, int) and not isinstance(top_k, bool) and 0 <= top_k < 1 << 31:
        found["top_k"] = top_k
    return Sampling(**found)


def sampling_from(message: Mapping[str, Any], defaults: Sampling = Sampling()) -> Sampling:
    """Read the fields of a request; None is the default's. A seed is drawn where none is given."""

    def number(name: str, default: float) -> float:
        value = message.get(name)
        if value is None:
            return default
        if not isinstance(value, (int, float)) or not -1e6 < value < 1e6:
            raise BadRequest(f"{name} must be a finite number")
        return float(value)

    return Sampling(
        temperature=number("temperature", defaults.temperature),
        top_p=number("top_p", defaults.top_p),
        top_k=int(number("top_k", defaults.top_k)),
        min_p=number("min_p", defaults.min_p),
        frequency_penalty=number("frequency_penalty", 0.0),
        presence_penalty=number("presence_penalty", 0.0),
        seed=usable_seed(message.get("seed")),
    )


def usable_seed(seed: object) -> int:
    """A 32-bit seed that llama.cpp takes as one: 0xFFFFFFFF would mean "random" to it."""
    if seed is None:
        return secrets.randbelow(1 << 31)
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise BadRequest("seed must be a whole number")
    return min(seed & _RANDOM_SEED, _RANDOM_SEED - 1)


class Candidates:
    """One array of the whole vocabulary, re-used for every sampled token of the worker."""

    def __init__(self, model: Model) -> None:
        self._ids = np.arange(model.n_vocab, dtype=np.int32)
        self._rows = np.zeros(model.n_vocab, _CANDIDATE)
        self._one = np.zeros(1, _CANDIDATE)
        self._rows_data = self._rows.ctypes.data_as(lc.llama_token_data_p)
        self._one_data = self._one.ctypes.data_as(lc.llama_token_data_p)

    def all(self, logits: Logits) -> Any:
        self._rows["id"] = self._ids
        self._rows["logit"] = logits
        return _array(self._rows_data, len(self._rows))

    def one(self, token: int) -> Any:
        self._one["id"], self._one["logit"] = token, 1.0
        return _array(self._one_data, 1)

    def best(self) -> int:
        """The likeliest of the whole array as the samplers left it; -1 where all are forbidden."""
        row = int(np.argmax(self._rows["logit"]))
        return int(self._rows["id"][row]) if np.isfinite(self._rows["logit"][row]) else -1

    def allowed(self) -> bool:
        """Whether the one candidate survived."""
        return bool(np.isfinite(self._one["logit"][0]))


def _array(data: Any, size: int) -> Any:
    return lc.llama_token_data_array(data=data, size=size, selected=-1, sorted=False)


class Sampler:
    """The sampler chain, and the grammar, of one request. `close` gives them back."""

    def __init__(self, model: Model, candidates: Candidates, how: Sampling, grammar: str | None) -> None:
        self._candidates = candidates
        self._greedy = how.greedy and not (how.frequency_penalty or how.presence_penalty)
        self._chain = None if self._greedy else _chain(model, how)
        self._grammar = None
        if grammar is not None:
            self._grammar = lc.llama_sampler_init_grammar(model.vocab, grammar.encode(), b"root")
            if not self._grammar:
                self.close()
                raise BadRequest("llama.cpp does not accept the grammar made of the JSON schema")

    def next(self, logits: Logits) -> int:
        """The next token, accepted. Raises `MalformedReply` where the grammar leaves none."""
        token = int(np.argmax(logits)) if self._greedy else self._pick(self._candidates.all(logits))
        if self._grammar is not None:
            lc.llama_sampler_apply(self._grammar, ctypes.byref(self._candidates.one(token)))
            if not self._candidates.allowed():
                token = self._within_grammar(logits)
            lc.llama_sampler_accept(self._grammar, token)
        if self._chain is not None:
            lc.llama_sampler_accept(self._chain, token)
        return token

    def _within_grammar(self, logits: Logits) -> int:
        array = self._candidates.all(logits)
        lc.llama_sampler_apply(self._grammar, ctypes.byref(array))
        best = self._candidates.best()
        if best < 0:
            raise MalformedReply("No token of the model's vocabulary fits the JSON schema here")
        return best if self._greedy else self._pick(array)

    def _pick(self, array: Any) -> int:
        lc.llama_sampler_apply(self._chain, ctypes.byref(array))
        if array.selected < 0:
            raise MalformedReply("llama.cpp's samplers chose no token")
        return int(array.data[array.selected].id)

    def close(self) -> None:
        """Free the C objects; safe to call twice."""
        for sampler in (self._chain, self._grammar):
            if sampler:
                lc.llama_sampler_free(sampler)
        self._chain = self._grammar = None


def _chain(model: Model, how: Sampling) -> Any:
    chain = lc.llama_sampler_chain_init(lc.llama_sampler_chain_default_params())

    def add(sampler: Any) -> None:
        lc.llama_sampler_chain_add(chain, sampler)

    if how.frequency_penalty or how.presence_penalty:
        add(
            lc.llama_sampler_init_penalties(
                model.n_vocab, _PENALTY_WINDOW, 1.0, how.frequency_penalty, how.presence_penalty
            )
        )
    if how.greedy:
        add(lc.llama_sampler_init_greedy())
        return chain
    if how.top_k > 0:
        add(lc.llama_sampler_init_top_k(how.top_k))
    if 0 < how.top_p < 1:
        add(lc.llama_sampler_init_top_p(how.top_p, 1))
    if how.min_p > 0:
        add(lc.llama_sampler_init_min_p(how.min_p, 1))
    add(lc.llama_sampler_init_temp(how.temperature))
    add(lc.llama_sampler_init_dist(how.seed))
    return chain


def grammar_of(schema: Mapping[str, Any]) -> str:
    """GBNF for a JSON schema. Raises `BadRequest` where the schema uses what cannot be turned into a grammar."""
    from llama_cpp.llama_grammar import json_schema_to_gbnf

    try:
        grammar = str(json_schema_to_gbnf(json.dumps(_bounded(copy.deepcopy(dict(schema))))))
    except (
        AssertionError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        RecursionError,
        IndexError,
    ) as error:
        raise BadRequest(
            f"The JSON schema cannot be turned into a grammar: {one_line(str(error))}"
        ) from error
    if len(grammar) > _LONGEST_GRAMMAR:
        raise BadRequest("The JSON schema is too large to be turned into a grammar")
    return re.sub(r"(?m)^char ::= .*$", lambda _: _CHAR, grammar)


def _bounded(node: Any) -> Any:
    """A schema that the converter takes as meant: it ignores `minimum` and `maximum`, so small integer ranges become
    lists of values; and llama.cpp refuses (or dies of) repetitions in the thousands, so larger bounds are dropped.
    """
    if isinstance(node, list):
        return [_bounded(item) for item in node]
    if not isinstance(node, dict):
        return node
    low, high = node.get("minimum"), node.get("maximum")
    whole = node.get("type") == "integer" and "enum" not in node
    if whole and isinstance(low, int) and isinstance(high, int) and 0 <= high - low <= _LARGEST_RANGE:
        return {"enum": list(range(low, high + 1))}
    kept = {k: v for k, v in node.items() if k not in _REPETITIONS or _small(v)}
    return {key: _bounded(value) for key, value in kept.items()}


def _small(bound: object) -> bool:
    return not isinstance(bound, int) or bound <= _MOST_REPETITIONS


def log_softmax(logits: Logits) -> Logits:
    """Natural-log probabilities over the whole vocabulary, before any sampling filter."""
    shifted = logits.astype(np.float64) - float(np.max(logits))
    return np.asarray(shifted - np.log(np.exp(shifted).sum()), np.float32)


def likeliest(logprobs: Logits, count: int) -> list[int]:
    """Ids of the `count` likeliest tokens, best first."""
    count = min(count, len(logprobs))
    if count <= 0:
        return []
    top = np.argpartition(logprobs, -count)[-count:]
    return [int(token) for token in top[np.argsort(-logprobs[top], kind="stable")]]
