"""The root verb of an instruction and its direct object, as in Self-Instruct's figure, without a parser.

Instructions are nearly all commands, so that the first verb is the root and the noun phrase behind it the object. That
is a rule of thumb for English: what it does not see (questions, statements, other languages) has no verb.
"""

from __future__ import annotations

import re


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_WORDS = re.compile(r"[A-Za-z][A-Za-z'-]*|[.,;:!?()\"“”]|\S")
_POLITE = _set("please kindly can could would will you i need want to like me now then also just first next")
_LEAD_IN = _set(
    "given in using with for from based if when as imagine suppose assume at on by after before without within"
    " considering according while since of during through"
)
_NO_VERB = _set(
    "what which who whom whose when where why how is are was were am do does did has have had should may might must"
    " the a an this that these those it they we he she there here my your our their his her its i you one two"
    " some any all no not every each and or but so"
)
_DETERMINERS = _set(
    "a an the this that these those my your our their his her its some any all each every no another more several"
    " many few both either one two three four five six seven eight nine ten me us them him it"
)
_BEFORE_NOUN = _DETERMINERS | {"following", "given"}
_END_OF_PHRASE = _set(
    "of about for in on at to from with without by as that which who whose where when why how if whether and or but so"
    " because using into onto between among against during after before over under than then while based given is are"
    " was were be can could should would will has have had do does including such like following below above per via"
    " through within describing explaining containing starting"
)
_ADVERB = re.compile(r"[a-z]{2,}ly$")
_NOT_ADVERBS = _set("apply reply supply multiply comply rely imply simplify fly")


def verb_and_noun(instruction: str) -> tuple[str, str]:
    """(root verb, direct object) in lower case; "" for what is not found."""
    words = _WORDS.findall(instruction[:1000].replace("’", "'").lower())
    place = _root(words)
    if place is None:
        return "", ""
    return words[place], _object(words[place + 1 :])


def _root(words: list[str]) -> int | None:
    place = 0
    while place < len(words):
        word = words[place]
        if word == "i" and not set(words[place + 1 : place + 2]) & {"need", "want", "would"}:
            return _next_sentence(words, place)
        if word in _POLITE or (_ADVERB.match(word) and word not in _NOT_ADVERBS):
            place += 1
        elif word in _LEAD_IN:
            # "Given a list of numbers, find ...": the command comes behind the comma.
            try:
                place = words.index(",", place) + 1
            except ValueError:
                return None
        elif word in _NO_VERB or not word[0].isascii() or not word[0].isalpha():
            return _next_sentence(words, place)
        else:
            return place
    return None


def _next_sentence(words: list[str], place: int) -> int | None:
    """Statements come before the command ("You are given X. Write Y"); a question has none."""
    for index in range(place, len(words) - 1):
        if words[index] == "?":
            return None
        if words[index] in ".!:":
            rest = _root(words[index + 1 :])
            return None if rest is None else index + 1 + rest
    return None


def _object(words: list[str]) -> str:
    """The last word of the noun phrase at the beginning."""
    found = ""
    for word in words:
        if word in _BEFORE_NOUN and not found:
            continue
        if word in _END_OF_PHRASE or not word[0].isalpha() or not word[0].isascii():
            if found or word not in ("to", "with", "on", "for", '"', "“"):
                break
            continue
        found = word
    return found.removesuffix("'s")
