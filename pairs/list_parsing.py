"""Reading a list out of what a model wrote, whatever shape it chose.

In this order: thinking is taken out; what means to be JSON (also Python, JSON Lines; cut, wrongly quoted); tables;
marked lines; marks within one line; for names, commas; last, plain lines if their number is about what was asked for.
A guess is worse than nothing: what is not clearly a list gives no items and says why, so that the caller can count a
failed call. Time is linear in the text, of which at most `LONGEST` characters are read.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from .list_json import Fields, Found, Kind, find_values, texts_of, unescaped
from .list_lines import LABELS, MarkedList, count_numbered, read_marked
from .list_shapes import comma_names, inline_items, plain_items, table_items
from .normalise import normal_form
from .refusals import looks_like_refusal
from .thinking import without_thinking

LONGEST = 400_000
"""Characters of an answer that are read; a longer one is taken as cut off there."""
_NAME_WORDS = 12
"""A topic of more words is a sentence."""

_QUOTES = {
    '"': '"',
    "“": "”",
    "'": "'",
    "‘": "’",
    "«": "»",
    "„": "“",
    "「": "」",
    "『": "』",
    "”": "”",
    "`": "`",
}
_BOLD = re.compile(r"(\*\*\*|\*\*|__|\*|_)(?=\S)(.+?)(?<=\S)\1[.,;:]?")
_LABEL = re.compile(
    rf"[*_]*(?:{LABELS})\s*(?:no\.?\s*)?#?\s*\d{{1,4}}[*_]*\s*(?:[:：.)\]、]|[-–—]\s)[*_]*\s*"
    rf"|[*_]*(?:instruction|task|question|prompt|topic|subtopic|指令|任务|任務|问题|問題)[*_]*\s*[:：][*_]*\s*",
    re.IGNORECASE,
)
_NOTHING = re.compile(
    rf"[\W_]*(?:\d+[\W_]*|(?:{LABELS}|example|option)s?\s*(?:no\.?\s*)?#?\s*\d{{0,4}}[\W_]*)?", re.IGNORECASE
)
_DESCRIPTION = re.compile(r"\s*[:：]\s+|[:：](?=\D)|\s+[-–—]+\s+|\*\*\s*[-–—:]\s*|\n")
_APOSTROPHE = re.compile(r"(?<=\w)['’](?=\w)")
_ESCAPED = re.compile(r'"(?=[^\\]*\\)(?:[^"\\]|\\.)*+"', re.DOTALL)
_YAML_FIELD = re.compile(r"[\"']?([A-Za-z][\w-]{0,30})[\"']?:\s+[|>]?-?\s*(.*)", re.DOTALL)
_FENCES = re.compile(r"^[ \t]*(?:`{3,}|~{3,})[^\n`]*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ParsedList:
    """The items of a list, in order, repetitions included. `malformed` says why there are none; None if there are."""

    items: tuple[str, ...] = ()
    malformed: str | None = None
    """`empty`, `only thinking`, `refused`, `no list`, `only repeats what was shown`."""
    echoed: int = 0
    """Items left out because they were in the prompt."""
    cut: int = 0
    """Items left out because the text ends within them."""


@dataclass(frozen=True, slots=True)
class _Raw:
    """Items as written; `cut`: an unfinished one has been left out already; `open_end`: the last may be unfinished;
    `whole`: the text is this list and nothing else, so that one item is a list, too."""

    items: Sequence[str]
    cut: int = 0
    open_end: bool = False
    whole: bool = False


def parse_list(
    text: str, *, asked: int, names: bool = False, truncated: bool = False, echoed: Collection[str] = ()
) -> ParsedList:
    """The items of the list in `text`, of which about `asked` were asked for.

    `names`: short names (topics), which may stand between commas and lose a description after a colon. `truncated`: the
    model was stopped by a token limit. `echoed`: items that the prompt showed; those are left out. Never raises.
    """
    truncated = truncated or len(text) > LONGEST
    text = (
        text[:LONGEST].replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").strip("\ufeff \n\t")
    )
    if not text.strip():
        return ParsedList(malformed="empty")
    text = without_thinking(text).strip()
    if not text:
        return ParsedList(malformed="only thinking")
    if looks_like_refusal(text):
        return ParsedList(malformed="refused")
    raw = _read(text, max(1, asked), names)
    items, cut = list(raw.items), raw.cut
    if truncated and raw.open_end and items:
        items, cut = items[:-1], cut + 1
    items = [item for item in (_cleaned(item, names) for item in items) if item]
    if len(items) + cut < (1 if asked <= 1 or raw.whole else 2) or not items:
        return ParsedList(malformed="no list", cut=cut)
    shown = {normal_form(item) for item in echoed}
    new = [item for item in items if normal_form(item) not in shown]
    left_out = len(items) - len(new)
    return ParsedList(tuple(new), None if new else "only repeats what was shown", left_out, cut)


def _read(text: str, asked: int, names: bool) -> _Raw:
    fenced, outside = _fences(text)
    if not fenced or count_numbered(outside) > 1:
        candidates = [text]
    else:
        candidates = ["\n".join(fenced), _FENCES.sub("", text)]
    for candidate in candidates:
        found = _json(candidate, asked, "names" if names else "instructions")
        if found is not None:
            return found
    for candidate in candidates:
        found = _lines(candidate.strip("\n"), asked, names)
        if found is not None:
            return found
    return _Raw(())


def _fences(text: str) -> tuple[list[str], str]:
    """The contents of the code blocks (an unclosed one goes to the end), and the text outside them."""
    parts = _FENCES.split(text)
    return [part for part in parts[1::2] if part.strip()], "\n".join(parts[::2])


def _json(text: str, asked: int, kind: Kind) -> _Raw | None:
    """The longest list among the values that stand for themselves; objects one after another count as one list."""
    found = [value for value in find_values(text) if _stands_alone(text, value)]
    lists = [(texts_of(value.value, kind), value) for value in found]
    lists = [(items, value) for items, value in lists if any(item.strip() for item in items)]
    if not lists:
        return None
    records = [items[0] for items, value in lists if len(items) == 1 and value.complete]
    best, value = max(lists, key=lambda one: len(one[0]))
    if len(records) > len(best):
        return _Raw(records, cut=sum(not value.complete for _, value in lists[-1:]))
    whole = _is_whole(text, value)
    if len(best) > 1 or asked == 1 or whole or not value.complete or len(best) + 20 > len(text):
        return _Raw(best, cut=0 if value.complete else 1, whole=whole)
    return None


def _is_whole(text: str, found: Found) -> bool:
    """Whether the text is one JSON list, bare or under one name: what a schema makes of a list of one."""
    value = found.value
    inner = value.fields[0][1] if isinstance(value, Fields) and len(value.fields) == 1 else value
    return found.complete and isinstance(inner, list) and (found.start, found.end) == (0, len(text))


def _stands_alone(text: str, found: Found) -> bool:
    """Whether a value is the answer, or one line of it, rather than an example inside an item's text."""
    if (found.end - found.start) > 0.6 * len(text):
        return True
    line = text.rfind("\n", 0, found.start) + 1
    before = text[line : found.start].strip()
    after = text[found.end : found.end + 200].partition("\n")[0].strip(" ,;.`")
    if not before or re.fullmatch(r"\W*(?:\d{1,4}[.):]|[-*•])?\W*", before):
        return not after or not before
    return before.endswith((":", "=", "：")) and not after and (found.end - found.start) > 0.3 * len(text)


def _lines(text: str, asked: int, names: bool) -> _Raw | None:
    rows = table_items(text)
    if len(rows) > 1 or (rows and asked == 1):
        return _Raw(rows, open_end=text.rstrip().count("\n") > 0 and not text.rstrip().endswith("|"))
    marked = read_marked(text, asked=asked)
    inline = _inline(text, asked, marked)
    if inline is not None:
        return inline
    if marked is not None and (asked == 1 or sum(bool(item) for item in marked.items) > 1):
        return _Raw(_yaml(marked.items), open_end=marked.open_end)
    if names:
        between = comma_names(text, asked)
        if between:
            return _Raw(between, open_end=True)
    plain = plain_items(text, asked, short=names)
    return _Raw(plain, open_end=True) if plain else None


def _inline(text: str, asked: int, marked: MarkedList | None) -> _Raw | None:
    """Marks within one line, where lines alone show (nearly) nothing of the list."""
    if asked == 1 or (marked is not None and len(marked.items) > max(1, asked // 2)):
        return None
    items = inline_items(text)
    if len(items) < 2 or (marked is not None and len(items) < 2 * len(marked.items)):
        return None
    return _Raw(items, open_end=True)


def _yaml(items: Sequence[str]) -> Sequence[str]:
    """The first field's value, where every item is written as fields ("instruction: ..." and more)."""
    fields = [_YAML_FIELD.fullmatch(item) for item in items]
    names = {match[1].lower() for match in fields if match}
    if len(fields) < 2 or not all(fields) or len(names) != 1:
        return items
    if not names & {
        "instruction",
        "task",
        "question",
        "prompt",
        "topic",
        "name",
        "title",
        "text",
        "subtopic",
    }:
        return items
    return [re.split(r"\s(?=[a-z_]{2,20}: )", match[2])[0] for match in fields if match]


def _cleaned(item: str, names: bool) -> str:
    """An item without what surrounds it: white space, emphasis, quotes, a label; "" if nothing is left."""
    text = item.strip() if "```" in item or "~~~" in item else " ".join(item.split())
    for _ in range(3):
        text = _unquoted(_unemphasised(text.strip()))
        bare = _LABEL.sub("", text, count=1) if _LABEL.match(text) else text
        if bare == text:
            break
        text = bare
    if names:
        text = _DESCRIPTION.split(text, maxsplit=1)[0].strip(" *_")
        text = _unquoted(text).rstrip(".,;:。，；：").strip()
        if len(text.split()) > _NAME_WORDS:
            return ""
    return "" if _NOTHING.fullmatch(text) else text


def _unemphasised(text: str) -> str:
    match = _BOLD.fullmatch(text)
    if match and match[1] not in match[2]:
        return match[2]
    return text


def _unquoted(text: str) -> str:
    """Without a pair of quotes that encloses the whole, and the comma that an array's line has after it."""
    bare = text.rstrip(", ")
    if _ESCAPED.fullmatch(bare):
        return unescaped(bare[1:-1]).strip()
    close = _QUOTES.get(bare[:1])
    if close is None or len(bare) < 2 or bare[-1] != close:
        return text
    inner = bare[1:-1]
    within = _APOSTROPHE.sub("", inner)
    return inner.strip() if close not in within and bare[0] not in within else text
