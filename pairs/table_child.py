"""A child process that reads Parquet and Arrow files, because a small one can unpack to more memory than there is.

`python -m pairsmith.pairs.table_child parquet|arrow FILE...` writes one JSON object for each row to standard output.
A line that begins with # is about the reading itself: `#rows N` first; `#end`, or `#error WHY`, last.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

MEMORY = 1 << 30
"""Bytes that reading may take beyond what the process has when it begins."""
MOST_ROWS = 10_000_000
MOST_BYTES = 8 << 30
"""Of JSON in all; and a file may become this many times larger, or this large, whichever is more:"""
MOST_TIMES = 500
SMALL = 256 << 20
_AT_ONCE = 64


class _TooMuch(Exception):
    pass


def main(arguments: Sequence[str]) -> int:
    """Read the files; 1 where they could not be read to the end."""
    out = sys.stdout.buffer
    try:
        import pyarrow as pa

        pa.set_cpu_count(1)
        pa.set_memory_pool(pa.system_memory_pool())
        _limit_memory()
        _write(arguments[0], arguments[1:], out.write)
        out.write(b"#end\n")
    except BrokenPipeError:
        return 1
    except MemoryError:
        out.write(b"#error it needs more than 1 GB of memory to unpack\n")
    except Exception as error:
        memory = "ArrowMemoryError" in [kind.__name__ for kind in type(error).__mro__]
        why = "it needs more than 1 GB of memory to unpack" if memory else " ".join(str(error).split())[:300]
        out.write(b"#error " + why.encode("utf-8", "replace") + b"\n")
    out.flush()
    return 0


def _write(kind: str, paths: Sequence[str], write: Callable[[bytes], Any]) -> None:
    total, batches = (_parquet if kind == "parquet" else _arrow)(paths)
    write(b"#rows %d\n" % total)
    if total > MOST_ROWS:
        raise _TooMuch(f"it holds more than {MOST_ROWS:,} rows")
    most = min(MOST_BYTES, max(SMALL, MOST_TIMES * sum(os.path.getsize(path) for path in paths)))
    rows = size = 0
    for batch in batches:
        for start in range(0, batch.num_rows, _AT_ONCE):
            piece = batch.slice(start, _AT_ONCE)
            piece.validate(full=True)
            for row in piece.to_pylist():
                line = (
                    json.dumps(_plain(row), ensure_ascii=False, default=str).encode("utf-8", "surrogatepass")
                    + b"\n"
                )
                rows, size = rows + 1, size + len(line)
                if rows > MOST_ROWS or size > most:
                    raise _TooMuch(f"it unpacks to more than {most >> 20:,} MB, far more than its own size")
                write(line)


def _parquet(paths: Sequence[str]) -> tuple[int, Iterator[Any]]:
    import pyarrow.parquet as parquet

    # Opened here: pyarrow takes no name that is not UTF-8.
    files = [parquet.ParquetFile(open(path, "rb"), pre_buffer=False) for path in paths]  # noqa: SIM115

    def batches() -> Iterator[Any]:
        for file in files:
            yield from file.iter_batches(batch_size=_AT_ONCE, use_threads=False)

    return sum(file.metadata.num_rows for file in files), batches()


def _arrow(paths: Sequence[str]) -> tuple[int, Iterator[Any]]:
    import pyarrow as pa

    def batches() -> Iterator[Any]:
        for path in paths:
            with open(path, "rb") as file, pa.ipc.open_stream(file) as reader:
                yield from reader

    return 0, batches()


def _plain(value: Any) -> Any:
    """What JSON has no word for becomes null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, bytes) or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        with open("/proc/self/statm") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, hard))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
