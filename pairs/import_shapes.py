"""The shapes that a row of a file can have, each with a function that makes pairs of it (`import_signs.py` tells them
apart)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from .store.import_rows import ImportRow

RESPONSE_NAMES = ("output", "response", "responses")
"""What the response is called in files: the first that a row has counts."""
_MAX_EXTRA = 1_000_000
_MOST_LEVELS = 100
"""Of topics in topics: each is a call of a function in another where the tree is made."""
_HUMAN = ("user", "human", "prompter")
_MODEL = ("assistant", "gpt", "chatgpt", "bing", "bard", "model")
PREFERRED = "imported preference"
"""The rule by which the rejected response of imported preference data is rejected, and the other one accepted."""


class Unusable(ValueError):
    """A row that cannot be a pair; the message says why."""


Row = Mapping[str, Any]


def alpaca_row(value: Row, line: int) -> ImportRow:
    """Instruction, optional input and a response under any of its names; of our own export also topic, verdict and
    scores. Everything else is kept beside the pair."""
    instruction = _text(value, "instruction")
    if instruction is None:
        raise Unusable("there is no 'instruction'")
    if not instruction.strip():
        raise Unusable("the instruction is empty")
    name = next((n for n in RESPONSE_NAMES if value.get(n) is not None), None)
    if name is None:
        raise Unusable("there is no 'output' (or 'response', 'responses')")
    own = own_fields(value)
    row = ImportRow(
        instruction=instruction,
        output=_response(value, name),
        input=_text(value, "input") or "",
        line=line,
        **{field: item for field, item in own.items() if field not in ("decided_by", "id")},
    )
    return with_extra(row, value, {"instruction", "input", name, *own})


def dolly_row(value: Row, line: int) -> list[ImportRow]:
    """databricks-dolly-15k: instruction, context, response, category."""
    renamed = {"input" if key == "context" else key: item for key, item in value.items()}
    return [alpaca_row(renamed, line)]


def chat_rows(value: Row, line: int) -> list[ImportRow]:
    """OpenAI's chat layout."""
    return [conversation(value, "messages", "role", "content", line)]


def sharegpt_rows(value: Row, line: int) -> list[ImportRow]:
    """ShareGPT's layout."""
    return [conversation(value, "conversations", "from", "value", line)]


def prompt_rows(value: Row, line: int) -> list[ImportRow]:
    """Prompt and completion: two texts, or two lists of messages (TRL)."""
    asked, context = _side(value, "prompt", _HUMAN)
    answer, _ = _side(value, "completion", _MODEL)
    row = ImportRow(checked_instruction(asked), answer, line=line, extra=context or None)
    return [with_extra(row, value, {"prompt", "completion"})]


def preference_rows(value: Row, line: int) -> list[ImportRow]:
    """Preference data: the chosen response becomes an accepted pair, the other one a rejected pair, by a rule.

    Both sides are answers to the `prompt`, or whole conversations, with or without a `prompt` beside them.
    """
    if value.get("prompt") is None or any(_asks(value.get(name)) for name in ("chosen", "rejected")):
        asked, context, answers = _whole_sides(value, line)
    else:
        asked, context = _side(value, "prompt", _HUMAN)
        answers = [_side(value, name, _MODEL)[0] for name in ("chosen", "rejected")]
    row = with_extra(
        ImportRow(checked_instruction(asked), answers[0], line=line, extra=context or None),
        value,
        {"prompt", "chosen", "rejected"},
    )
    return [
        replace(row, verdict="accepted", rule=PREFERRED),
        replace(row, output=answers[1], verdict="rejected", rule=PREFERRED),
    ]


def seed_task_rows(value: Row, line: int) -> list[ImportRow]:
    """Self-Instruct's seed tasks: a pair for every instance."""
    instances = value.get("instances")
    if not isinstance(instances, list) or not instances:
        raise Unusable("there are no 'instances'")
    common = {key: item for key, item in value.items() if key != "instances"}
    rows = []
    for instance in instances:
        if not isinstance(instance, dict):
            raise Unusable("an instance is not an object with input and output")
        rows.append(
            alpaca_row({**common, "input": instance.get("input"), "output": instance.get("output")}, line)
        )
    return rows


def alpaca_rows(value: Row, line: int) -> list[ImportRow]:
    """Alpaca's layout, and our own JSON lines."""
    return [alpaca_row(value, line)]


def conversation(value: Row, name: str, role_name: str, text_name: str, line: int) -> ImportRow:
    """The first exchange of a conversation; a system prompt and further turns are kept beside the pair."""
    turns = turns_of(value.get(name), name, role_name, text_name)
    context: dict[str, Any] = {}
    while turns and turns[0][0] == "system":
        context["system"] = f"{context['system']}\n\n{turns[0][1]}" if "system" in context else turns[0][1]
        turns = turns[1:]
    if len(turns) < 2 or turns[0][0] not in _HUMAN or turns[1][0] not in _MODEL:
        raise Unusable(f"'{name}' does not begin with a person's turn and a model's answer")
    if len(turns) > 2:
        context["more_turns"] = [{"role": role, "content": text} for role, text in turns[2:]]
    row = ImportRow(checked_instruction(turns[0][1]), turns[1][1], line=line, extra=context or None)
    return with_extra(row, value, {name})


def turns_of(value: Any, name: str, role_name: str, text_name: str) -> list[tuple[str, str]]:
    if not isinstance(value, list):
        raise Unusable(f"'{name}' is {kind_of(value)}, not a list")
    turns = []
    for turn in value:
        if not isinstance(turn, dict):
            raise Unusable(f"a turn in '{name}' is {kind_of(turn)}, not an object")
        # Some files mix the two layouts.
        role = turn.get(role_name, turn.get("role", turn.get("from")))
        text = turn.get(text_name, turn.get("content", turn.get("value")))
        if isinstance(text, list) and all(
            isinstance(part, dict) and part.get("type") == "text" for part in text
        ):
            text = "".join(str(part.get("text", "")) for part in text)
        if not isinstance(role, str) or not isinstance(text, str):
            raise Unusable(f"a turn in '{name}' has no text or does not say who speaks")
        turns.append((role, text))
    return turns


def _side(value: Row, name: str, roles: Iterable[str]) -> tuple[str, dict[str, Any]]:
    """A text, or the only turn of this role in a list of messages; with what else the list holds."""
    item = value.get(name)
    if isinstance(item, str):
        return item, {}
    turns = turns_of(item, name, "role", "content")
    context: dict[str, Any] = {}
    if turns and turns[0][0] == "system":
        context["system"] = turns.pop(0)[1]
    if len(turns) != 1 or turns[0][0] not in roles:
        raise Unusable(f"'{name}' holds {len(turns)} turns, not one")
    return turns[0][1], context


def _asks(side: Any) -> bool:
    """Whether a person speaks in this list of turns, so that it is no mere answer."""
    return isinstance(side, list) and any(
        isinstance(turn, dict) and turn.get("role", turn.get("from")) in _HUMAN for turn in side
    )


def _whole_sides(value: Row, line: int) -> tuple[str, dict[str, Any], list[str]]:
    """What two conversations of one exchange each share, with the system prompt, and their answers."""
    sides = []
    for name in ("chosen", "rejected"):
        side = conversation({name: value.get(name)}, name, "role", "content", line)
        # Sides commonly part in their last answers only, so their first ones would say nothing of what was preferred.
        if side.extra is not None and "more_turns" in side.extra:
            raise Unusable(f"'{name}' is a conversation of more than one exchange")
        sides.append(side)
    asked, context = sides[0].instruction, dict(sides[0].extra or {})
    if (sides[1].instruction, dict(sides[1].extra or {})) != (asked, context):
        raise Unusable("'chosen' and 'rejected' answer different prompts")
    if value.get("prompt") is not None:
        stated, system = _side(value, "prompt", _HUMAN)
        if stated.strip() not in ("", asked.strip()) or (context and system and context != system):
            raise Unusable("'prompt' is not what 'chosen' and 'rejected' answer")
        context = context or system
    return asked, context, [side.output for side in sides]


def checked_instruction(text: str) -> str:
    if not text.strip():
        raise Unusable("the instruction is empty")
    return text


def with_extra(row: ImportRow, value: Row, used: set[str]) -> ImportRow:
    extra = {**(row.extra or {}), **{key: item for key, item in value.items() if key not in used}}
    if not extra:
        return row
    if len(json.dumps(extra)) > _MAX_EXTRA:
        raise Unusable(f"the other fields hold more than {_MAX_EXTRA // 1_000_000} MB")
    return replace(row, extra=extra)


def _text(value: Row, name: str) -> str | None:
    item = value.get(name)
    if item is not None and not isinstance(item, str):
        raise Unusable(f"'{name}' is {kind_of(item)}, not a text")
    return item


def _response(value: Row, name: str) -> str:
    item = value[name]
    if isinstance(item, list) and name == "responses":
        if len(item) != 1:
            raise Unusable(f"'{name}' holds {len(item)} texts, not one")
        item = item[0]
    if not isinstance(item, str):
        raise Unusable(f"'{name}' is {kind_of(item)}, not a text")
    return item


def own_fields(value: Mapping[str, Any]) -> dict[str, Any]:
    """What only our own export says; nothing where a file of somebody else uses the same names differently."""
    if not (
        isinstance(value.get("id"), str) and "decided_by" in value and isinstance(value.get("topic"), list)
    ):
        return {}
    found: dict[str, Any] = {"id": value["id"], "decided_by": value["decided_by"]}
    if len(value["topic"]) > _MOST_LEVELS:
        raise Unusable(f"its topic is {len(value['topic']):,} levels deep, and {_MOST_LEVELS} are allowed")
    if all(isinstance(name, str) for name in value["topic"]):
        found["topic"] = tuple(value["topic"])
    verdict, by = value.get("verdict"), value["decided_by"]
    for name in ("reason", "note"):
        if isinstance(value.get(name), str):
            found[name] = value[name]
    if isinstance(value.get("tags"), list) and all(isinstance(tag, str) for tag in value["tags"]):
        found["tags"] = tuple(value["tags"])
    if verdict in ("accepted", "rejected") and by in ("human", "rule"):
        found["verdict"] = verdict
        if by == "rule":
            rule = value.get("rule")
            found["rule"] = rule if isinstance(rule, str) and rule else "imported"
    elif verdict == "undecided":
        found["verdict"] = None
    scores = _by_judge(value.get("scores"))
    if isinstance(scores, dict):
        found["scores"] = {
            judge: {name: float(score) for name, score in given.items() if is_score(score)}
            for judge, given in scores.items()
            if isinstance(given, dict)
        }
    return found


def _by_judge(scores: Any) -> Any:
    """Scores as our JSON has them, also where they come as our columns' list."""
    if not isinstance(scores, list):
        return scores
    found: dict[str, dict[str, Any]] = {}
    for item in scores:
        if (
            isinstance(item, dict)
            and isinstance(item.get("judge"), str)
            and isinstance(item.get("attribute"), str)
        ):
            found.setdefault(item["judge"], {})[item["attribute"]] = item.get("score")
    return found


def is_score(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= 1e300


def kind_of(value: Any) -> str:
    names = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return "null" if value is None else names.get(type(value), "something else")
