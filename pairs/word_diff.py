"""What changed between two texts, word by word."""

from __future__ import annotations

import difflib
import re
from typing import Literal, NamedTuple

_WORD = re.compile(r"[^\W_]+|\s+|.", re.DOTALL)
_CHARACTER_SCRIPTS = re.compile(
    "[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]"
)
MOST_WORDS = 6_000
"""Beyond this the comparison is by line: difflib takes time that grows with the product of both lengths."""


class Change(NamedTuple):
    """A stretch of text that both have, or only the newer, or only the older one."""

    kind: Literal["same", "added", "removed"]
    text: str


def word_diff(before: str, after: str) -> list[Change]:
    """Stretches whose "same" and "removed" make up `before`, and "same" and "added" `after`."""
    if before == after:
        return [Change("same", before)] if before else []
    old, new = _words(before), _words(after)
    if len(old) + len(new) > MOST_WORDS:
        old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    found: list[Change] = []
    for tag, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            found.append(Change("same", "".join(old[a:b])))
            continue
        if b > a:
            found.append(Change("removed", "".join(old[a:b])))
        if d > c:
            found.append(Change("added", "".join(new[c:d])))
    return found


def _words(text: str) -> list[str]:
    words: list[str] = []
    for word in _WORD.findall(text):
        # Scripts without spaces: a whole sentence is no word.
        words += list(word) if _CHARACTER_SCRIPTS.search(word) else [word]
    return words
