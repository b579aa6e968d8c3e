"""SHA-256 of model files, computed once for each version of a file."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

_known: dict[tuple[str, int, int], str] = {}
_lock = threading.Lock()


def sha256_of(path: Path) -> str:
    """Hexadecimal digest of a file's bytes; "" where it cannot be read. Remembered by path, size and time."""
    try:
        stat = path.stat()
        key = (str(path), stat.st_size, stat.st_mtime_ns)
        found = _known.get(key)
        if found is not None:
            return found
        with _lock:
            if key not in _known:
                with path.open("rb") as file:
                    _known[key] = hashlib.file_digest(file, "sha256").hexdigest()
            return _known[key]
    except OSError:
        return ""
