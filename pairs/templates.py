"""Prompts with names in braces. Only known names are filled in; what is filled in is never read again."""

from __future__ import annotations

import re
from collections.abc import Collection

_NAME = re.compile(r"\{([a-z_]+)\}")


def fill(template: str, **values: str) -> str:
    """`template` with each {name} replaced by its value, in one pass: braces inside values are left alone.

    Line feeds at both ends are dropped, so that TOML's multi-line strings and an empty {input} leave no trace.
    """
    return _NAME.sub(lambda match: values.get(match[1], match[0]), template).strip("\n")


def unknown_names(template: str, known: Collection[str]) -> list[str]:
    """Names in braces that nothing would fill in."""
    return sorted({match[1] for match in _NAME.finditer(template)} - set(known))
