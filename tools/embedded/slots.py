"""The slots of the grammar: names, numbers, paths and texts drawn from open sets, some of them held out of training.

A value is put together from syllables, words and numbers, so that a learner must copy it and cannot remember it.
Whether a value is held out depends on nothing but the value (`is_held_out`): no kind of slot brings it into training.
"""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from . import words

SLOT = re.compile(r"(?<![@^])\{([a-z]+)(?::([a-z0-9-]+))?\}")
"""A slot. Braces behind @ and ^ are Git's own: HEAD@{1}, v1.0^{commit}."""
HELD_OUT_SHARE = 0.1
_TRIES = 50_000
_CONSONANTS = words.of("b c d f g h j k l m n p r s t v w x z br ch cl dr fl gr pl sh st tr")
_VOWELS = ("a", "e", "i", "o", "u", "ai", "ea", "io", "oo", "ou")
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_ORDINARY = frozenset(
    word.lower()
    for texts in (getattr(words, name) for name in dir(words) if name.isupper())
    for text in texts
    for word in _WORDS.findall(text)
) | {"https", "ssh", "git", "v", "rc", "beta", "alpha", "build", "stable", "sprint", "the", "for", "in"}
_MOST_PLAIN = 4
_ENDS = ("", "", "", "n", "r", "l", "s", "t", "m", "k", "x", "nd", "st")


@dataclass(frozen=True, slots=True)
class Slot:
    """A kind of value and, where one intent needs two of a kind, which of them."""

    kind: str
    label: str = ""

    def __str__(self) -> str:
        return "{" + self.kind + (f":{self.label}" if self.label else "") + "}"

    @property
    def is_new(self) -> bool:
        """Whether the thing must not exist beforehand."""
        return self.label == "new"


def slots_of(*texts: str) -> tuple[Slot, ...]:
    """The slots in some texts, in order, each once."""
    found = (Slot(match[1], match[2] or "") for text in texts for match in SLOT.finditer(text))
    return tuple(dict.fromkeys(found))


def fill(text: str, values: Mapping[Slot, str]) -> str:
    """`text` with its slots replaced; slots without a value stay."""
    return SLOT.sub(lambda match: values.get(Slot(match[1], match[2] or ""), match[0]), text)


def is_held_out(value: str) -> bool:
    """Whether a value is kept for evaluation. Case does not matter."""
    return zlib.crc32(b"held out:" + value.lower().encode()) % 1000 < HELD_OUT_SHARE * 1000


def is_plain(value: str) -> bool:
    """Whether a value has no words but ordinary ones, and not many of them."""
    found = _WORDS.findall(value)
    return len(found) <= _MOST_PLAIN and all(word.lower() in _ORDINARY for word in found)


def draw(
    kind: str,
    rng: random.Random,
    *,
    held_out: bool = False,
    plain: bool = False,
    not_among: Iterable[str] = (),
) -> str:
    """A value of a kind, from the held-out values or from the others. Numbers have no held-out ones. `plain`: as
    people name things, without made-up words."""
    taken = set(not_among)
    make = _PLAIN.get(kind, KINDS[kind]) if plain else KINDS[kind]
    for _ in range(_TRIES):
        value = make(rng)
        if plain and kind not in _PLAIN and not is_plain(value):
            continue
        if value not in taken and (kind in CLOSED or is_held_out(value) == held_out):
            return value
    raise ValueError(f"no more values for {{{kind}}}")


def bind(
    slots: Iterable[Slot], rng: random.Random, *, held_out: bool = False, plain: bool = False
) -> dict[Slot, str]:
    """A value for each slot, different ones within a kind; lines and dates rise in the order of their slots."""
    values: dict[Slot, str] = {}
    for slot in slots:
        values[slot] = draw(slot.kind, rng, held_out=held_out, plain=plain, not_among=values.values())
    for kind in ("line", "date"):
        mine = [slot for slot in values if slot.kind == kind]
        if len(mine) > 1:
            rising = sorted((values[slot] for slot in mine), key=lambda text: (len(text), text))
            values.update(zip(mine, rising, strict=True))
    people = [slot for slot in values if slot.kind == "person"]
    for slot in [slot for slot in values if slot.kind == "email"]:
        owner = next((person for person in people if person.label == slot.label), None)
        if owner is not None:
            values[slot] = _address_of(values[owner], rng, held_out)
    return values


def _address_of(person: str, rng: random.Random, held_out: bool) -> str:
    first, _, last = person.lower().partition(" ")
    for _ in range(_TRIES):
        local = rng.choice((first, f"{first}.{last}", f"{first[0]}{last}", f"{first}{rng.randint(2, 999)}"))
        value = f"{local}@{_host(rng)}"
        if is_held_out(value) == held_out:
            return value
    raise ValueError(f"no address for {person}")


def syllables(rng: random.Random) -> str:
    """A made-up word of one or two syllables that can be spoken."""
    count = rng.choices((1, 2), (2, 3))[0]
    made = "".join(rng.choice(_CONSONANTS) + rng.choice(_VOWELS) for _ in range(count)) + rng.choice(_ENDS)
    return made if len(made) > 2 else made + rng.choice("bdgkmnprt")


def term(rng: random.Random) -> str:
    """A word as it stands in names: two of three real, the others made up."""
    return rng.choice(words.TERMS) if rng.random() < 0.67 else syllables(rng)


def _branch(rng: random.Random) -> str:
    name = rng.choice((_joined, _joined, _joined, _numbered, term))(rng)
    style = rng.random()
    if style < 0.4:
        return f"{rng.choice(words.BRANCH_PREFIXES)}/{name}"
    if style < 0.48:
        return f"{rng.choice(words.TICKETS)}-{rng.randint(1, 9999)}"
    if style < 0.52:
        return f"release/{rng.randint(0, 12)}.{rng.randint(0, 30)}"
    return name


def _joined(rng: random.Random) -> str:
    mark = rng.choice("---_")
    return mark.join(term(rng) for _ in range(rng.choice((2, 2, 2, 3))))


def _numbered(rng: random.Random) -> str:
    return f"{term(rng)}-{rng.randint(1, 999)}"


def _tag(rng: random.Random) -> str:
    version = ".".join(
        str(rng.randint(0, top)) for top in rng.choice(((9, 20), (9, 20, 30), (30, 40, 99), (12, 12)))
    )
    style = rng.random()
    if style < 0.5:
        return f"v{version}"
    if style < 0.62:
        return version
    if style < 0.72:
        return f"v{version}-{rng.choice(('rc', 'beta', 'alpha'))}{rng.randint(1, 9)}"
    if style < 0.86:
        return f"{rng.choice(('release', 'build', 'stable', 'sprint', term(rng)))}-{rng.randint(1, 999)}"
    return f"{term(rng)}-{version}"


def _remote(rng: random.Random) -> str:
    style = rng.random()
    if style < 0.3:
        return rng.choice(words.REMOTES)
    if style < 0.6:
        return term(rng)
    return f"{rng.choice((*words.REMOTES, term(rng)))}-{term(rng)}"


def _host(rng: random.Random) -> str:
    return rng.choice(words.HOSTS) if rng.random() < 0.5 else f"{syllables(rng)}.{rng.choice(words.DOMAINS)}"


def _url(rng: random.Random) -> str:
    host = f"git.{_host(rng)}" if rng.random() < 0.6 else _host(rng)
    path = f"{term(rng)}/{rng.choice((term, _joined))(rng)}.git"
    return rng.choice(
        (f"https://{host}/{path}", f"https://{host}/{path}", f"git@{host}:{path}", f"ssh://git@{host}/{path}")
    )


def _file(rng: random.Random) -> str:
    style = rng.random()
    if style < 0.12:
        return f"{rng.choice(words.PLAIN_FILES)}{rng.choice(('.md', '.txt', '', ''))}"
    stem = rng.choice((term, term, _joined))(rng)
    name = f"{stem}.{rng.choice(words.EXTENSIONS)}"
    return name if style < 0.55 else f"{_folder(rng)}/{name}"


def _folder(rng: random.Random) -> str:
    first = rng.choice(words.FOLDERS) if rng.random() < 0.6 else term(rng)
    return first if rng.random() < 0.5 else f"{first}/{term(rng)}"


def _commit(rng: random.Random) -> str:
    return f"{rng.getrandbits(28):07x}"


def _message(rng: random.Random) -> str:
    thing = rng.choice(words.THINGS) if rng.random() < 0.6 else f"{syllables(rng)} {rng.choice(words.THINGS)}"
    ending = rng.choice(
        (
            "",
            "",
            "",
            f" for {term(rng)}",
            f" in {term(rng)}",
            f" ({rng.choice(words.TICKETS)}-{rng.randint(1, 999)})",
        )
    )
    return f"{rng.choice(words.MESSAGE_VERBS)} {rng.choice(('', 'the ', 'the '))}{thing}{ending}"


def _person(rng: random.Random) -> str:
    first = rng.choice(words.FIRST_NAMES) if rng.random() < 0.7 else syllables(rng).capitalize()
    last = rng.choice(words.LAST_NAMES) if rng.random() < 0.5 else syllables(rng).capitalize()
    return f"{first} {last}"


def _email(rng: random.Random) -> str:
    local = rng.choice((*words.FIRST_NAMES, syllables(rng), syllables(rng))).lower()
    return f"{local}{rng.choice(('', '', f'.{syllables(rng)}', str(rng.randint(1, 99))))}@{_host(rng)}"


def _date(rng: random.Random) -> str:
    return f"{rng.randint(2014, 2027)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"


def _word(rng: random.Random) -> str:
    style = rng.random()
    if style < 0.4:
        return term(rng)
    if style < 0.7:
        return f"{term(rng)}_{term(rng)}"
    return term(rng) + term(rng).capitalize()


def _name(rng: random.Random) -> str:
    # Git refuses an underscore in the name of an alias.
    return rng.choice((term, _joined, lambda r: f"{term(r)}{r.randint(2, 99)}"))(rng).replace("_", "-")


KINDS: Mapping[str, Callable[[random.Random], str]] = {
    "branch": _branch,
    "tag": _tag,
    "remote": _remote,
    "url": _url,
    "file": _file,
    "folder": _folder,
    "commit": _commit,
    "message": _message,
    "person": _person,
    "email": _email,
    "number": lambda rng: str(rng.randint(2, 9)),
    "date": _date,
    "days": lambda rng: str(rng.randint(2, 60)),
    "word": _word,
    "name": _name,
    "line": lambda rng: str(rng.randint(5, 40)),
}
"""What draws a value, by kind."""
_PLAIN: Mapping[str, Callable[[random.Random], str]] = {
    "commit": _commit,
    "url": lambda rng: f"https://git.example.com/{rng.choice(words.TERMS)}/{rng.choice(words.TERMS)}.git",
}
"""Plain values of the kinds that are plain in a way of their own: nobody chooses a hash, and one host will do."""
CLOSED = frozenset({"number", "days", "line"})
"""Kinds that are small sets of numbers: every value occurs in training."""
