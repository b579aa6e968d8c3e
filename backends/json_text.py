"""Reading JSON that strangers send: whatever the bytes, the answer is a value or `MalformedReply`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from .errors import MalformedReply
from .text import clean, one_line


def parse_json(body: bytes | str) -> Any:
    """The value that a body holds. Bytes that are not UTF-8 become U+FFFD, huge integers infinity; NaN is let
    through as a float (who needs a number asks `number`). Raises `MalformedReply` for what is not JSON."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    text = text.removeprefix("\ufeff")
    try:
        return json.loads(text, strict=False, parse_int=_whole)
    except RecursionError:
        raise MalformedReply("the answer is JSON nested too deeply") from None
    except ValueError:
        what = f"the answer is not JSON: {one_line(text, 120)!r}" if text.strip() else "the answer is empty"
        raise MalformedReply(what) from None


def number(value: object) -> float | None:
    """A finite number, or None: not a bool, not NaN, not a text."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        as_float = float(value)
    except OverflowError:
        return None
    return as_float if math.isfinite(as_float) else None


def count(value: object) -> int | None:
    """A whole number from 0 to 2**53, or None."""
    as_float = number(value)
    return int(as_float) if as_float is not None and 0 <= as_float <= 2**53 else None


def mapping(value: object) -> Mapping[str, Any]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def first(value: object) -> Any:
    """The first element if the value is a list, None of an empty one, else the value itself."""
    if isinstance(value, list):
        return value[0] if value else None
    return value


def text_of(value: object) -> str | None:
    """A cleaned text, or None where the value is none."""
    return clean(value)[0] if isinstance(value, str) else None


def whole_pairs(text: str) -> tuple[str, str]:
    """The text with surrogate pairs made characters, and a first half that waits at its end for the second."""
    half = text[-1:] if text and "\ud800" <= text[-1] <= "\udbff" else ""
    text = text[: len(text) - len(half)]
    if any("\ud800" <= c <= "\udfff" for c in text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text, half


def plain(value: object, depth: int = 4) -> Any:
    """A copy that any JSON writer takes: texts cleaned and cut, numbers finite, at most `depth` deep."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return clean(value)[0][:500]
    if isinstance(value, int | float):
        return value if number(value) is not None else None
    if depth == 0:
        return None
    if isinstance(value, dict):
        return {str(clean(str(k))[0])[:100]: plain(v, depth - 1) for k, v in list(value.items())[:50]}
    if isinstance(value, list):
        return [plain(v, depth - 1) for v in value[:50]]
    return None


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) < 40 else float(digits)
