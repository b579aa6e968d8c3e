"""The worker's desk: turns request frames into jobs for the engine, and refuses what cannot be done."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import BackendError, BadRequest, ContextOverflow
from .jobs import Completion, Emit, Scoring
from .lanes import Lanes
from .native import Model
from .prefixes import common
from .prompts import Prompt, PromptMaker, Turn
from .sampling import Candidates, Sampler, Sampling, grammar_of, sampling_from
from .sizing import SUFFIXES
from .wire import describe

_SCHEMAS_KEPT = 64


class Service:
    """One per worker."""

    def __init__(
        self, model: Model, lanes: Lanes, prompts: PromptMaker, emit: Emit, defaults: Sampling
    ) -> None:
        self._defaults = defaults
        self._model, self._lanes, self._prompts, self._plan = model, lanes, prompts, lanes.plan
        self._emit = emit
        self._candidates = Candidates(model)
        self._grammars: dict[str, str] = {}
        self._spelled: dict[str, list[int]] | None = None
        self._arrivals = 0

    def handle(self, frame: Mapping[str, Any]) -> None:
        """Take one frame: complete, score or cancel. Errors go back as frames."""
        op, number = frame.get("op"), int(frame.get("id", -1))
        if op == "cancel":
            self._lanes.cancel(number)
            return
        self._arrivals += 1
        try:
            if op == "complete":
                self._lanes.submit(self._completion(number, frame))
            elif op == "score":
                self._lanes.submit(self._scoring(number, frame))
            else:
                raise BadRequest(f"Unknown operation {op!r}")
        except BackendError as error:
            self._emit({"id": number, "error": describe(error)})

    def _completion(self, number: int, frame: Mapping[str, Any]) -> Completion:
        schema = frame.get("json_schema")
        grammar = self._grammar(schema) if schema is not None else None
        prompt = self._prompt(frame, quick=grammar is not None)
        room = self._plan.window - len(prompt.tokens)
        if room < 1:
            raise self._overflow(len(prompt.tokens))
        asked = frame.get("max_tokens")
        how = sampling_from(frame, self._defaults)
        expected = frame.get("expected")
        return Completion(
            id=number,
            order=self._arrivals,
            emit=self._emit,
            tokens=list(prompt.tokens),
            prompt=prompt,
            limit=room if asked is None else max(1, min(int(asked), room)),
            sampler=Sampler(self._model, self._candidates, how, grammar),
            how=how,
            stops=tuple(s for s in (*frame.get("stop", ()), *prompt.stops) if s),
            streaming=bool(frame.get("stream")),
            top_logprobs=frame.get("top_logprobs"),
            alone=bool(frame.get("alone")),
            expected=expected if isinstance(expected, str) else None,
        )

    def _scoring(self, number: int, frame: Mapping[str, Any]) -> Scoring:
        suffixes, choices = list(frame["suffixes"]), list(frame["choices"])
        if not self._model.splittable:
            raise BadRequest("This model's memory cannot be shared between questions: use the JSON judge")
        if not 1 <= len(suffixes) <= SUFFIXES:
            raise BadRequest(f"Between 1 and {SUFFIXES} suffixes can be scored at once, not {len(suffixes)}")
        prompts = self._questions(frame, suffixes)
        shared = common_length(prompts)
        branches = [tokens[shared:] for tokens in prompts]
        longest = max(len(tokens) for tokens in prompts)
        if longest > self._plan.window or shared + sum(map(len, branches)) > self._plan.n_ctx:
            raise self._overflow(longest)
        if max(map(len, branches)) > self._plan.n_batch:
            raise BadRequest(f"A suffix has more than {self._plan.n_batch} tokens of its own")
        return Scoring(
            id=number,
            order=self._arrivals,
            emit=self._emit,
            tokens=prompts[0][:shared],
            branches=branches,
            spellings=[self._spellings(choice) for choice in choices],
            prompt_tokens=shared + sum(map(len, branches)),
        )

    def _questions(self, frame: Mapping[str, Any], suffixes: Sequence[str]) -> list[list[int]]:
        if not frame.get("begins_answer"):
            return [self._prompt(frame, quick=True, suffix=suffix).tokens for suffix in suffixes]
        asked = self._prompt(frame, quick=True).tokens
        return [asked + self._model.tokenize(suffix, special=False) for suffix in suffixes]

    def _prompt(self, frame: Mapping[str, Any], *, quick: bool, suffix: str = "") -> Prompt:
        if isinstance(frame.get("prompt"), str):
            prompt = self._prompts.raw(frame["prompt"] + suffix)
        else:
            turns = [Turn(str(role), str(content)) for role, content in frame.get("messages", ())]
            if not turns:
                raise BadRequest("A request needs messages or a prompt")
            turns[-1] = Turn(turns[-1].role, turns[-1].content + suffix)
            prompt = self._prompts.chat(turns, quick=quick)
        if not prompt.tokens:
            raise BadRequest("The prompt is empty")
        return prompt

    def _overflow(self, tokens: int) -> ContextOverflow:
        window = self._plan.window
        return ContextOverflow(
            f"The prompt has {tokens} tokens; the context holds {window}, the answer included",
            advice="Shorten the prompt, or choose a model with a longer context.",
        )

    def _grammar(self, schema: Mapping[str, Any]) -> str:
        import json

        if not isinstance(schema, Mapping):
            raise BadRequest("The JSON schema must be an object")
        key = json.dumps(schema)
        if key not in self._grammars:
            if len(self._grammars) >= _SCHEMAS_KEPT:
                self._grammars.clear()
            self._grammars[key] = grammar_of(schema)
        return self._grammars[key]

    def _spellings(self, choice: str) -> list[int]:
        """Ids of all tokens that are the choice, spaces around it aside."""
        if self._spelled is None:
            table: defaultdict[str, list[int]] = defaultdict(list)
            for token in range(self._model.n_vocab):
                bare = self._model.piece(token).decode("utf-8", "replace").strip()
                if bare and len(bare) <= 32:
                    table[bare].append(token)
            self._spelled = dict(table)
        found = self._spelled.get(choice.strip(), [])
        if not found:
            raise BadRequest(f"No single token of this model spells {choice!r}")
        return found


def common_length(prompts: list[list[int]]) -> int:
    """Length of the beginning that all share; each keeps at least one token of its own."""
    first, *others = (np.asarray(tokens, np.int32) for tokens in prompts)
    return min((len(first) - 1, *(min(common(first, other), len(other) - 1) for other in others)))
