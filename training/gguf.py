"""The GGUF file format, as much of it as our own models need: read and write; F32, F16, BF16 and Q8_0 tensors.

Written after the format's specification (version 3). Reading trusts nothing: counts, lengths and offsets are checked
against the size of the file before anything is allocated.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .errors import TrainingError

MAGIC = b"GGUF"
ALIGNMENT = 32
F32, F16, Q8_0, BF16 = 0, 1, 8, 30
TYPE_NAMES = {F32: "F32", F16: "F16", Q8_0: "Q8_0", BF16: "BF16"}
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_U32, _I32, _FLOAT, _BOOL = 4, 5, 6, 7
BLOCK = 32
_LONGEST_ARRAY = 10_000_000


@dataclass(frozen=True, slots=True)
class Tensor:
    """Where a tensor lies in the file. `size` is in torch's order, rows first."""

    size: tuple[int, ...]
    kind: int
    start: int
    bytes: int


@dataclass(frozen=True, slots=True)
class File:
    """An open GGUF: its metadata, and tensors read on demand from the mapped file."""

    metadata: dict[str, Any]
    tensors: dict[str, Tensor]
    data: Any

    def array(self, name: str) -> np.ndarray[Any, Any]:
        """A tensor as fp32 (Q8_0 expanded)."""
        tensor = self.tensors[name]
        raw = np.frombuffer(self.data, np.uint8, tensor.bytes, tensor.start)
        return _expanded(raw, tensor.kind).reshape(tensor.size)


def bytes_of(count: int, kind: int) -> int:
    """How many bytes `count` numbers take."""
    if kind == Q8_0:
        return count // BLOCK * (BLOCK + 2)
    return count * (4 if kind == F32 else 2)


def read(path: Path) -> File:
    """Open a GGUF file. Raises TrainingError("weights") where it is damaged or holds what we do not read."""
    try:
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise TrainingError("weights", f"{path.name}: cannot be read: {error}") from error
    try:
        return _Reader(data, path.name).file()
    except (struct.error, UnicodeDecodeError, IndexError) as error:
        raise _damaged(path.name, str(error)) from error


def _damaged(name: str, why: str) -> TrainingError:
    return TrainingError("weights", f"{name}: not a whole GGUF file: {why}", "Copy or download it again.")


class _Reader:
    def __init__(self, data: Any, name: str) -> None:
        self.data = data
        self.name = name
        self.at = 0

    def file(self) -> File:
        if self.data[:4] != MAGIC:
            raise _damaged(self.name, "it does not begin with GGUF")
        self.at = 4
        (version,) = self.take("I")
        if version not in (2, 3):
            raise TrainingError("weights", f"{self.name}: GGUF version {version} is not 2 or 3")
        tensor_count, value_count = self.take("QQ")
        if tensor_count > 100_000 or value_count > 100_000:
            raise _damaged(self.name, "impossible counts")
        metadata = {}
        for _ in range(value_count):
            key = self.string()
            metadata[key] = self.value(self.take("I")[0])
        infos = [self.info() for _ in range(tensor_count)]
        alignment = metadata.get("general.alignment", ALIGNMENT)
        if not isinstance(alignment, int) or not 1 <= alignment <= 1 << 20:
            raise _damaged(self.name, "impossible alignment")
        base = -(-self.at // alignment) * alignment
        tensors = {name: self.placed(name, base, size, kind, offset) for name, size, kind, offset in infos}
        return File(metadata, tensors, self.data)

    def take(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values

    def string(self) -> str:
        (length,) = self.take("Q")
        if length > len(self.data) - self.at:
            raise _damaged(self.name, "a text runs past the end")
        self.at += length
        return bytes(self.data[self.at - length : self.at]).decode("utf-8", errors="replace")

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind in _SCALARS:
            return self.take(_SCALARS[kind])[0]
        if kind == _STRING:
            return self.string()
        if kind != _ARRAY or depth > 2:
            raise _damaged(self.name, f"unknown kind of value {kind}")
        inner, count = self.take("IQ")
        if count > _LONGEST_ARRAY or count > len(self.data) - self.at:
            raise _damaged(self.name, "a list runs past the end")
        if inner in _SCALARS:
            return list(self.take(f"{count}{_SCALARS[inner]}"))
        return [self.value(inner, depth + 1) for _ in range(count)]

    def info(self) -> tuple[str, tuple[int, ...], int, int]:
        name = self.string()
        (dimensions,) = self.take("I")
        if not 1 <= dimensions <= 4:
            raise _damaged(self.name, f"{name} has {dimensions} dimensions")
        size = self.take(f"{dimensions}Q")
        kind, offset = self.take("IQ")
        return name, tuple(reversed(size)), kind, offset

    def placed(self, name: str, base: int, size: tuple[int, ...], kind: int, offset: int) -> Tensor:
        if kind not in TYPE_NAMES:
            raise TrainingError(
                "weights",
                f"{self.name}: {name} is stored in a way that is only read by llama.cpp (type {kind})",
                "Take a file with F32, F16 or Q8_0 tensors.",
            )
        count = 1
        for number in size:
            count *= number
        length = bytes_of(count, kind)
        if (kind == Q8_0 and size[-1] % BLOCK) or base + offset + length > len(self.data):
            raise _damaged(self.name, f"{name} runs past the end")
        return Tensor(size, kind, base + offset, length)


def _expanded(raw: np.ndarray[Any, Any], kind: int) -> np.ndarray[Any, Any]:
    if kind == F32:
        return raw.view("<f4").copy()
    if kind == F16:
        return raw.view("<f2").astype(np.float32)
    if kind == BF16:
        return (raw.view("<u2").astype(np.uint32) << 16).view(np.float32)
    blocks = raw.reshape(-1, BLOCK + 2)
    scales = blocks[:, :2].copy().view("<f2").astype(np.float32)
    return np.asarray(blocks[:, 2:].view(np.int8) * scales, dtype=np.float32)


def packed(values: np.ndarray[Any, Any], kind: int) -> bytes:
    """fp32 numbers in the given kind. Raises ValueError if Q8_0 rows are not multiples of 32."""
    if kind == F32:
        return np.ascontiguousarray(values, "<f4").tobytes()
    if kind == F16:
        return np.ascontiguousarray(values, "<f2").tobytes()
    if kind != Q8_0 or values.shape[-1] % BLOCK:
        raise ValueError(
            f"rows of {values.shape[-1]} numbers cannot be stored as {TYPE_NAMES.get(kind, kind)}"
        )
    blocks = np.ascontiguousarray(values, np.float32).reshape(-1, BLOCK)
    scales = (np.abs(blocks).max(axis=1, keepdims=True) / 127).astype(np.float32)
    inverse = np.divide(1.0, scales, out=np.zeros_like(scales), where=scales > 0)
    out = np.empty((len(blocks), BLOCK + 2), np.uint8)
    out[:, :2] = scales.astype("<f2").view(np.uint8)
    out[:, 2:] = np.round(blocks * inverse).astype(np.int8).view(np.uint8)
    return out.tobytes()


def write(
    file: BinaryIO,
    metadata: dict[str, Any],
    tensors: Iterable[tuple[str, tuple[int, ...], int, Callable[[], np.ndarray[Any, Any]]]],
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> None:
    """Write a GGUF: metadata, then tensors as (name, size rows first, kind, values on demand)."""
    entries = list(tensors)
    file.write(MAGIC + struct.pack("<IQQ", 3, len(entries), len(metadata)))
    for key, value in metadata.items():
        file.write(_string(key) + _value(value))
    offset = 0
    for name, size, kind, _ in entries:
        count = int(np.prod(size))
        dimensions = struct.pack(f"<I{len(size)}Q", len(size), *reversed(size))
        file.write(_string(name) + dimensions + struct.pack("<IQ", kind, offset))
        offset += _aligned(bytes_of(count, kind))
    file.write(b"\0" * (_aligned(file.tell()) - file.tell()))
    for done, (name, size, kind, values) in enumerate(entries, 1):
        array = values()
        if array.shape != size:
            raise ValueError(f"{name}: {array.shape} is not {size}")
        data = packed(array, kind)
        file.write(data)
        file.write(b"\0" * (_aligned(len(data)) - len(data)))
        progress(done, len(entries))


def _aligned(count: int) -> int:
    return -(-count // ALIGNMENT) * ALIGNMENT


def _string(text: str) -> bytes:
    raw = text.encode("utf-8")
    return struct.pack("<Q", len(raw)) + raw


def _value(value: Any) -> bytes:
    if isinstance(value, bool):
        return struct.pack("<I?", _BOOL, value)
    if isinstance(value, int):
        return struct.pack("<II", _U32, value)
    if isinstance(value, float):
        return struct.pack("<If", _FLOAT, value)
    if isinstance(value, str):
        return struct.pack("<I", _STRING) + _string(value)
    if not isinstance(value, list):
        raise ValueError(f"cannot write {value!r} into a GGUF")
    if not value or isinstance(value[0], str):
        parts = b"".join(_string(text) for text in value)
        return struct.pack("<IIQ", _ARRAY, _STRING, len(value)) + parts
    return struct.pack(f"<IIQ{len(value)}i", _ARRAY, _I32, len(value), *value)


def sync(file: BinaryIO) -> None:
    """Flush to the disk."""
    file.flush()
    os.fsync(file.fileno())
