"""Which files of a dataset repository hold its rows: by the card's `configs`, else by their names.

Only Parquet, JSON lines, JSON and CSV are ever taken; never a script, an archive or anything pickled.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

KINDS = ((".parquet",), (".jsonl", ".ndjson"), (".json",), (".csv", ".tsv"))
"""Suffixes, the kind that is read best first: where a repository holds the rows in several, one is taken."""
SUFFIXES = tuple(suffix for kind in KINDS for suffix in kind)
_NOT_ROWS = re.compile(
    r"(?:^|/)(?:\.[^/]*|__MACOSX|manifest\.json|MANIFEST\.json|dataset_infos?\.json|dataset_dict\.json|state\.json"
    r"|package(?:-lock)?\.json|[^/]*config\.json|[^/]*\.manifest\.json)(?:/|$)"
)
_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_SPLITS = {
    split: re.compile(rf"(?:^|[-._ 0-9/])(?:{'|'.join(words)})(?:[-._ 0-9/]|$)")
    for split, words in _WORDS.items()
}
_MOST_CONFIGS = 1000
_MOST_STARS = 8


class NoSuchPart(Exception):
    """The repository has no such configuration, split or data. The message says what there is."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The paths to read, in their order, and the configuration and split that they are of."""

    paths: tuple[str, ...]
    config: str | None = None
    split: str | None = None


def is_safe(path: str) -> bool:
    """Whether a path of a repository stays inside the folder that it is downloaded to."""
    parts = path.split("/")
    return (
        0 < len(path) < 500
        and not any(part in ("", ".", "..") or len(part) > 200 for part in parts)
        and not any(char in path for char in '\\\0:*?"<>|\n\r')
    )


def choose_files(
    paths: Iterable[str], card: Mapping[str, Any], config: str | None, split: str | None
) -> Chosen:
    """The data files of a configuration and a split. `card`: its YAML. Raises NoSuchPart."""
    data = sorted(
        path
        for path in paths
        if path.lower().endswith(SUFFIXES) and not _NOT_ROWS.search(path) and is_safe(path)
    )
    if not data:
        raise NoSuchPart("it holds no Parquet, JSON lines, JSON or CSV file")
    configs, usual = _configs(card)
    if configs:
        return _by_card(data, configs, usual, config, split)
    return _by_names(data, config, split)


def _by_card(
    data: Sequence[str],
    configs: Mapping[str, Mapping[str, Sequence[str]]],
    usual: str | None,
    config: str | None,
    split: str | None,
) -> Chosen:
    name = config if config is not None else usual
    if name is None:
        raise NoSuchPart(f"it has several configurations: {_listed(configs)}; name one as :CONFIG")
    if name not in configs:
        if split is None and any(name in splits for splits in configs.values()):
            return _by_card(data, configs, usual, None, name)  # `:train`
        raise NoSuchPart(f"it has no configuration {name!r}: there are {_listed(configs)}")
    splits = configs[name]
    if split is not None and split not in splits:
        raise NoSuchPart(f"configuration {name!r} has no split {split!r}: there are {_listed(splits)}")
    wanted = [pattern for label, patterns in splits.items() if split in (None, label) for pattern in patterns]
    matching = [_pattern(pattern) for pattern in wanted]
    found = [path for pattern in matching for path in data if pattern.fullmatch(path)]
    if not found:
        raise NoSuchPart(f"no Parquet, JSON lines, JSON or CSV file belongs to configuration {name!r}")
    return Chosen(tuple(dict.fromkeys(found)), name, split)


def _by_names(data: Sequence[str], config: str | None, split: str | None) -> Chosen:
    if config is not None:
        folders = sorted({path.split("/")[0] for path in data if "/" in path})
        if config not in folders and split is None and config in _by_split(data):
            return _by_names(data, None, config)
        if config not in folders:
            raise NoSuchPart(f"it has no configuration {config!r}: there are {_listed(folders) or 'none'}")
        data = [path for path in data if path.startswith(f"{config}/")]
    for kind in KINDS:
        of_kind = [path for path in data if path.lower().endswith(kind)]
        if of_kind:
            break
    sides = _by_split(of_kind)
    if split is not None and split not in sides:
        raise NoSuchPart(f"it has no split {split!r}: there are {_listed(sides)}")
    names = [path for label, paths in sides.items() if split in (None, label) for path in paths]
    return Chosen(tuple(names), config, split)


def _by_split(data: Sequence[str]) -> dict[str, list[str]]:
    """Files by the split that their names speak of, as `datasets` reads them; of no split at all: train."""
    found: dict[str, list[str]] = {}
    for path in data:
        text = str(PurePosixPath(path).with_suffix(""))
        split = next((name for name, pattern in _SPLITS.items() if pattern.search(text)), None)
        found.setdefault(split or "", []).append(path)
    if "" in found:
        rest = found.pop("")
        if not found:
            return {"train": rest}
    return {split: found[split] for split in _WORDS if split in found}


def _configs(card: Mapping[str, Any]) -> tuple[dict[str, dict[str, list[str]]], str | None]:
    """Configuration -> split -> patterns of paths, from YAML that somebody else wrote; and the default's name."""
    configs = card.get("configs")
    found: dict[str, dict[str, list[str]]] = {}
    usual: str | None = None
    for entry in configs[:_MOST_CONFIGS] if isinstance(configs, list) else ():
        if isinstance(entry, dict) and "data_files" in entry:
            name = str(entry.get("config_name", "default"))[:200]
            splits = _splits(entry["data_files"], str(entry.get("data_dir") or ""))
            if splits:
                found[name] = splits
                if entry.get("default") is True:
                    usual = usual or name
    if usual is None and len(found) == 1:
        usual = next(iter(found))
    return found, usual or ("default" if "default" in found else None)


def _splits(given: Any, folder: str) -> dict[str, list[str]]:
    if isinstance(given, dict):
        pairs = list(given.items())
    elif isinstance(given, list) and given and all(isinstance(item, dict) for item in given):
        pairs = [(item.get("split", "train"), item.get("path")) for item in given]
    else:
        pairs = [("train", given)]
    found: dict[str, list[str]] = {}
    for split, patterns in pairs[:_MOST_CONFIGS]:
        texts = patterns if isinstance(patterns, list) else [patterns]
        good = [
            text
            for text in texts[:_MOST_CONFIGS]
            if isinstance(text, str) and 0 < len(text) < 500 and text.count("*") <= _MOST_STARS
        ]
        if good:
            prefix = f"{folder.strip('/')}/" if folder else ""
            found.setdefault(str(split)[:200], []).extend(prefix + text.removeprefix("./") for text in good)
    return found


def _pattern(glob: str) -> re.Pattern[str]:
    """A path's pattern: `*` within a name, `**` across folders, `?`, `[...]` as themselves."""
    text = ""
    for part in re.split(r"(\*\*/|\*+|\?)", glob):
        if part == "**/":
            text += "(?:[^/]+/)*"
        elif part.startswith("**"):
            text += ".*"
        elif part == "*":
            text += "[^/]*"
        elif part == "?":
            text += "[^/]"
        else:
            text += re.escape(part)
    return re.compile(text)


def _listed(names: Iterable[str]) -> str:
    shown = list(names)
    more = f" and {len(shown) - 20} more" if len(shown) > 20 else ""
    return ", ".join(shown[:20]) + more
