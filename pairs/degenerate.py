"""Two ways in which a small model fails without saying so: it repeats itself to the end, or it repeats the question.

Conservative: a chorus, a table's rule or a long row of dots is not called degenerate.
"""

from __future__ import annotations

import re
from collections import Counter

from .normalise import normal_form

_TAIL = 4000
_REPEATS = 10
_SPAN = 400
_LINES = 12
_NUMBERING = re.compile(r"^\W*\d{0,4}\W*|\W+$")


def repeats_endlessly(text: str) -> bool:
    """Whether more than half of the text's end (its last 4,000 characters) says one thing at least ten times over.

    Either the same characters again and again up to the last, 400 or more of them, or the same line but for its number.
    """
    tail = text[-_TAIL:].rstrip()
    return _repeated_end(tail) > len(tail) / 2 or _same_lines(tail)


def echoes(response: str, instruction: str) -> bool:
    """Whether a response only repeats the instruction, but for case, white space and punctuation around it."""
    said, asked = (re.sub(r"^[\W_]+|[\W_]+$", "", normal_form(text)) for text in (response, instruction))
    return bool(said) and said == asked


def _repeated_end(tail: str) -> int:
    """Length of the longest end of `tail` that is one unit, with a letter or digit in it, at least ten times."""
    backwards = tail[::-1]
    borders = [0] * (len(backwards) + 1)
    length = 0
    longest = 0
    for i in range(1, len(backwards)):
        while length and backwards[i] != backwards[length]:
            length = borders[length]
        length += backwards[i] == backwards[length]
        borders[i + 1] = length
        period = i + 1 - length
        if i + 1 >= _REPEATS * period and any(map(str.isalnum, backwards[:period])):
            longest = i + 1
    return longest if longest >= _SPAN else 0


def _same_lines(tail: str) -> bool:
    lines = [_NUMBERING.sub("", line) for line in tail.split("\n")[1:]]
    lines = [line for line in lines if line]
    if len(lines) < _LINES:
        return False
    line, count = Counter(lines).most_common(1)[0]
    return count > len(lines) / 2 and len(line) > 3 and count >= _REPEATS
