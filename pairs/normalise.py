"""The normal form behind "unique": texts that differ only in case, composition or white space are one text.

The store's unique constraints are on the keys made here, so the rule lives in this one place.
"""

from __future__ import annotations

import hashlib
import unicodedata

KEY_BYTES = 16


def normal_form(text: str) -> str:
    """NFC, case-folded, runs of white space as one space, none at the ends. Idempotent.

    Case folding is done on the decomposed form, as Unicode's canonical caseless matching asks (D145):
    folding a composed letter can give a sequence that composes differently.
    """
    if text.isascii():
        return " ".join(text.lower().split())
    folded = unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold())
    return " ".join(unicodedata.normalize("NFC", folded).split())


def pair_key(instruction: str, input: str | None = None) -> bytes:  # noqa: A002 - the field's name
    """16 bytes, equal for pairs whose instruction and input have the same normal forms (none equals "")."""
    return _key("pair", instruction, input or "")


def text_key(instruction: str, input: str | None, output: str) -> bytes:  # noqa: A002 - the field's name
    """16 bytes, equal for pairs whose instruction, input and output have the same normal forms."""
    return _key("text", instruction, input or "", output)


def _key(kind: str, *fields: str) -> bytes:
    # Each field goes in behind its length, so that no two lists of fields are the same bytes.
    digest = hashlib.blake2b(digest_size=KEY_BYTES, person=kind.encode())
    for field in fields:
        data = normal_form(field).encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.digest()
