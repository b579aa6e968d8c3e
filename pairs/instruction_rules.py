"""What an instruction must be like, rule by rule: the filters of Self-Instruct, each with its name in the ledger.

Every rule is a field of the recipe's [rules], off where it is empty. They are looked at in the order of `broken_rule`;
the first one that is broken names the loss.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from .recipe_tables import Rules
from .tokens import has_unspaced, word_tokens

TOO_LONG = "too long"
TOO_SHORT = "too short"
KEYWORD = "keyword"
BANNED_START = "banned start"
PUNCTUATION = "starts with punctuation"
NOT_ENGLISH = "starts with a non-English character"
LANGUAGE = "wrong language"
MISSING_INPUT = "missing input"

MENDABLE = frozenset({TOO_LONG, BANNED_START, PUNCTUATION, NOT_ENGLISH, LANGUAGE, MISSING_INPUT})
"""Rules whose breach a rewriting can mend (`--refine`)."""
FILTERED = "filtered: "
"""What the ledger puts before a rule's name."""

SCRIPTS = {
    "latin": ("LATIN",),
    "han": ("CJK",),
    "cyrillic": ("CYRILLIC",),
    "greek": ("GREEK",),
    "arabic": ("ARABIC",),
    "hebrew": ("HEBREW",),
    "devanagari": ("DEVANAGARI",),
    "thai": ("THAI",),
    "hangul": ("HANGUL",),
    "kana": ("HIRAGANA", "KATAKANA", "CJK"),
}
"""Script -> how the Unicode names of its letters begin."""
_LEAST_OF_SCRIPT = 0.1
"""Share of the letters: a sentence about code or about a foreign word still is in its own language."""

_THING = (
    r"(?:texts?|sentences?|paragraphs?|passages?|articles?|essays?|poems?|stor(?:y|ies)|reviews?|emails?|e-mails?|"
    r"letters?|messages?|tweets?|posts?|documents?|dialogues?|conversations?|lists?|tables?|words?|phrases?|numbers?|"
    r"data|dataset|code|snippets?|functions?|scripts?|equations?|problems?|questions?|recipes?|headlines?|inputs?|"
    r"contents?|excerpts?|quotes?|statements?|lyrics|logs?|outputs?|commands?|queries|query)"
)
_ENGLISH_INPUT = re.compile(
    rf"\b(?:the following|the given|given (?:an? |the )?|the provided|provided|the attached|"
    rf"the above|the below)\s*(?:[\w'-]+\s+){{0,3}}?{_THING}\b(?!\s+(?:type|structure|format)\b)"
    rf"|\b{_THING}\s+(?:given\s+|provided\s+)?(?:below|above)\b"
    rf"|^\W*(?:[\w'-]+\s+){{0,5}}?(?:this|these)\s+(?:[\w'-]+\s+){{0,2}}?{_THING}\b"
    rf"|\b(?:the following|as follows)\s*[.:]?\s*$",
    re.IGNORECASE,
)
_CHINESE_INPUT = re.compile(
    r"(?:以下|下面|下列|如下|上述|上面|所给|给定|給定|这段|這段|这篇|這篇|这句|這句)[^,。，：:;；]{0,8}?"
    r"(?:文字|文本|句子|段落|文章|短文|内容|內容|代码|代碼|列表|数据|數據|对话|對話|词|詞|评论|評論|邮件|郵件|问题|問題|话|話)"
)
_CARRIES = re.compile(r"[:：]\s*\S|[\"“”‘「『`]|\n\s*\S|```|<[^>]+>|\[[^\]]+\]")
"""Signs that what is spoken of follows in the instruction itself."""


def broken_rule(instruction: str, rules: Rules, *, inputs: bool = False) -> tuple[str, str] | None:
    """Name and detail of the first rule that an instruction breaks; None where it keeps all.

    `inputs`: an input is still to be written, so that a missing one is no breach yet.
    """
    text = instruction.strip()
    if rules.max_characters and len(text) > rules.max_characters:
        return TOO_LONG, f"{len(text)} characters"
    words = count_words(text)
    if words < rules.min_words:
        return TOO_SHORT, _words(words)
    if rules.max_words and words > rules.max_words:
        return TOO_LONG, _words(words)
    if (word := find_keyword(text, rules.keywords)) is not None:
        return KEYWORD, word
    if (start := find_start(text, rules.banned_starts)) is not None:
        return BANNED_START, start
    if rules.punctuation_start and starts_with_punctuation(text):
        return PUNCTUATION, text[0]
    if rules.non_english_start and not text[:1].isascii():
        return NOT_ENGLISH, text[0]
    if rules.script and not written_in(text, rules.script):
        return LANGUAGE, f"hardly any {rules.script} letters"
    if rules.missing_input and not inputs and speaks_of_input(text):
        return MISSING_INPUT, "speaks of a text that is not there"
    return None


def count_words(text: str) -> int:
    """Words between spaces, as the paper counts them; within scripts without spaces, each character."""
    return sum(len(word_tokens(word)) if has_unspaced(word) else 1 for word in text.split())


def find_keyword(text: str, keywords: Sequence[str]) -> str | None:
    """The first of the keywords that a text has as a whole word, in any case; None where it has none."""
    match = _keyword_pattern(tuple(keywords)).search(text) if keywords else None
    return match[0].lower() if match else None


@lru_cache(maxsize=16)
def _keyword_pattern(keywords: tuple[str, ...]) -> re.Pattern[str]:
    # A script without spaces knows no word boundaries.
    spaced = (r"\s+".join(map(re.escape, word.split())) for word in keywords if not has_unspaced(word))
    parts = [rf"(?<!\w){word}(?!\w)" for word in spaced]
    parts += [re.escape(word) for word in keywords if has_unspaced(word)]
    return re.compile("|".join(parts), re.IGNORECASE)


def find_start(text: str, starts: Sequence[str]) -> str | None:
    """The first of these beginnings that a text has, in any case; None where it has none."""
    folded = " ".join(text.casefold().split())
    return next((start for start in starts if folded.startswith(" ".join(start.casefold().split()))), None)


def starts_with_punctuation(text: str) -> bool:
    """Whether the first character is an ASCII sign or other punctuation; opening quotes of other scripts begin titles
    and names."""
    first = text[:1]
    return bool(first) and (
        first in string.punctuation
        or (not first.isascii() and unicodedata.category(first) in ("Pc", "Pd", "Pe", "Pf", "Po"))
    )


def written_in(text: str, script: str) -> bool:
    """Whether at least a tenth of a text's letters are of this script; true where it has no letters."""
    letters = [char for char in text[:2000] if char.isalpha()]
    own = sum(_script_name(char).startswith(SCRIPTS[script]) for char in letters)
    return not letters or own >= _LEAST_OF_SCRIPT * len(letters)


@lru_cache(maxsize=4096)
def _script_name(char: str) -> str:
    return unicodedata.name(char, "")


def speaks_of_input(text: str) -> bool:
    """Whether an instruction speaks of a text, list or the like that it does not hold. English and Chinese; it rather
    lets one pass than refuses a good one."""
    match = _ENGLISH_INPUT.search(text) or _CHINESE_INPUT.search(text)
    return match is not None and not _CARRIES.search(text)


def _words(count: int) -> str:
    return f"{count} word" if count == 1 else f"{count} words"
