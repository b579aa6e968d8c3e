"""Identifiers that stay the same when rows are copied into another workspace."""

from __future__ import annotations

import os
import time


def new_uid() -> str:
    """32 hexadecimal digits: a UUID version 7 without hyphens (RFC 9562), so that new ones sort last."""
    value = (time.time_ns() // 1_000_000 & 0xFFFF_FFFF_FFFF) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return f"{value:032x}"
