"""Lists written line by line: numbers, letters, bullets, labels, headings, tags; with wrapped lines and code blocks.

A line's mark decides whether it begins an item. Only one kind of mark makes the list (the outermost, numbers before
bullets); the others belong to an item's text. A number counts only where it continues the numbering, so that a year or
a decimal at the start of a wrapped line is text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal[
    "label",
    "number",
    "roman",
    "letter",
    "bullet",
    "field",
    "tag",
    "dash",
    "heading",
    "plain",
    "blank",
    "code",
]

_RANKS: tuple[Kind, ...] = ("label", "number", "roman", "letter", "bullet", "field", "tag", "dash", "heading")
_CIRCLED = "①②③④⑤⑥⑦⑧⑨⑩⑪⑫⑬⑭⑮⑯⑰⑱⑲⑳"
_ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50}
LABELS = (
    "instruction|task|question|prompt|item|topic|subtopic|sub-topic|exercise|problem|query|request|challenge|idea|q|"
    "指令|任务|任務|问题|問題|题目|題目|主题|主題|子主题"
)

_LABEL = re.compile(
    rf"(?:[-*•]\s+)?#{{0,6}}\s*(?P<open>\*\*|__)?(?:{LABELS})\s*(?:no\.?\s*)?#?\s*(?P<n>\d{{1,4}})"
    r"(?:\s*[:：.)\]、]|\s+[-–—](?=\s)|\s*(?=\*\*|__|$))\s*(?(open)(?P<close>\*\*|__)?)\s*[:：]?",
    re.IGNORECASE,
)
_FIELD = re.compile(
    r"[*_]*(?:instruction|task|question|prompt|topic|subtopic|指令|任务|任務|问题|問題)[*_]*\s*[:：][*_]*\s*",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"(?:[-*•]\s+)?#{0,6}\s*(?P<open>\*\*|__)?\s*(?:no\.\s*|\#)?"
    r"(?:[(\[（【]\s*(?P<a>\d{1,4})\s*[)\]）】][.:：、]?"
    r"|(?P<b>\d{1,4})\s?(?:\\?[.．](?![\d.])\)?|[)）\]](?!\d)[.:]?|[:：、](?!\d)|[-–—](?=\s))"
    r"|(?P<c>\d{1,4})\s+[-–—](?=\s)|(?<=\#)(?P<d>\d{1,4})(?=\s))"
    r"\s*(?(open)(?P<close>\*\*|__)?)\s*",
    re.IGNORECASE,
)
_CIRCLE = re.compile(rf"([{_CIRCLED}])\s*")
_LETTER = re.compile(r"(?:\*\*|__)?\(?(?P<c>[A-Za-z])[.)]\s*(?:\*\*|__)?\s+")
_ROMAN_MARK = re.compile(r"(?:\*\*|__)?\(?(?P<r>[IVXL]{1,7}|[ivxl]{1,7})[.)]\s*(?:\*\*|__)?\s+")
_BULLET = re.compile(r"(?:[-*+](?=\s)|[•‣◦▪●○·■□◆◇★☆➤►▶➔✓✔✅☐◉](?!\d))\s*(?:\[[ xX]?\]\s+)?")
_DASH = re.compile(r"[–—]\s+")
_TAG = re.compile(r"<([A-Za-z][\w-]{0,30})>(.*)</\1>")
_ONLY_TAG = re.compile(r"</?[A-Za-z][\w:-]{0,30}>")
_HEADING = re.compile(r"#{1,6}\s+")
_FENCE = re.compile(r"(?:`{3,}|~{3,})")
_NO_INPUT = re.compile(
    r"[*_]*input[*_]*\s*[:：][*_]*\s*(?:n/?a|none|<?no ?input>?|\"\"|''|-)?\.?", re.IGNORECASE
)
_ANSWER = re.compile(
    r"(?:[-*•]\s+)?[*_]*(?:(?:expected |sample |correct |model )?(?:output|response|answer|solution|completion)|"
    r"explanation|rationale|difficulty|答案|输出|解释)[*_]*\s*\d*\s*[:：]",
    re.IGNORECASE,
)
OUTRO = re.compile(
    r"(?:[*_(]*)(?:let me know|i hope|hope (?:this|these)|feel free|please (?:let|note|feel)|would you like|"
    r"if you(?:'d| would| need| have| want)|"
    r"these (?:instructions|tasks|questions|topics|subtopics|prompts|examples|are|cover|should|\d+)|this list|"
    r"note:|note that|each (?:of these|instruction|task|question|topic)|do you (?:want|need)|is there anything|"
    r"happy to|希望|如果您|如果你|请告诉|以上)",
    re.IGNORECASE,
)


@dataclass(slots=True)
class Line:
    """A line with its mark taken off."""

    kind: Kind
    indent: int
    text: str
    number: int = 0
    raw: str = ""


@dataclass(slots=True)
class Item:
    """An item as written: its first line and what belongs to it."""

    lines: list[str]
    code: bool = False
    closed: bool = False
    """After a blank line: what follows unindented may not belong to it."""
    answered: bool = False
    """The model has begun to answer it: nothing more belongs to it."""
    pending: list[str] = field(default_factory=list)
    """Such lines, which join the item if another one comes, and are the outro if none does."""


@dataclass(frozen=True, slots=True)
class MarkedList:
    """The items found, what kind of mark they have, and whether the last one is the last thing in the text."""

    items: tuple[str, ...]
    kind: Kind
    open_end: bool


def read_marked(text: str, *, asked: int) -> MarkedList | None:
    """The list that marks make of the lines, or None where fewer than two (one, if one was asked) have one kind."""
    lines = read_lines(text)
    kind = _kind_of_list(lines, 1 if asked == 1 else 2)
    if kind is None:
        return None
    items = _gather(lines, kind)
    open_end = (
        bool(items) and not items[-1].pending and not (lines and lines[-1].kind == "blank" and len(items) < 1)
    )
    texts = tuple(_text_of(item) for item in items)
    return MarkedList(texts, kind, open_end)


def count_numbered(text: str) -> int:
    """How many lines carry a number or a numbered label."""
    return sum(line.kind in ("number", "label") for line in read_lines(text))


def read_lines(text: str) -> list[Line]:
    """All lines, with marks recognised; those inside code fences are code."""
    lines: list[Line] = []
    fence = ""
    for raw in text.split("\n"):
        bare = raw.strip()
        opened = _FENCE.match(bare)
        if fence or opened:
            if fence and bare == fence[0] * len(bare) and len(bare) >= len(fence):
                fence = ""
            elif not fence and opened:
                fence = opened[0]
            lines.append(Line("code", _indent(raw), raw.rstrip(), raw=raw))
        else:
            lines.append(_read_line(raw, bare))
    return lines


def _read_line(raw: str, bare: str) -> Line:
    indent = _indent(raw)
    if not bare or (set(bare) <= set("-=_*") and len(bare) > 2) or _ONLY_TAG.fullmatch(bare):
        return Line("blank", indent, "", raw=raw)
    for kind, pattern in (("label", _LABEL), ("number", _NUMBER), ("number", _CIRCLE)):
        match = pattern.match(bare)
        if match:
            text = bare[match.end() :].strip()
            groups = match.groupdict()
            if groups.get("open") and not groups.get("close"):
                text = _without_closing(text, groups["open"])
            digits = next((groups[name] for name in "nabcd" if groups.get(name)), None)
            number = int(digits) if digits else _CIRCLED.index(match[1]) + 1
            return Line("label" if kind == "label" else "number", indent, text, number, raw)
    if match := _BULLET.match(bare):
        return Line("bullet", indent, bare[match.end() :].strip(), raw=raw)
    if match := _DASH.match(bare):
        return Line("dash", indent, bare[match.end() :].strip(), raw=raw)
    if match := _TAG.fullmatch(bare):
        return Line("tag", indent, match[2].strip(), raw=raw)
    if match := _FIELD.match(bare):
        return Line("field", indent, bare[match.end() :].strip(), raw=raw)
    if match := _HEADING.match(bare):
        return Line("heading", indent, bare[match.end() :].strip(), raw=raw)
    return Line("plain", indent, bare, raw=raw)


def _without_closing(text: str, mark: str) -> str:
    """What is left of bold text whose opening went with the number: "**1. a** b"."""
    before, found, after = text.partition(mark)
    return before + after if found else text


def _indent(raw: str) -> int:
    width = 0
    for char in raw:
        if char == "\t":
            width += 4 - width % 4
        elif char == " ":
            width += 1
        else:
            break
    return width


def _kind_of_list(lines: Sequence[Line], fewest: int) -> Kind | None:
    _name_letters(lines)
    indents: dict[Kind, list[int]] = {}
    for line in lines:
        if line.kind in _RANKS:
            indents.setdefault(line.kind, []).append(line.indent)
    if len(indents.get("dash", ())) < max(2, sum(line.kind != "blank" for line in lines) // 2):
        indents.pop("dash", None)
    if any(kind != "heading" for kind in indents):
        indents.pop("heading", None)
    usual = [kind for kind in _RANKS if len(indents.get(kind, ())) >= fewest]
    if not usual:
        return None
    outermost = min(min(indents[kind]) for kind in usual)
    return next(kind for kind in usual if min(indents[kind]) <= outermost + 1)


def _name_letters(lines: Sequence[Line]) -> None:
    """Give plain lines their letter or Roman number, where such marks count up from the first."""
    for kind, pattern in (("roman", _ROMAN_MARK), ("letter", _LETTER)):
        found: list[tuple[Line, int, int]] = []
        for line in lines:
            match = pattern.match(line.text) if line.kind == "plain" else None
            if match is None:
                continue
            number = _roman(match[1]) if kind == "roman" else ord(match[1].lower()) - 96
            wanted = found[-1][1] + 1 if found else 1
            if number == wanted or (number == 1 and found):
                found.append((line, number, match.end()))
        if len(found) >= 2 and found[1][1] == 2:
            for line, number, end in found:
                line.kind = "roman" if kind == "roman" else "letter"
                line.number = number
                line.text = line.text[end:].strip()


def _roman(digits: str) -> int:
    values = [_ROMAN[char] for char in digits.upper()]
    return sum(-v if v < after else v for v, after in zip(values, [*values[1:], 0], strict=True))


def _gather(lines: Sequence[Line], kind: Kind) -> list[Item]:
    outermost = min(line.indent for line in lines if line.kind == kind)
    items: list[Item] = []
    before = 0
    for line in lines:
        begins = line.kind == kind and line.indent <= outermost + 1
        if begins and items and kind in ("label", "number"):
            begins = line.number in (1, before) or before < line.number <= before + 3
            # A number that does not go on counting is part of a sentence: a year, the end of a decimal.
            line.text = line.text if begins else line.raw.strip()
        if begins:
            if items:
                items[-1].lines += [text for text in items[-1].pending if not _is_group_heading(text)]
                items[-1].pending = []
            items.append(Item([line.text]))
            before = line.number
        elif items:
            _continue(items[-1], line, outermost)
    return items


def _continue(item: Item, line: Line, outermost: int) -> None:
    """A line that begins no item: part of the one before, or of the outro, or neither."""
    if _NO_INPUT.fullmatch(line.raw.strip()):
        return
    item.answered = item.answered or _ANSWER.match(line.raw.strip()) is not None
    if line.kind == "blank" or item.answered:
        item.closed = True
    elif line.kind == "code":
        item.code = True
        item.lines += [*item.pending, line.text]
        item.pending = []
    elif line.kind == "heading" and line.indent <= outermost:
        item.closed = True
    elif not any(item.lines):
        # The number or label stood alone; this is the item itself.
        item.lines = [line.text]
        item.closed = False
    elif item.pending or (line.indent <= outermost and (item.closed or OUTRO.match(line.text))):
        item.pending.append(line.text)
    else:
        item.lines.append(line.text)


def _is_group_heading(text: str) -> bool:
    """Whether a line between two items names a group of them rather than going on with one."""
    bare = text.strip("*_ ")
    return (
        text.endswith((":", "：")) or bare != text or (len(text.split()) < 8 and bare[-1:] not in ".?!。？！")
    )


def _text_of(item: Item) -> str:
    if item.code:
        return "\n".join(item.lines).strip()
    return " ".join(line for line in item.lines if line)
