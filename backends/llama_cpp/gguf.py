"""What a GGUF file says about itself, read without llama.cpp: fast, in any process, safe on hostile files.

Source of the format: the GGUF specification (ggml docs/gguf.md), versions 2 and 3, little endian.
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import NoSuchModel
from ..text import one_line

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_LONGEST = 1 << 20
_MOST_KEYS = 100_000
_SPLIT = re.compile(r"^(.*)-(\d{5})-of-(\d{5})\.gguf$")


@dataclass(frozen=True, slots=True)
class GgufInfo:
    """Head of a GGUF file. Numbers are None where the file does not say."""

    path: Path
    size_bytes: int
    """All parts of a split model together."""
    architecture: str
    name: str
    context_length: int | None
    n_layer: int | None
    n_vocab: int | None
    kv_bytes_per_token: int | None
    """Bytes of one token in an F16 key/value cache."""
    file_type: int | None
    """`general.file_type`: 0 F32, 1 F16, 7 Q8_0, ..."""
    chat_template: str | None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Every scalar and string key."""
    width: int = 0
    """Numbers in a token's hidden state; 0 where the file does not say."""


def read_gguf(path: Path) -> GgufInfo:
    """Read the head of a GGUF file.

    Raises `NoSuchModel`: no such file, not a file, not GGUF, of a newer version, or cut within its head.
    """
    shown = one_line(str(path))
    try:
        if not path.is_file():
            what = "is a folder, not a file" if path.is_dir() else "does not exist"
            raise NoSuchModel(f"The model file {shown} {what}", advice="Give the path of a GGUF file.")
        with path.open("rb") as file:
            magic = file.read(4)
            if magic != b"GGUF":
                found = "is empty" if not magic else f"begins with {magic!r}"
                raise NoSuchModel(
                    f"{shown} is not a GGUF model: it {found}",
                    advice="Choose a file whose name ends in .gguf.",
                )
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                metadata, arrays = _metadata(data, shown)
    except OSError as error:
        raise NoSuchModel(f"Cannot read {shown}: {error.strerror or error}") from error
    except (struct.error, IndexError, ValueError, OverflowError) as error:
        raise NoSuchModel(
            f"{shown} is damaged: its head ends too early or does not add up",
            advice="Download it again and compare its SHA-256.",
        ) from error
    return _info(path, metadata, arrays)


def total_size(path: Path) -> int:
    """Bytes of the model, all parts of a split one ("...-00001-of-00003.gguf") together."""
    match = _SPLIT.match(path.name)
    if not match:
        return path.stat().st_size
    parts = [path.with_name(f"{match[1]}-{n:05d}-of-{match[3]}.gguf") for n in range(1, int(match[3]) + 1)]
    return sum(part.stat().st_size for part in parts if part.is_file())


def _metadata(data: mmap.mmap, shown: str) -> tuple[dict[str, Any], dict[str, int]]:
    """Scalars and strings by key, and the lengths of the arrays by key."""
    version, _tensors, keys = struct.unpack_from("<IQQ", data, 4)
    if version not in (2, 3):
        raise NoSuchModel(
            f"{shown} is GGUF version {version}; versions 2 and 3 can be read",
            advice="Convert the model again with a current llama.cpp.",
        )
    if keys > _MOST_KEYS:
        raise ValueError("too many keys")
    at = 24
    values: dict[str, Any] = {}
    arrays: dict[str, int] = {}
    for _ in range(keys):
        key, at = _text(data, at)
        (kind,) = struct.unpack_from("<I", data, at)
        at += 4
        if kind == _ARRAY:
            arrays[key], at = _skip_array(data, at)
        elif kind == _STRING:
            values[key], at = _text(data, at)
        else:
            values[key] = struct.unpack_from("<" + _code(kind), data, at)[0]
            at += struct.calcsize("<" + _code(kind))
    return values, arrays


def _code(kind: int) -> str:
    if kind not in _SCALARS:
        raise ValueError(f"value type {kind}")
    return _SCALARS[kind]


def _text(data: mmap.mmap, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<Q", data, at)
    end = at + 8 + length
    if length > _LONGEST or end > len(data):
        raise ValueError("string too long")
    return data[at + 8 : end].decode("utf-8", "replace"), end


def _skip_array(data: mmap.mmap, at: int) -> tuple[int, int]:
    kind, count = struct.unpack_from("<IQ", data, at)
    at += 12
    if count > len(data):
        raise ValueError("array too long")
    if kind != _STRING:
        end = at + count * struct.calcsize("<" + _code(kind))
        if end > len(data):
            raise ValueError("array too long")
        return count, end
    read = struct.Struct("<Q").unpack_from
    for _ in range(count):
        at += 8 + read(data, at)[0]
        if at > len(data):
            raise ValueError("array too long")
    return count, at


def _info(path: Path, meta: dict[str, Any], arrays: dict[str, int]) -> GgufInfo:
    arch = str(meta.get("general.architecture", ""))
    layers = _number(meta, f"{arch}.block_count")
    template = meta.get("tokenizer.chat_template")
    return GgufInfo(
        path=path,
        size_bytes=total_size(path),
        architecture=arch,
        name=str(meta.get("general.name") or path.stem),
        context_length=_number(meta, f"{arch}.context_length"),
        n_layer=layers,
        n_vocab=arrays.get("tokenizer.ggml.tokens") or _number(meta, f"{arch}.vocab_size"),
        kv_bytes_per_token=_kv_bytes(meta, arch, layers),
        file_type=_number(meta, "general.file_type"),
        chat_template=template if isinstance(template, str) and template.strip() else None,
        metadata=meta,
        width=_number(meta, f"{arch}.embedding_length") or 0,
    )


def _number(meta: dict[str, Any], key: str) -> int | None:
    value = meta.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _kv_bytes(meta: dict[str, Any], arch: str, layers: int | None) -> int | None:
    """2 bytes for every key and value number of every layer."""
    width = _number(meta, f"{arch}.embedding_length")
    heads = _number(meta, f"{arch}.attention.head_count")
    if not (layers and width and heads):
        return None
    kv_heads = _number(meta, f"{arch}.attention.head_count_kv") or heads
    key = _number(meta, f"{arch}.attention.key_length") or width // heads
    value = _number(meta, f"{arch}.attention.value_length") or width // heads
    return 2 * layers * kv_heads * (key + value)
