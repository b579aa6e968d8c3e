"""Flags and values that several commands share, read strictly."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from pairsmith.backends.registry import parse_spec
from pairsmith.pairs.limits import Limits

_MOST = 1 << 63
"""What SQLite's numbers end before."""
KINDS = ("auto", "reward", "expected", "json")


def path(text: str) -> Path:
    """A path, ~ included."""
    if not text or "\x00" in text:
        raise argparse.ArgumentTypeError("a path is needed")
    return expanded(text)


def expanded(text: str) -> Path:
    """A path with ~ for a home folder, where there is such a person."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def model(text: str) -> str:
    """BACKEND:MODEL in its usual spelling. Raises UnknownBackend, which names the four."""
    return str(parse_spec(text))


def whole(text: str) -> int:
    """A whole number from 1."""
    number = _integer(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    if number >= _MOST:
        raise argparse.ArgumentTypeError("is too large")
    return number


def whole_or_zero(text: str) -> int:
    """A whole number from 0."""
    number = _integer(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"must not be negative, not {number}")
    return number


def seed(text: str) -> int:
    """A seed: any whole number of at most 64 bits."""
    number = _integer(text)
    if abs(number) >= _MOST:
        raise argparse.ArgumentTypeError("is too large")
    return number


def above_zero(text: str) -> float:
    """A finite number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise argparse.ArgumentTypeError("must be a number above 0")
    return number


def not_negative(text: str) -> float:
    """A finite number from 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise argparse.ArgumentTypeError("must be a number from 0")
    return number


def device(text: str) -> str:
    """Where it runs, as the child knows it."""
    name, _, number = text.partition(":")
    if name in ("auto", "cpu", "mps") and not number and ":" not in text:
        return text
    if name == "cuda" and (":" not in text or number.isdecimal()):
        return text
    raise argparse.ArgumentTypeError("must be auto, cpu, cuda, cuda:N or mps")


def _integer(text: str) -> int:
    plain = text.strip().replace("_", "")
    if len(plain) > 30:
        raise argparse.ArgumentTypeError("is too large")
    try:
        return int(plain)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a whole number") from None


def add_workspace(parser: argparse.ArgumentParser) -> None:
    """The first argument of nearly every command."""
    parser.add_argument("workspace", metavar="WORKSPACE", type=path, help="the workspace file")


def add_choice(parser: argparse.ArgumentParser) -> None:
    """Which pairs leave the workspace, and under which licence."""
    parser.add_argument(
        "--verdict",
        choices=("not-rejected", "accepted", "any"),
        default="not-rejected",
        help="default: not-rejected",
    )
    parser.add_argument("--where", metavar="EXPR", help="only pairs of which this is true")
    parser.add_argument("--balance-topics", action="store_true", help="equally many pairs of every topic")
    parser.add_argument(
        "--seed", type=seed, default=0, metavar="N", help="which ones, when topics are balanced"
    )
    parser.add_argument(
        "--licence",
        default="",
        metavar="ID",
        help="for the card: an identifier of the Hub like cc-by-4.0 (default: not stated)",
    )


def add_limits(parser: argparse.ArgumentParser) -> None:
    """What one start may spend."""
    group = parser.add_argument_group(
        "limits of this start (none is exceeded, but minutes by the calls in flight)"
    )
    group.add_argument("--max-calls", type=whole, metavar="N", help="calls to backends, retries included")
    group.add_argument("--max-tokens", type=whole, metavar="N", help="tokens, prompt and completion together")
    group.add_argument("--max-cost", type=not_negative, metavar="X", help="US dollars")
    group.add_argument("--max-minutes", type=above_zero, metavar="N", help="minutes")


def limits(arguments: argparse.Namespace) -> Limits:
    """The limits that were given."""
    return Limits(arguments.max_calls, arguments.max_tokens, arguments.max_cost, arguments.max_minutes)
