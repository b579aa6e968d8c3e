"""Argilla's records, nested (`Dataset.records.to_json`, `Record.to_dict`), flat (`to_datasets`) or in the layout of
Argilla 1: fields, suggestions of models, responses of persons.

A person's text replaces the suggested one, which stays as the version before it. What a person submitted is accepted,
what was discarded rejected, unless an answer to `verdict` or `quality` says otherwise; drafts decide nothing. Numbers
are scores of whoever gave them; every other suggestion and answer is kept beside the pair.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from .import_shapes import (
    Row,
    Unusable,
    checked_instruction,
    is_score,
    kind_of,
    own_fields,
    turns_of,
    with_extra,
)
from .json_stream import read_value
from .store.import_rows import ImportRow

OWN = "pairsmith"
"""The metadata in which our own export keeps what Argilla has no place for, as a JSON text."""
_ASKED = ("instruction", "prompt", "question", "query")
_CONTEXT = ("input", "context")
_ANSWERS = ("output", "response", "completion", "generation", "answer")
_ANSWER = re.compile(
    rf"(?:(?:correct|edit|improv|revis|rewrit|final)\w*[-_ ])?(?:{'|'.join(_ANSWERS)})"
    r"|(?:correct|edit|improv|revis|rewrit)\w*"
)
_NUMBERED = re.compile(rf"(?:{'|'.join(_ANSWERS)})s?[-_]?\d+")
_VERDICTS: Mapping[str, Literal["accepted", "rejected"]] = {
    **dict.fromkeys(("accepted", "accept", "good", "yes"), "accepted"),
    **dict.fromkeys(("rejected", "reject", "bad", "no"), "rejected"),
}
_DECIDING = ("verdict", "quality")
_STATES = ("submitted", "draft", "discarded")
_FLAT = (".suggestion", ".responses", "-suggestion")


@dataclass(frozen=True, slots=True)
class _Answer:
    """A person's answer to one question. `status`: submitted, discarded or draft."""

    user: str
    value: Any
    status: str


@dataclass(frozen=True, slots=True)
class _Record:
    fields: Mapping[str, Any]
    suggestions: Mapping[str, Mapping[str, Any]]
    responses: Mapping[str, Sequence[_Answer]]
    metadata: Mapping[str, Any]
    rest: Mapping[str, Any]
    own: Mapping[str, Any] = field(default_factory=dict)
    """What our own export says of the pair, as fields of an ImportRow; empty for a record of somebody else."""


def is_flat_record(value: Row) -> bool:
    """Whether the names of a row's columns are those of Argilla's flat layouts."""
    return any(("." in name or "-" in name) and name.endswith(_FLAT) for name in value)


def argilla_rows(value: Row, line: int) -> list[ImportRow]:
    """A pair for every response that a record holds. Raises Unusable."""
    record = _nested(value) if isinstance(value.get("fields"), Mapping) else _flat(value)
    record = replace(record, own=_own(record.metadata))
    asked, fields = _asked(record.fields)
    given = next((name for name in _CONTEXT if isinstance(fields.get(name), str)), "")
    ours = (OWN, "topic", "model") if record.own else ()
    metadata = {name: item for name, item in record.metadata.items() if name not in ours}
    beside = {
        **{name: item for name, item in fields.items() if name != given and item is not None},
        **({"metadata": metadata} if metadata else {}),
        **record.rest,
    }
    base = ImportRow(asked, "", fields.get(given) or "", line, **record.own)
    rows = [with_extra(row, beside, set(used)) for row, used in _answered(record, base, fields)]
    if not rows:
        raise Unusable("there is no response, neither a field nor suggested nor given")
    return rows


def _answered(
    record: _Record, base: ImportRow, fields: Mapping[str, Any]
) -> Iterator[tuple[ImportRow, Sequence[str]]]:
    """Each response with what is said of it, and the fields that it took."""
    name = next((name for name in _ANSWERS if isinstance(fields.get(name), str)), None)
    numbered = [name for name in fields if _NUMBERED.fullmatch(name) and isinstance(fields[name], str)]
    if name is None and numbered:
        for one in numbered:
            if fields[one]:
                row = replace(base, output=fields[one], scores=_scores(record, one))
                yield replace(row, extra=_beside(record, one, None)), numbered
        return
    question = next((q for q in (*record.suggestions, *record.responses) if _ANSWER.fullmatch(q)), None)
    suggested = record.suggestions.get(question or "", {}).get("value")
    model = fields[name] if name is not None else suggested if isinstance(suggested, str) else None
    typed = _typed(record, question)
    if model is None and not typed:
        return
    base = replace(base, scores=_scores(record), extra=_beside(record, None, question))
    for text in list(typed) or [model or ""]:
        edited = model is not None and text != model
        row = replace(
            base,
            output=text,
            maker="human" if typed and (edited or model is None) else "import",
            earlier=(model,) if edited and model is not None else (),
        )
        yield _decided(record, row, question, typed.get(text)), () if name is None else (name,)


def _typed(record: _Record, question: str | None) -> dict[str, _Answer]:
    """The different texts that persons gave as the response: the submitted ones, else drafts, else the discarded."""
    answers = [a for a in record.responses.get(question or "", ()) if isinstance(a.value, str)]
    best = next((left for s in _STATES if (left := [a for a in answers if a.status == s])), [])
    found: dict[str, _Answer] = {}
    for answer in best:
        found.setdefault(answer.value, answer)
    return found


def _decided(record: _Record, row: ImportRow, question: str | None, answer: _Answer | None) -> ImportRow:
    """The row with the verdict of those persons who gave no other text than `answer`."""
    others = {a.user for a in record.responses.get(question or "", ()) if answer and a.value != answer.value}
    states = {
        a.user: a.status for answers in record.responses.values() for a in answers if a.user not in others
    }
    verdicts = {_verdict(record, user, status) for user, status in states.items() if status != "draft"}
    if not verdicts:
        return row
    # Where persons disagree nobody's word is taken for all of them.
    verdict = verdicts.pop() if len(verdicts) == 1 else None
    if verdict == row.verdict and row.rule is None:
        return row
    return replace(row, verdict=verdict, rule=None, reason="", tags=(), note="")


def _verdict(record: _Record, user: str, status: str) -> Literal["accepted", "rejected"]:
    for question in _DECIDING if status == "submitted" else ():
        for answer in record.responses.get(question, ()):
            if answer.user == user and isinstance(answer.value, str):
                said = _VERDICTS.get(answer.value.strip().lower())
                if said is not None:
                    return said
    return "accepted" if status == "submitted" else "rejected"


def _scores(record: _Record, one: str | None = None) -> dict[str, dict[str, float]]:
    """Numbers by who gave them: an agent, or a person by the id that Argilla knows. `one`: of numbered responses."""
    found = {judge: dict(given) for judge, given in record.own.get("scores", {}).items()}
    for question, suggestion in record.suggestions.items():
        if (name := _attribute(question, one)) and is_score(suggestion.get("value")):
            agent = suggestion.get("agent")
            judge = agent if isinstance(agent, str) and agent else "argilla"
            # What our export suggested is rounded; the exact number is among its own.
            if judge not in record.own.get("scores", {}):
                found.setdefault(judge, {})[name] = float(suggestion["value"])
    for question, answers in record.responses.items():
        for answer in answers:
            if (
                (name := _attribute(question, one))
                and answer.status == "submitted"
                and is_score(answer.value)
            ):
                found.setdefault(f"person:{answer.user or 'argilla'}", {})[name] = float(answer.value)
    return found


def _attribute(question: str, one: str | None) -> str:
    """What a question's number is a score of; empty where it is about another response."""
    if one is None:
        return question
    return question[len(one) + 1 :] if question.startswith((f"{one}-", f"{one}_")) else ""


def _beside(record: _Record, one: str | None, question: str | None) -> Mapping[str, Any] | None:
    """What else was suggested and answered, to be kept beside the pair."""
    suggestions, responses = {}, {}
    for name, suggestion in record.suggestions.items():
        said = {part: item for part, item in suggestion.items() if item is not None}
        if name == question or is_score(said.get("value")):
            said.pop("value", None)
        ours = record.own and (
            name in (question, *_DECIDING) or said.get("agent") in record.own.get("scores", {})
        )
        alone = name != question and set(said) <= {"agent"}
        if said and not ours and not alone and _concerns(name, one):
            suggestions[name] = said
    for name, answers in record.responses.items():
        left = [{"user_id": a.user, "value": a.value} for a in answers if not is_score(a.value)]
        if left and name != question and name not in _DECIDING and _concerns(name, one):
            responses[name] = left
    kept = {"suggestions": suggestions, "responses": responses}
    return {name: said for name, said in kept.items() if said} or None


def _concerns(question: str, one: str | None) -> bool:
    about = _NUMBERED.match(question)
    return one is None or about is None or about[0] == one


def _asked(fields: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The instruction, and the fields besides. A chat counts where its last turn asks and is the only one that does,
    and with an answer after it as question and output."""
    name = next((name for name in _ASKED if fields.get(name) is not None), None)
    chat = name if name is not None and isinstance(fields[name], list) else None
    if name is None:
        chat = next(
            (n for n in ("messages", "conversation", "chat") if isinstance(fields.get(n), list)), None
        )
    rest = {key: item for key, item in fields.items() if key not in (name, chat)}
    if chat is None:
        if name is None:
            raise Unusable(f"there is no field {_ASKED[0]!r} (or {', '.join(map(repr, _ASKED[1:]))})")
        if not isinstance(fields[name], str):
            raise Unusable(f"the field {name!r} is {kind_of(fields[name])}, not a text")
        return checked_instruction(fields[name]), rest
    turns = turns_of(fields[chat], chat, "role", "content")
    if system := "\n\n".join(text for role, text in turns if role == "system"):
        rest["system"] = system
    turns = [turn for turn in turns if turn[0] != "system"]
    if not turns or turns[0][0] not in ("user", "human") or len(turns) > 2:
        raise Unusable(f"the field {chat!r} is not one person's turn, with or without its answer")
    if len(turns) == 2:
        rest.setdefault("output", turns[1][1])
    return checked_instruction(turns[0][1]), rest


def _nested(value: Row) -> _Record:
    completed = value.get("status") == "completed"
    responses = {}
    for question, answers in _mapping(value, "responses").items():
        listed = answers if isinstance(answers, list) else [answers]
        responses[question] = [_answer(item, completed) for item in listed if isinstance(item, Mapping)]
    suggestions = {
        question: item
        for question, item in _mapping(value, "suggestions").items()
        if isinstance(item, Mapping)
    }
    vectors = value.get("vectors")
    rest = {"vectors_left_out": sorted(vectors)} if isinstance(vectors, Mapping) and vectors else {}
    return _Record(value["fields"], suggestions, responses, _mapping(value, "metadata"), rest)


def _flat(value: Row) -> _Record:
    """The columns of a flat record, or of one of Argilla 1, put back where they belong."""
    fields = dict(value)
    status = fields.pop("status", None)
    for name in ("id", "_server_id", "external_id"):
        fields.pop(name, None)
    metadata = fields.pop("metadata", None)
    if isinstance(metadata, str):
        metadata = _read(metadata)
    suggestions, responses = {}, {}
    questions = {name.removesuffix(mark) for name in value for mark in _FLAT if name.endswith(mark)}
    for question in sorted(questions):
        said = fields.pop(f"{question}.suggestion", None)
        parts = {part: fields.pop(f"{question}.suggestion.{part}", None) for part in ("score", "agent")}
        if said is None and (said := fields.pop(f"{question}-suggestion", None)) is not None:
            about = fields.pop(f"{question}-suggestion-metadata", None)
            parts = dict(about) if isinstance(about, Mapping) else {}
        if said is not None:
            suggestions[question] = {"value": said, **parts}
        answers = _answers(fields, question, completed=status == "completed")
        if answers:
            responses[question] = answers
    own = fields.pop(OWN, None)
    about = dict(metadata) if isinstance(metadata, Mapping) else {}
    if isinstance(own, str):
        about = {
            **about,
            OWN: own,
            **{name: fields.pop(name) for name in ("topic", "model") if name in fields},
        }
    return _Record(fields, suggestions, responses, about, {})


def _answers(fields: dict[str, Any], question: str, *, completed: bool) -> list[_Answer]:
    """Take the columns of a question's answers."""
    if isinstance(old := fields.get(question), list) and all(isinstance(item, Mapping) for item in old):
        return [_answer(item, completed) for item in fields.pop(question)]
    values = fields.pop(f"{question}.responses", None) or []
    users = fields.pop(f"{question}.responses.users", None) or []
    states = fields.pop(f"{question}.responses.status", None) or []
    if not isinstance(values, list):
        return []
    return [
        _answer(
            {
                "value": item,
                "user_id": users[number] if number < len(users) else None,
                "status": states[number] if number < len(states) else None,
            },
            completed,
        )
        for number, item in enumerate(values)
    ]


def _answer(item: Mapping[str, Any], completed: bool) -> _Answer:
    """Argilla's own JSON does not say an answer's status: a completed record's were submitted, others may be drafts."""
    user, status = item.get("user_id"), item.get("status")
    if status not in ("submitted", "discarded", "draft"):
        status = "submitted" if completed else "draft"
    return _Answer(user if isinstance(user, str) else "", item.get("value"), status)


def _mapping(value: Row, name: str) -> Mapping[str, Any]:
    item = value.get(name)
    return item if isinstance(item, Mapping) else {}


def _own(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What our own export says of the pair, as fields of an ImportRow."""
    told = _read(metadata.get(OWN))
    if not isinstance(told, Mapping):
        return {}
    return {name: item for name, item in own_fields(told).items() if name not in ("id", "decided_by")}


def _read(text: Any) -> Any:
    if not isinstance(text, str):
        return None
    try:
        return read_value(text.encode("utf-8", "surrogatepass"))
    except ValueError:
        return None
