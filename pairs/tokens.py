"""Three ways to cut a text into tokens for comparing it with others.

`rouge_tokens` is Google's `rouge_score`, exactly. `word_tokens` gives the same for ASCII, and reads every
other script too. `symbol_tokens` also sees what words leave out ("C++" and "C#", "-d" and "-D", "1.5" and
"15"), while punctuation, quotes and Markdown stay invisible, so that a full stop does not make a new
instruction.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

_ROUGE = re.compile("[a-z0-9]+")
_WIDTHS = re.compile("[\uff01-\uffef]+")

# Scripts written without spaces between words: each character is a token.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\u3005-\u3007\u3021-\u3029\u3031-\u3035"
    "\u3038-\u303c\u3041-\u30ff\u3100-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf"
    "\ua9e0-\ua9ff\uaa60-\uaadf\uf900-\ufaff\U0001b000-\U0001b16f\U00020000-\U0003ffff]"
)

_SPACE, _WORD, _SINGLE, _MARK, _EMOJI, _JOINER, _FLAG = range(7)

# A term that means something by its symbols. Every branch begins where no earlier start could, and repeats
# possessively, so that no text can make the search slower than linear.
_TERM = re.compile(
    r"""
      (?<![\d.,])(?:(?<![^\s("'`=])[-\u2212])?[$€£¥]?(?<!\d)\d++(?:[.,:/]\d++)*+%?   # -5  1.5  $20  50%
    | (?<![A-Za-z0-9])[A-Za-z][A-Za-z0-9]{0,39}+(?:(?:\+\+|\#)(?![A-Za-z+#])|\+(?![A-Za-z0-9+#]))  # C++ C#
    | (?<![^\s"'`(])\.[A-Za-z][A-Za-z0-9]{0,39}+                                        # .NET
    | (?<![^\s"'`(\[|])-[A-Za-z0-9]{1,4}+(?![\w-])                                      # -d  -rf
    | (?<=[A-Za-z0-9)])(?:[<>=!]=|&&|\|\||<<|>>|\*\*|[+*^=<>])(?=[A-Za-z0-9(])          # a==b  3+4
    | (?<=\S[ ])(?:[<>=!+\-*/&|^]=|&&|\|\||<<|>>|->|=>|\+\+|--|\*\*|[+*/^%=<>&|~])(?=[ ])    # a == b  3 + 4
    | (?<=\d)-(?=\d) | (?<=\d[ ])-(?=[ ]\d)                                             # 3 - 4
    | [\u00b1\u00d7\u00f7\u2190-\u21ff\u2200-\u22ff\u2a00-\u2aff]                       # mathematical signs
    """,
    re.VERBOSE,
)
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+")


def rouge_tokens(text: str) -> list[str]:
    """The tokens of `rouge_score` without its stemmer: runs of a-z and 0-9 in the lower-cased text."""
    return _ROUGE.findall(text.lower())


def word_tokens(text: str) -> list[str]:
    """Words of any script, case-folded: runs of letters and digits with their combining marks.

    Characters of scripts without spaces (Han, kana, Thai, ...) and emoji are tokens of their own. A text that
    has none of these (only punctuation) gives its visible characters. Equal to `rouge_tokens` for ASCII text.
    """
    if text.isascii():
        return rouge_tokens(text) or list("".join(text.split()))
    text = _folded_widths(text).casefold()
    return _unicode_words(unicodedata.normalize("NFC", text)) or list("".join(text.split()))


def has_unspaced(text: str) -> bool:
    """Whether a text has characters of a script that is written without spaces."""
    return not text.isascii() and _UNSPACED.search(text) is not None


def symbol_tokens(text: str) -> list[str] | None:
    """`word_tokens` with meaningful symbols kept, or None where the text has none (then they would be equal).

    A term with symbols is one token ("c++", "-D", "1.5", "=="). Case is kept only after a single dash.
    """
    if not text.isascii():
        text = _folded_widths(text)
    tokens: list[str] = []
    place = 0
    seen = False
    for match in _TERM.finditer(text):
        term = _term(match[0])
        if term.isalnum():
            continue
        seen = True
        tokens += _words_between(text[place : match.start()])
        tokens.append(term)
        place = match.end()
    return tokens + _words_between(text[place:]) if seen else None


def unseen_swap(a: Sequence[str], b: Sequence[str]) -> bool:
    """Whether the symbol tokens of two texts differ in terms that are the same word without their symbols.

    That is the difference to which word tokens are blind, at any length of text: "C++" here and "C#" there.
    """
    counts_a, counts_b = Counter(a), Counter(b)
    only_a = {_bare(token) for token in counts_a - counts_b}
    return any(_bare(token) in only_a for token in counts_b - counts_a)


def distinct_n(texts: Sequence[str], n: int = 2) -> float:
    """Distinct word n-grams over all word n-grams of the texts (distinct-n, Li et al. 2016)."""
    if n < 1:
        raise ValueError(f"distinct-n needs n of 1 or more, not {n}")
    total = 0
    seen: set[tuple[str, ...]] = set()
    for text in texts:
        tokens = word_tokens(text)
        grams = list(zip(*(tokens[i:] for i in range(n)), strict=False))
        total += len(grams)
        seen.update(grams)
    return len(seen) / total if total else 0.0


def _folded_widths(text: str) -> str:
    """NFC without U+FE0F; full-width and half-width forms become ordinary characters, other forms stay."""
    text = unicodedata.normalize("NFC", text.replace("\ufe0f", ""))
    return _WIDTHS.sub(lambda m: unicodedata.normalize("NFKC", m[0]), text)


def _words_between(text: str) -> list[str]:
    if text.isascii():
        return _ROUGE.findall(text.lower())
    return _unicode_words(unicodedata.normalize("NFC", text.casefold()))


def _term(raw: str) -> str:
    if raw[0] == "-" and raw[1:2].isalpha():
        return raw
    if _THOUSANDS.fullmatch(raw.strip("-$€£¥%")):
        return raw.replace(",", "")
    return raw.casefold()


def _bare(token: str) -> str:
    return "".join(char for char in token.casefold() if char.isalnum())


@lru_cache(maxsize=65536)
def _kind(char: str) -> int:
    category = unicodedata.category(char)
    code = ord(char)
    if char in "\u200c\u200d" or 0xFE00 <= code <= 0xFE0F or 0x1F3FB <= code <= 0x1F3FF:
        return _JOINER
    if category[0] == "M":
        return _MARK
    if category[0] in "LN":
        return _SINGLE if _UNSPACED.match(char) else _WORD
    if 0x1F1E6 <= code <= 0x1F1FF:
        return _FLAG
    if code >= 0x1F000 or (category == "So" and (0x2300 <= code <= 0x23FF or code >= 0x2600)):
        return _EMOJI
    return _SPACE


def _unicode_words(text: str) -> list[str]:
    tokens: list[str] = []
    start = -1
    before = _SPACE
    joined = False
    for i, char in enumerate(text):
        kind = _kind(char)
        if kind in (_MARK, _JOINER):
            joined = char == "\u200d" and before == _EMOJI
            continue
        continues = (
            (kind == _WORD and before == _WORD)
            or (kind == _EMOJI and joined)
            or (kind == _FLAG and before == _FLAG and i - start == 1)
        )
        if not continues:
            if before != _SPACE:
                tokens.append(text[start:i])
            start = i
        before, joined = kind, False
    if before != _SPACE:
        tokens.append(text[start:])
    return tokens
