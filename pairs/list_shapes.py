"""Lists without marks at the start of lines: tables, all on one line, names between commas, plain lines."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .list_lines import LABELS, OUTRO

MOST_WORDS = 6
"""A name between commas has at most so many words."""

_SEPARATOR = re.compile(r"\|?\s*:?-{2,}:?\s*(?:\|\s*:?-{2,}:?\s*)*\|?")
_CELL = re.compile(r"(?<!\\)\|")
_WANTED = re.compile(rf"\W*(?:{LABELS}|name|title|text|description)s?\W*", re.IGNORECASE)
_INLINE = (
    re.compile(r"(?:^|(?<=[\s.:：;,，；。?!]))[(\[]?(?P<n>\d{1,3})(?:[.)\]．）](?![\d.])|[、:](?!\d))\s*"),
    re.compile(r"(?:^|(?<=\s))\(?(?P<c>[A-Za-z])[.)]\s+"),
)
_CIRCLED = re.compile("[①-⑳]")
_DOTS = re.compile(r"\s+[•·●▪‣]\s+|^[•·●▪‣]\s*")
_INTRO = re.compile(
    r"\W*(?:sure|certainly|of course|absolutely|okay|ok|great|yes|here (?:are|is)|here's|"
    r"below (?:are|is)|the following|these are|i (?:have|will|can)|following are|当然|好的|以下|下面)\b",
    re.IGNORECASE,
)
_AND = re.compile(r"\s+(?:and|&|und|et|y|e|и)\s+|\s*(?:和|以及|及)\s*", re.IGNORECASE)
_LEADING_AND = re.compile(r"^(?:and|&|und|et)\s+|^(?:和|以及|及)\s*", re.IGNORECASE)


def table_items(text: str) -> list[str]:
    """The column of a Markdown table that holds the items: by its heading, else the one with the longest texts."""
    rows: list[list[str]] = []
    header: list[str] | None = None
    for line in text.split("\n"):
        bare = line.strip()
        if "|" not in bare:
            if rows:
                break
            header = None
        elif _SEPARATOR.fullmatch(bare):
            header = header or (rows.pop() if len(rows) == 1 else None)
        elif bare.startswith("|") or header or _CELL.search(bare):
            rows.append(
                [
                    cell.replace("\\|", "|").strip()
                    for cell in _CELL.split(bare.removeprefix("|").removesuffix("|"))
                ]
            )
    if not rows or (header is None and not all(len(row) == len(rows[0]) > 0 for row in rows)):
        return []
    if header is None and not all(line.strip().startswith("|") for line in text.split("\n") if "|" in line):
        return []
    column = _column(header, rows)
    return [row[column] for row in rows if len(row) > column]


def _column(header: list[str] | None, rows: Sequence[list[str]]) -> int:
    for column, name in enumerate(header or ()):
        if _WANTED.fullmatch(name):
            return column
    width = max(map(len, rows))
    lengths = [sum(len(row[column]) for row in rows if len(row) > column) for column in range(width)]
    return lengths.index(max(lengths))


def inline_items(text: str) -> list[str]:
    """`1. a 2. b 3. c`, `a) x b) y`, or `• a • b` in running text: marks that count up from the first."""
    line = " ".join(text.split())
    for pattern in _INLINE:
        places: list[tuple[int, int]] = []
        for match in pattern.finditer(line):
            groups = match.groupdict()
            number = int(groups["n"]) if "n" in groups else ord(groups["c"].lower()) - 96
            if number == len(places) + 1:
                places.append((match.start(), match.end()))
        if len(places) > 1:
            ends = [start for start, _ in places[1:]] + [len(line)]
            return [line[begin:end].strip(" ,;，；") for (_, begin), end in zip(places, ends, strict=True)]
    for dots in (_CIRCLED, _DOTS):
        if len(dots.findall(line)) > 1:
            return [
                part.strip(" ,;，；")
                for part in dots.split(line)[1 if dots.match(line) else 0 :]
                if part.strip()
            ]
    return []


def comma_names(text: str, asked: int) -> list[str]:
    """Short names between commas, semicolons, or their full-width forms, an "and" before the last; else nothing."""
    line = " ".join(" ".join(part for part in text.split("\n") if not OUTRO.match(part.strip())).split())
    for intro in (":", "："):
        before, colon, after = line.partition(intro)
        if colon and after.strip() and not re.search("[,;，；、\n]", before):
            line = after.strip()
    line = line.strip("[](){}").rstrip(".。")
    pattern = "[;；]" if re.search("[;；]", line) else "[,，、]"
    parts = [_LEADING_AND.sub("", part.strip()) for part in re.split(pattern, line) if part.strip()]
    if len(parts) < asked and parts and len(tail := _AND.split(parts[-1])) == 2 and all(tail):
        parts[-1:] = tail
    fine = all(len(part.split()) <= MOST_WORDS and part[-1:] not in ".?!。" for part in parts)
    return [part.strip() for part in parts] if len(parts) > 1 and fine else []


_FEWEST_SENTENCES = 5
_LONGEST_SENTENCE = 400
_INNER_STOP = re.compile(r"[.!?]\s+[A-Z]|[。！？].")


def plain_items(text: str, asked: int, *, short: bool) -> list[str]:
    """Lines, or paragraphs, without any mark: taken for the items only if there are about as many as were asked for,
    or if they read like instructions."""
    lines = _without_talk([line.strip() for line in text.split("\n") if line.strip()])
    paragraphs = _without_talk(
        [" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if part.strip()]
    )
    allowed = max(1.0, 0.2 * asked)
    for items in (lines, paragraphs):
        if items and abs(len(items) - asked) <= allowed and not (short and _too_long_for_names(items)):
            return items
    return lines if not short and _single_sentences(lines, asked) else []


def _single_sentences(lines: Sequence[str], asked: int) -> bool:
    """Whether lines are instructions although their number is not the one asked for: enough of them, and nearly each
    a sentence of its own. Prose has several sentences in a line. (Asked for 100, models stop at 60 or go on to 130.)"""
    if not _FEWEST_SENTENCES <= len(lines) <= 4 * asked:
        return False
    odd = sum(1 for line in lines if _INNER_STOP.search(line) or not 2 <= len(line) <= _LONGEST_SENTENCE)
    return odd <= 0.2 * len(lines)


def _too_long_for_names(items: Sequence[str]) -> bool:
    return any(
        len(item.split()) > 2 * MOST_WORDS or (item[-1:] in ".?!" and len(item.split()) > 3) for item in items
    )


def _without_talk(lines: list[str]) -> list[str]:
    """Without the line that announces the list and the one that takes leave."""
    lines = [line for line in lines if not line.startswith("#")]
    while lines and (lines[0].endswith((":", "：")) or (_INTRO.match(lines[0]) and len(lines) > 1)):
        lines = lines[1:]
    while len(lines) > 1 and OUTRO.match(lines[-1]):
        lines = lines[:-1]
    return lines
