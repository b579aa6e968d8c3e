"""Values in text that mean to be JSON: JSON, Python literals, smart quotes, unescaped quotes, cut ends.

`find_values` reads a value at every `[` and `{`. It does not recurse and converts no numbers, so that neither
200,000 brackets nor a number of 5,000 digits can hurt it, and what it may spend on false starts is bounded by the
text's length.
`texts_of` then says which strings of a value are the items of the list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

_DEEPEST = 64
_RETRIES = 4
"""False starts may cost this many times the text's length; after that, reading goes on where it failed."""


@dataclass(slots=True)
class Fields:
    """A JSON object: its fields in order, names repeated where the text repeats them."""

    fields: list[tuple[str, Value]] = field(default_factory=list)


Value: TypeAlias = "str | list[Value] | Fields | None"
"""A number, true, false and null are all None: no item of a list of texts."""


@dataclass(frozen=True, slots=True)
class Found:
    """A value and where it stands; `complete` is False where it broke off and only its whole elements are here."""

    value: Value
    start: int
    end: int
    complete: bool


_SPACE = re.compile(r"(?:\s++|//[^\n]*+|#[^\n]*+)*+")
_START = re.compile(r"""\[(?=\s*+[\[{("'“‘”„«「\w\]+#/.…-])|\{(?=\s*+["'“‘”„«「\w}#/])""")
_OTHER = re.compile(r"[-+]?\d[\w.+-]*+|(?:true|false|null|None|True|False|undefined)\b|\.\.\.|…")
_NAME = re.compile(r"[^\W\d][\w -]{0,60}+")
_CLOSES = {"]": list, ")": list, "}": Fields}
# A quote ends a string only where something follows that may follow a string: models forget to escape.
_STRINGS = {
    '"': re.compile(r'"((?:[^"\\]|\\.|"(?!\s*+(?:[,\]}:"#]|//|\Z)))*+)"', re.DOTALL),
    "'": re.compile(r"'((?:[^'\\]|\\.|'(?!\s*+(?:[,\]}:)'#]|//|\Z)))*+)'", re.DOTALL),
    "“": re.compile(r"“([^”\\]*+(?:\\.[^”\\]*+|”(?!\s*+(?:[,\]}:]|\Z))[^”\\]*+)*+)”", re.DOTALL),
    "‘": re.compile(r"‘([^’\\]*+(?:\\.[^’\\]*+|’(?!\s*+(?:[,\]}:]|\Z))[^’\\]*+)*+)’", re.DOTALL),
    "”": re.compile(r"”([^”]*+)”"),
    "„": re.compile(r"„([^“”]*+)[“”]"),
    "«": re.compile(r"«([^»]*+)»"),
    "「": re.compile(r"「([^」]*+)」"),
}
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPES = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "b": " ",
    "f": " ",
    "/": "/",
    "\\": "\\",
    '"': '"',
    "'": "'",
    "\n": "",
}


def find_values(text: str) -> Iterator[Found]:
    """Every outermost array or object in the text, in order, with what could be saved of those that break off."""
    allowance = _RETRIES * len(text) + 10_000
    place = 0
    while (match := _START.search(text, place)) is not None:
        found = _read(text, match.start())
        allowance -= found.end - found.start
        if _has_text(found.value):
            yield found
        place = found.end if found.complete or allowance < 0 else found.start + 1


def _read(text: str, start: int) -> Found:
    root: Value = [] if text[start] == "[" else Fields()
    frames: list[tuple[Value, str | None]] = [(root, None)]
    place = start + 1
    while frames:
        place = _after_space(text, place)
        char = text[place : place + 1]
        top, name = frames[-1]
        if char == ",":
            place += 1
        elif char and char in _CLOSES:
            if not isinstance(top, _CLOSES[char]):
                break
            frames.pop()
            place += 1
        elif isinstance(top, Fields) and name is None:
            read = _field_name(text, place)
            if read is None:
                place = len(text) if char in _STRINGS else place
                break
            name, place = read
            frames[-1] = (top, name)
        elif char and char in "[{(":
            if len(frames) > _DEEPEST:
                return Found([], start, place, True)
            inner: Value = Fields() if char == "{" else []
            _attach(frames, inner)
            frames.append((inner, None))
            place += 1
        else:
            scalar = _scalar(text, place)
            if scalar is None:
                # A string that never ends was looked for up to the end of the text.
                place = len(text) if char in _STRINGS else place
                break
            value, place = scalar
            _attach(frames, value)
    if frames:
        _drop_unfinished(frames)
    return Found(root, start, max(place, start + 1), not frames)


def _attach(frames: list[tuple[Value, str | None]], value: Value) -> None:
    top, name = frames[-1]
    if isinstance(top, Fields):
        top.fields.append((name or "", value))
        frames[-1] = (top, None)
    elif isinstance(top, list):
        top.append(value)


def _drop_unfinished(frames: list[tuple[Value, str | None]]) -> None:
    """Of a value that breaks off, an unfinished element of an array is no element."""
    for outer, _ in frames[:-1]:
        if isinstance(outer, list):
            outer.pop()
            return


def _field_name(text: str, place: int) -> tuple[str, int] | None:
    string = _string(text, place)
    if string is None:
        bare = _NAME.match(text, place)
        if bare is None:
            number = _OTHER.match(text, place)
            if number is None:
                return None
            string = number[0], number.end()
        else:
            string = bare[0], bare.end()
    name, place = string
    place = _after_space(text, place)
    return (name, place + 1) if text[place : place + 1] in (":", "：", "=") else None


def _scalar(text: str, place: int) -> tuple[str | None, int] | None:
    string = _string(text, place)
    if string is not None:
        return string
    other = _OTHER.match(text, place)
    return (None, other.end()) if other else None


def _string(text: str, place: int) -> tuple[str, int] | None:
    pattern = _STRINGS.get(text[place : place + 1])
    match = pattern.match(text, place) if pattern else None
    return (unescaped(match[1]), match.end()) if match else None


def unescaped(raw: str) -> str:
    """What a string means whose quotes have been taken off; unknown escapes stay."""
    if "\\" not in raw:
        return raw
    if '"' not in raw:
        try:
            return _joined(str(json.loads(f'"{raw}"', strict=False)))
        except ValueError:
            pass
    return _joined(_ESCAPE.sub(_escape, raw))


def _joined(text: str) -> str:
    """Surrogate pairs as the characters that they mean, lone ones as U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _escape(match: re.Match[str]) -> str:
    code = match[1]
    if len(code) == 5:
        return chr(int(code[1:], 16))
    return _ESCAPES.get(code, match[0])


def _after_space(text: str, place: int) -> int:
    match = _SPACE.match(text, place)
    return match.end() if match else place


def _has_text(value: Value) -> bool:
    if isinstance(value, str):
        return True
    if isinstance(value, list):
        return any(map(_has_text, value))
    return isinstance(value, Fields) and any(_has_text(inner) for _, inner in value.fields)


def _words(*texts: str) -> tuple[str, ...]:
    return tuple(word for text in texts for word in text.split())


# Names of fields, likeliest first, without a plural's s; those before `_LAST_SURE` leave no doubt.
_INSTRUCTIONS = _words(
    "instruction task question prompt query request command exercise problem challenge 指令 问题 問題 任务 任務",
    "item text content sentence user human topic subtopic 主题 主題 name title description value",
)
_NAMES = _words(
    "topic subtopic name title 主题 主題 题目 子主题",
    "category subject theme area domain label heading item text value content description",
)
_LISTS = _words(
    "instruction task question prompt querie query request command exercise problem challenge topic subtopic name",
    "title item list data result output response answer entrie array 指令 问题 問題 任务 任務 主题 主題 子主题 列表",
)
_LAST_SURE: dict[str, str] = {"instructions": "item", "names": "category"}
_LABEL = re.compile(r"\W*(?:[^\W\d]+[ _#-]*)?\d+\W*|\W*[^\W\d]\W*")
_AROUND = re.compile(r"^[\W_\d]+|[\W_\d]+$")


Kind: TypeAlias = Literal["instructions", "names"]


def texts_of(value: Value, kind: Kind) -> list[str]:
    """The strings of a value that are the items of the list that was asked for."""
    if isinstance(value, Fields):
        return _texts_of_root(value, kind)
    return _texts_of_element(value, kind)


def _texts_of_root(value: Fields, kind: Kind) -> list[str]:
    lists = _lists(value)
    best, sure = _best_field(value, kind)
    if named := [inner for name, inner in lists if _word(name) in _LISTS]:
        return [best] if best and sure and kind == "instructions" else _texts_of_each(named, kind)
    names = [name for name, inner in value.fields if _has_text(inner)]
    if kind == "names" and len(names) > 1 and not any(map(_is_field_name, names)):
        return names
    if lists and not sure:
        return _texts_of_each([inner for _, inner in lists], kind)
    return [best] if best else [inner for _, inner in value.fields if isinstance(inner, str)]


def _texts_of_element(value: Value, kind: Kind) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return _texts_of_each(value, kind)
    if value is None:
        return []
    best, sure = _best_field(value, kind)
    lists = _lists(value)
    if (named := [inner for name, inner in lists if _word(name) in _LISTS]) and not sure:
        return _texts_of_each(named, kind)
    if best:
        return [best]
    texts = [inner for _, inner in value.fields if isinstance(inner, str)]
    if not texts:
        return _texts_of_each([inner for _, inner in lists], kind)
    return texts[:1] if kind == "names" else [max(texts, key=len)]


def _texts_of_each(values: Sequence[Value], kind: Kind) -> list[str]:
    return [text for value in values for text in _texts_of_element(value, kind)]


def _lists(value: Fields) -> list[tuple[str, Value]]:
    return [
        (name, inner) for name, inner in value.fields if isinstance(inner, list | Fields) and _has_text(inner)
    ]


def _best_field(value: Fields, kind: Kind) -> tuple[str | None, bool]:
    """The field that is the item, by its name, and whether that name leaves no doubt."""
    wanted = _NAMES if kind == "names" else _INSTRUCTIONS
    ranks = {word: rank for rank, word in reversed(list(enumerate(wanted)))}
    found: tuple[int, str] | None = None
    fields = [(name, inner) for name, inner in value.fields if isinstance(inner, str) and inner.strip()]
    if len(fields) > 1 and all(_LABEL.fullmatch(name) for name, _ in fields):
        return None, False
    for name, inner in fields:
        rank = ranks.get(_word(name))
        if rank is not None and (found is None or rank < found[0]):
            found = rank, inner
    if found is None:
        return None, False
    return found[1], found[0] < wanted.index(_LAST_SURE[kind])


def _is_field_name(name: str) -> bool:
    return _LABEL.fullmatch(name) is not None or _word(name) in (*_NAMES, *_INSTRUCTIONS, *_LISTS)


def _word(name: str) -> str:
    """A field's name reduced to what lists call their fields: "Instruction_1" and "instructions" are "instruction"."""
    word = _AROUND.sub("", name.casefold())
    last = re.split(r"[\W_]+", word)[-1]
    return last[:-1] if last.endswith("s") else last
