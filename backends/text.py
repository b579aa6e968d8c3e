"""Two treatments of text that we did not write: `clean` on the way in, `visible` on the way to a terminal.

What the store keeps is byte-exact but for what no UTF-8 file can hold (see `clean`); `visible` is for display
only: screens, logs, error messages. Terminal escapes, bidi controls and invisible characters are shown, not obeyed.
"""

from __future__ import annotations

import re
import unicodedata

_SURROGATE = re.compile("[\ud800-\udfff]")
_HIDDEN = re.compile(
    "[\u0080-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u2800\u3164\ufe00-\ufe0e\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U000e0000-\U000e0fff]"
)
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
_MARKS = re.compile("[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20f0\ufe20-\ufe2f]{5,}")


def clean(text: str) -> tuple[str, bool]:
    """Text fit for the store, and whether anything had to be replaced.

    NUL and lone surrogates become U+FFFD: SQLite's own functions stop at the first, and no file can hold the second.
    """
    cleaned = _SURROGATE.sub("\ufffd", text).replace("\x00", "\ufffd")
    return cleaned, cleaned != text


def visible(text: str, limit: int | None = None) -> str:
    """Text that can do nothing to a terminal: controls as pictures (ESC -> U+241B), hidden characters as <U+XXXX>.

    Line feeds and tabs stay; CR LF becomes LF; a zero-width joiner stays between characters that it joins; more than
    four combining marks in a row are cut to four. `limit` caps the characters, saying how many were left out.
    """
    text = _SURROGATE.sub("\ufffd", text).replace("\r\n", "\n")
    if limit is not None and len(text) > limit:
        text = f"{text[:limit]}… ({len(text) - limit} more characters)"
    if text.isascii() and not _CONTROL.search(text):
        return text
    text = _CONTROL.sub(lambda m: "\u2421" if m[0] == "\x7f" else chr(0x2400 + ord(m[0])), text)
    text = _MARKS.sub(lambda m: m[0][:4], text)
    return _HIDDEN.sub(lambda m: _joiner_or_code(text, m), text)


def one_line(text: str, limit: int = 200) -> str:
    """`visible` text on a single line: runs of white space become one space."""
    return visible(" ".join(text.split()), limit)


def _joiner_or_code(text: str, match: re.Match[str]) -> str:
    char = match[0]
    if char in "\u200c\u200d" and 0 < match.start() < len(text) - 1:
        before, after = text[match.start() - 1], text[match.start() + 1]
        if _joins(before) and _joins(after):
            return char
    return f"<U+{ord(char):04X}>"


def _joins(char: str) -> bool:
    """Whether a joiner beside this character has a meaning: emoji and their selectors, non-Latin letters and marks."""
    if char == "\ufe0f" or ord(char) >= 0x1F000 or 0x2600 <= ord(char) <= 0x27BF:
        return True
    return ord(char) >= 0x0590 and unicodedata.category(char)[0] in "LM"
