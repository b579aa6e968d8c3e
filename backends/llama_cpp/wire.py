"""Frames between the application and its worker: four bytes of length, then JSON."""

from __future__ import annotations

import json
import struct
from typing import Any, BinaryIO

from ..errors import BackendError

_LENGTH = struct.Struct("<I")
LARGEST = 256 << 20
"""Bytes of the largest frame: a bigger one means that the stream is not ours."""


def pack(message: dict[str, Any]) -> bytes:
    """One frame."""
    raw = json.dumps(message, ensure_ascii=True, separators=(",", ":")).encode("ascii")
    return _LENGTH.pack(len(raw)) + raw


def read(stream: BinaryIO) -> dict[str, Any] | None:
    """The next frame; None at the end of the stream or where it is cut or not ours."""
    head = stream.read(4)
    if len(head) < 4:
        return None
    (size,) = _LENGTH.unpack(head)
    if size > LARGEST:
        return None
    raw = stream.read(size)
    if len(raw) < size:
        return None
    message = json.loads(raw)
    return message if isinstance(message, dict) else None


def describe(error: BackendError) -> dict[str, Any]:
    """An error as a frame carries it."""
    return {"type": type(error).__name__, "message": error.message, "advice": error.advice}
