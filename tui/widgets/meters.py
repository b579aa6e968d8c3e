"""Numbers as characters: filled bars, small histories, amounts for narrow places."""

from __future__ import annotations

from collections.abc import Sequence

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LEVELS = "▁▂▃▄▅▆▇█"


def bar(done: float, total: float, width: int) -> str:
    """A bar of exactly `width` cells (at least 3) with its ends marked; full only where it is."""
    room = max(1, width - 2)
    share = min(1.0, max(0.0, done / total)) if total > 0 else 0.0
    eighths = int(share * room * 8)
    whole, rest = divmod(eighths, 8)
    filled = "█" * whole + (_EIGHTHS[rest] if rest else "")
    return f"▐{filled:<{room}}▌"


def history(values: Sequence[float], width: int, most: float = 1.0) -> str:
    """The newest values as columns of eight heights, oldest first, at most `width` of them."""
    shown = list(values)[-width:] if width > 0 else []
    top = len(_LEVELS) - 1
    return "".join(_LEVELS[round(top * min(1.0, max(0.0, value / most)))] for value in shown)


def amount(number: float) -> str:
    """9,999 · 73k · 1.2M."""
    number = round(number)
    if number < 10_000:
        return f"{number:,}"
    if number < 1_000_000:
        return f"{number / 1000:.0f}k"
    return f"{number / 1_000_000:.1f}M"


def size(number: int | None) -> str:
    """Bytes: 700 kB, 1.2 GB; empty where unknown."""
    if number is None:
        return ""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= scale:
            return f"{number / scale:.1f} {unit}" if number < 10 * scale else f"{number / scale:.0f} {unit}"
    return f"{number} B"


def duration(minutes: float) -> str:
    """40 s, 7 min, 3 h 10 min."""
    seconds = minutes * 60
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    whole = round(minutes)
    return f"{whole} min" if whole < 90 else f"{whole // 60} h {whole % 60} min"


def ago(seconds: float) -> str:
    """12s, 3m, 2h, 5d."""
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{max(0, int(seconds))}s"


def money(dollars: float | None) -> str:
    """$1.20; "unknown" where nobody knows the price."""
    return "price unknown" if dollars is None else f"${dollars:,.2f}"
