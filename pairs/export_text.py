"""Writing a text format: row after row, each sealed by its own bytes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from .export_formats import ExportPair, TextFormat
from .manifest import Seal, SealedFile


def write_text(path: Path, form: TextFormat, pairs: Iterator[ExportPair], seal: Seal, name: str) -> None:
    """Write a file of a text format and flush it to the disk; `name`: what it will be called. Raises OSError."""
    digest, at = hashlib.sha256(), 0
    with path.open("wb") as file:

        def put(text: str) -> tuple[int, bytes]:
            nonlocal at
            data = text.encode()
            file.write(data)
            digest.update(data)
            at += len(data)
            return at - len(data), data

        put(form.head)
        for number, pair in enumerate(pairs):
            if number:
                put(form.between)
            start, data = put(form.write(pair))
            seal.row(pair, hashlib.sha256(data).hexdigest(), at=start, bytes=len(data))
        put(form.tail)
        file.flush()
        os.fsync(file.fileno())
    seal.file(SealedFile(name, at, digest.hexdigest(), seal.rows))
