"""Rows of a distilabel dataset: an instruction, one generation or several, and what a judge said of each.

Every different generation becomes a pair. Ratings stay scores; only where distilabel itself named a chosen and a
rejected generation (FormatTextGenerationDPO) those two are decided, by a rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from .import_shapes import (
    PREFERRED,
    Row,
    Unusable,
    checked_instruction,
    is_score,
    kind_of,
    turns_of,
    with_extra,
)
from .store.import_rows import ImportRow

JUDGE = "distilabel"
"""Whose ratings they are where the row does not name the judge's model."""
_WRITERS = ("generation_models", "model_names", "generation_model", "model_name")
_USED = frozenset(
    (
        "instruction",
        "prompt",
        "messages",
        "generation",
        "generations",
        "ratings",
        "rationales",
        "system_prompt",
        "chosen",
        "rejected",
        "distilabel_metadata",
        *_WRITERS,
    )
)


def distilabel_rows(value: Row, line: int) -> list[ImportRow]:
    """A pair for every different generation; one that a model failed to give (null) is passed over. Raises Unusable."""
    texts = _generations(value)
    writers, judge = _models(value, len(texts))
    ratings, rationales = _beside(value, "ratings", len(texts)), _beside(value, "rationales", len(texts))
    preferred = {_last(value.get("rejected")): "rejected", _last(value.get("chosen")): "accepted"}
    base = with_extra(ImportRow(_asked(value), "", line=line, extra=_system(value)), value, set(_USED))
    rows: dict[str, ImportRow] = {}
    for number, text in enumerate(texts):
        if text is None or text in rows:
            continue
        rows[text] = replace(
            base,
            output=text,
            extra={**(base.extra or {}), **({"model": writers[number]} if writers[number] else {})} or None,
            **_rated(judge, ratings[number], rationales[number]),
            **_decided(preferred.get(text)),
        )
    if not rows:
        raise Unusable("there is no generation: the model failed")
    return list(rows.values())


def _generations(value: Row) -> list[str | None]:
    name = "generations" if value.get("generations") is not None else "generation"
    given = value.get(name)
    items = given if isinstance(given, list) else [given]
    for item in items:
        if item is not None and not isinstance(item, str):
            raise Unusable(f"{name!r} holds {kind_of(item)}, not only texts")
    return items


def _asked(value: Row) -> str:
    for name in ("instruction", "prompt"):
        if isinstance(value.get(name), str):
            return checked_instruction(value[name])
    if value.get("instruction") is not None:
        raise Unusable(f"'instruction' is {kind_of(value['instruction'])}, not a text")
    turns = [
        turn for turn in turns_of(value.get("messages"), "messages", "role", "content") if turn[0] != "system"
    ]
    if not turns or turns[0][0] != "user" or len(turns) > 2:
        raise Unusable("'messages' is not one person's turn")
    return checked_instruction(turns[0][1])


def _models(value: Row, count: int) -> tuple[list[str], str]:
    """Who wrote each generation, and who rated them.

    A single `model_name` beside ratings is the judge's: it is the last task's, which rated.
    """
    writers, judge = [""] * count, JUDGE
    for name in _WRITERS:
        given = value.get(name)
        if isinstance(given, list) and len(given) == count and not any(writers):
            writers = [model if isinstance(model, str) else "" for model in given]
        elif isinstance(given, str) and given:
            if value.get("ratings") is not None and name == "model_name":
                judge = given
            elif not any(writers):
                writers = [given] * count
    return writers, judge


def _beside(value: Row, name: str, count: int) -> Sequence[Any]:
    given = value.get(name)
    return given if isinstance(given, list) and len(given) == count else [None] * count


def _rated(judge: str, rating: Any, rationale: Any) -> dict[str, Any]:
    if isinstance(rating, str):
        try:
            rating = float(rating)
        except ValueError:
            return {}
    if not is_score(rating):
        return {}
    said = {judge: rationale} if isinstance(rationale, str) and rationale else {}
    return {"scores": {judge: {"rating": float(rating)}}, "rationales": said}


def _decided(verdict: str | None) -> dict[str, Any]:
    return {} if verdict is None else {"verdict": verdict, "rule": PREFERRED}


def _last(side: Any) -> str | None:
    """The answer of a side of a preference: a text, or the last turn."""
    if isinstance(side, list) and side and isinstance(side[-1], Mapping):
        side = side[-1].get("content")
    return side if isinstance(side, str) else None


def _system(value: Row) -> Mapping[str, Any] | None:
    system = value.get("system_prompt")
    return {"system": system} if isinstance(system, str) and system else None
