"""Reading JSON files piece by piece: lines of a JSONL file, elements of a JSON array, in bounded memory.

A piece that is well-formed enough to find its end, and still cannot be used (NaN, a repeated key, nesting without
end), is a `BadPiece`; a file whose very shape is broken raises `MalformedFile`. Both name the line.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from pairsmith.backends.text import one_line

from .errors import PairsmithError

MAX_PIECE = 64 * 1024 * 1024
"""Bytes of one line or element; longer ones are refused unread."""
MAX_DEPTH = 100
_CHUNK = 1 << 20
_SPACE = b" \t\r\n"
_STOP = re.compile(rb'["\[\]{},]')
_STRING_REST = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


class MalformedFile(PairsmithError):
    """The file is not what it should be as a whole. `line` says where, `advice` what to do."""

    def __init__(self, message: str, advice: str = "", *, line: int | None = None) -> None:
        super().__init__(message, advice)
        self.line = line


@dataclass(frozen=True, slots=True)
class Piece:
    """A value of the file and where it begins. `element` counts an array's elements from 1; None in JSONL."""

    value: Any
    line: int
    element: int | None
    end: int
    """Bytes of the file up to the end of this piece."""


@dataclass(frozen=True, slots=True)
class BadPiece:
    """A piece that cannot be used, and why. `syntax`: it is not even JSON."""

    reason: str
    line: int
    element: int | None
    end: int
    syntax: bool = False


class _Unusable(ValueError):
    """JSON, but not what can be stored."""


class _NotJson(ValueError):
    """No JSON at all; `line` counts from the beginning of the text, 1 for the first."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.line = line


def read_value(data: bytes) -> Any:
    """One JSON text. Raises ValueError with a reason that can be shown."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _Unusable(f"not UTF-8 at byte {error.start + 1} of it") from None
    try:
        return json.loads(
            text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_integer
        )
    except RecursionError:
        raise _Unusable(f"nested deeper than {MAX_DEPTH} levels") from None
    except json.JSONDecodeError as error:
        raise _NotJson(f"not JSON: {error.msg}, column {error.colno}", error.lineno) from None


def read_lines(path: Path) -> Iterator[Piece | BadPiece]:
    """The values of a JSONL file, one on each line; empty lines are passed over. Raises OSError."""
    with path.open("rb") as file:
        start = _skip_mark(file)
        number = 0
        while line := file.readline(MAX_PIECE + 1):
            number += 1
            too_long = len(line) > MAX_PIECE
            start += len(line)
            while too_long and not line.endswith(b"\n") and (line := file.readline(_CHUNK)):
                start += len(line)
            if too_long:
                yield BadPiece(f"longer than {MAX_PIECE >> 20} MB", number, None, start)
            elif stripped := line.strip(_SPACE):
                yield _piece(stripped, number, None, start)


def read_array(path: Path) -> Iterator[Piece | BadPiece]:
    """The elements of a JSON array, in constant memory. Raises OSError, MalformedFile."""
    with path.open("rb") as file:
        _skip_mark(file)
        yield from _Array(file, one_line(path.name)).elements()


def first_byte(path: Path) -> bytes:
    """The first byte that is not white space; empty where there is none. Raises OSError, MalformedFile (UTF-16)."""
    with path.open("rb") as file:
        head = file.read(4)
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise MalformedFile(f"{one_line(path.name)} is UTF-16 text", "Save it as UTF-8", line=1)
        file.seek(0)
        _skip_mark(file)
        while chunk := file.read(_CHUNK):
            if stripped := chunk.lstrip(_SPACE):
                return stripped[:1]
    return b""


class _Array:
    """The scanner of one array. The buffer holds the present element and what was read beyond it."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self._name = file, name
        self._buffer = bytearray()
        self._at = 0
        self._line = 1
        self._passed = file.tell()

    def elements(self) -> Iterator[Piece | BadPiece]:
        self._expect_open()
        element = 0
        while True:
            byte = self._next_byte()
            if byte == b"]" and element == 0:
                self._take(1)
                break
            if byte in (b",", b"]", b""):
                self._broken("a value is missing" if byte else "the file ends inside the array")
            element += 1
            line = self._line
            raw, size = self._element()
            if raw is None:
                yield BadPiece(
                    f"longer than {MAX_PIECE >> 20} MB ({size} bytes)", line, element, self._passed
                )
            else:
                yield _piece(raw.strip(_SPACE), line, element, self._passed)
            closing = self._take(1)
            if closing == b"]":
                break
        if self._next_byte():
            self._broken("there is more after the end of the array")

    def _expect_open(self) -> None:
        if self._next_byte() != b"[":
            self._broken("this is no JSON array")
        self._take(1)

    def _next_byte(self) -> bytes:
        """The next byte that is not white space, not taken yet; empty at the end."""
        while True:
            end = self._at
            while end < len(self._buffer) and self._buffer[end] in _SPACE:
                end += 1
            self._take(end - self._at)
            if self._at < len(self._buffer):
                return bytes(self._buffer[self._at : self._at + 1])
            if not self._more():
                return b""

    def _element(self) -> tuple[bytes | None, int]:
        """Take the bytes up to the comma or bracket that ends the element (None where they are too many)."""
        depth, scan, size, kept = 0, self._at, 0, True
        while True:
            match = _STOP.search(self._buffer, scan)
            if match is None:
                scan = len(self._buffer)
            else:
                byte, scan = match[0], match.end()
                if byte == b'"':
                    rest = _STRING_REST.match(self._buffer, scan)
                    if rest is not None:
                        scan = rest.end()
                        continue
                    scan = match.start()
                elif byte in b"[{":
                    depth += 1
                    continue
                elif depth and byte in b"]}":
                    depth -= 1
                    continue
                elif depth:
                    continue
                elif byte == b"}":
                    self._broken("a brace closes what was never opened")
                else:
                    raw = self._take(match.start() - self._at)
                    return (raw if kept else None), size + len(raw)
            if scan - self._at > MAX_PIECE:
                # Go on to its end without keeping it.
                size += len(self._take(scan - self._at))
                kept = False
            if len(self._buffer) - self._at > 2 * MAX_PIECE:
                self._broken(f"a text is longer than {MAX_PIECE >> 20} MB")
            before = scan - self._at
            if not self._more():
                self._cut_off()
            scan = self._at + before

    def _cut_off(self) -> NoReturn:
        """The file ended within an element: say where it stopped being JSON."""
        try:
            read_value(bytes(self._buffer[self._at :]))
        except _NotJson as error:
            self._line += error.line - 1
            self._broken(str(error))
        except _Unusable as error:
            self._broken(str(error))
        self._broken("the file ends inside the array")

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[self._at : self._at + count])
        self._line += taken.count(b"\n")
        self._at += count
        self._passed += count
        return taken

    def _more(self) -> bool:
        del self._buffer[: self._at]
        self._at = 0
        # A long string is looked at again from its start: reading twice as much each time keeps that linear.
        data = self._file.read(max(_CHUNK, len(self._buffer)))
        self._buffer += data
        return bool(data)

    def _broken(self, why: str) -> NoReturn:
        line = self._line
        raise MalformedFile(f"{self._name}, line {line}: {why}", "Is the file complete?", line=line)


def _piece(data: bytes, line: int, element: int | None, end: int) -> Piece | BadPiece:
    try:
        if _depth(data) > MAX_DEPTH:
            return BadPiece(f"nested deeper than {MAX_DEPTH} levels", line, element, end)
        return Piece(read_value(data), line, element, end)
    except _Unusable as error:
        return BadPiece(str(error), line, element, end)
    except _NotJson as error:
        return BadPiece(str(error), line + error.line - 1, element, end, syntax=True)


def _depth(data: bytes) -> int:
    """At least the nesting of a JSON text; brackets inside strings may count too, but then it is looked at closely."""
    rough = data.count(b"[") + data.count(b"{")
    if rough <= MAX_DEPTH:
        return rough
    depth = deepest = at = 0
    while match := _STOP.search(data, at):
        at = match.end()
        byte = match[0]
        if byte == b'"':
            rest = _STRING_REST.match(data, at)
            if rest is None:
                break
            at = rest.end()
        elif byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def _skip_mark(file: BinaryIO) -> int:
    """Pass over a byte-order mark; returns the bytes passed."""
    if file.read(3) == codecs.BOM_UTF8:
        return 3
    file.seek(0)
    return 0


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _Unusable(f"the key {one_line(key, 60)!r} occurs twice")
            seen.add(key)
    return found


def _constant(name: str) -> NoReturn:
    raise _Unusable(f"{name} is not JSON")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _Unusable("a number is too large")
    return value


def _integer(text: str) -> int:
    if len(text) > 400:
        raise _Unusable(f"a number of {len(text)} digits")
    return int(text)
