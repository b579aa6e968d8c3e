"""The only door from data to the screen: what a model, a server or a file wrote becomes harmless and bounded here.

Everything that we did not write goes through `content`, `line`, `wrap` or `safe` before a widget sees it. Controls,
escapes, bidi and invisible characters are shown, never obeyed; nothing is read as markup; characters and lines are
capped before anything is laid out, because a megabyte of line feeds would take a minute to draw.
"""

from __future__ import annotations

import re

from rich.cells import cell_len, split_graphemes
from textual.content import Content

from pairsmith.backends.text import visible

MAX_CHARACTERS = 20_000
"""Of one text on a screen; the editor shows all of it."""
MAX_LINES = 1_000
TAB = 4

_TOKEN = re.compile(
    r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]|\s+"
    r"|[^\s\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]+"
)


def safe(text: str, characters: int = MAX_CHARACTERS, lines: int = MAX_LINES) -> str:
    """Text that can do nothing to a terminal, at most so many characters and lines; says what it leaves out."""
    text = visible(text, characters).expandtabs(TAB)
    if text.count("\n") >= lines:
        kept = text.split("\n", lines)
        left = kept.pop().count("\n") + 1
        text = "\n".join([*kept, f"… ({left:,} more lines)"])
    return text


def content(text: str, characters: int = MAX_CHARACTERS, lines: int = MAX_LINES) -> Content:
    """`safe` text for a widget, with no markup in it."""
    return Content(safe(text, characters, lines))


def line(text: str, cells: int) -> str:
    """Text on one line of at most so many cells, cut with an ellipsis; runs of white space become one space."""
    if cells <= 0:
        return ""
    bound = 4 * cells + 200
    return cut(visible(" ".join(text[:bound].split())), cells)


def cut(text: str, cells: int) -> str:
    """The beginning of a safe one-line text that fits into so many cells."""
    if len(text) <= cells and text.isascii():
        return text
    if len(text) <= 2 * cells and cell_len(text) <= cells:
        return text
    if cells <= 0:
        return ""
    return _head(text[: 2 * cells + 40], cells - 1, least=0)[0] + "…"


def fill(text: str, cells: int) -> str:
    """A safe one-line text cut or padded to exactly so many cells."""
    text = cut(text, cells)
    return text + " " * (cells - cell_len(text))


def wrap(text: str, width: int, characters: int = MAX_CHARACTERS, lines: int = MAX_LINES) -> list[str]:
    """Lines of `safe` text that are at most `width` cells wide. Indentation holds; words break only where they must."""
    return wrap_safe(safe(text, characters, lines), width)


def wrap_safe(text: str, width: int) -> list[str]:
    """`wrap` for text that has been through `safe`."""
    width = max(4, width)
    found: list[str] = []
    for part in text.split("\n"):
        if len(part) <= (width if part.isascii() else 2 * width) and cell_len(part) <= width:
            found.append(part)
        else:
            found += _wrapped(part, width)
    return found


def _wrapped(part: str, width: int) -> list[str]:
    stripped = part.lstrip(" ")
    indent = part[: min(len(part) - len(stripped), width // 2)]
    room = width - len(indent)
    found: list[str] = []
    now, used = "", 0
    for token in _TOKEN.findall(stripped):
        size = len(token) if token.isascii() else cell_len(token)
        if used + size <= room:
            now, used = now + token, used + size
            continue
        if token.isspace():
            found.append(indent + now.rstrip())
            now, used = "", 0
            continue
        if now:
            found.append(indent + now.rstrip())
        while size > room:
            head, token = _head(token, room)
            found.append(indent + head)
            size = cell_len(token)
        now, used = token, size
    if now or not found:
        found.append(indent + now)
    return found


def _head(text: str, cells: int, least: int = 1) -> tuple[str, str]:
    """The longest beginning of at most so many cells (but at least so many characters), and the rest."""
    if text.isascii():
        cells = max(least, cells)
        return text[:cells], text[cells:]
    used = 0
    spans, _ = split_graphemes(text)
    for start, end, size in spans:
        if used + size > cells:
            if start == 0 and least:
                start = end
            return text[:start], text[start:]
        used += size
    return text, ""


_MARK_RUN = re.compile("[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20f0\ufe20-\ufe2f]{5,}")
_PRIVATE = (*range(0xE000, 0xF900), *range(0xF0000, 0xF2000))


class Mask:
    """Lets text be edited that must not reach the terminal: each such character becomes one of the private use area
    that does not occur in the texts, and comes back unchanged."""

    def __init__(self, *texts: str) -> None:
        present = set().union(*map(set, texts)) if texts else set()
        self._free = (chr(code) for code in _PRIVATE if chr(code) not in present)
        self._there: dict[str, str] = {}
        self._back: dict[str, str] = {}

    def mask(self, text: str) -> str:
        """Text that can do nothing to a terminal, of the same length."""
        for char in set(text):
            if char not in "\n\t" and char not in self._back and visible(char) != char:
                self._stand_in(char)
        text = text.translate(
            {ord(char): other for char, other in self._there.items() if not _MARK_RUN.match(char * 5)}
        )
        return _MARK_RUN.sub(lambda run: run[0][:4] + "".join(map(self._stand_in, run[0][4:])), text)

    def unmask(self, text: str) -> str:
        """The text as it is stored."""
        return text.translate({ord(other): char for other, char in self._back.items()})

    def _stand_in(self, char: str) -> str:
        if char not in self._there:
            other = next(self._free)
            self._there[char], self._back[other] = other, char
        return self._there[char]
