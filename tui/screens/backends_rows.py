"""The Backends place as lines: each backend with its state, under it the models it has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..text import fill, line, wrap
from ..widgets.line import Piece
from ..widgets.lines import Row
from ..widgets.meters import bar, size
from ..widgets.pick_list import Entry

if TYPE_CHECKING:
    from pairsmith.backends.protocol import ModelInfo
    from pairsmith.pairs.backend_checks import Offered

    from ..pulls import Pull

ORDER = ("llama-cpp", "ollama", "nim", "openai")
TITLES = {"llama-cpp": "llama.cpp", "ollama": "Ollama", "nim": "NVIDIA NIM", "openai": "OpenAI-compatible"}


def backend_entries(
    offered: Mapping[str, Offered],
    pulls: Iterable[Pull],
    generator: str,
    judge: str | None,
    width: int,
    notes: Sequence[Row] = (),
) -> list[Entry]:
    """Every backend, reached or not. The present generator and judge stand first and are marked; then `notes`."""
    width -= 4
    found = [_present("generator", generator, width), _present("judge", judge, width)]
    found += [Entry(f"note-{number}", (row,), pickable=False) for number, row in enumerate(notes)]
    pulling: dict[str, list[Entry]] = {}
    for pull in pulls:
        pulling.setdefault(pull.backend, []).append(_pull(pull, width))
    for name in ORDER:
        found.append(Entry(f"gap-{name}", ((),), pickable=False))
        known = offered.get(name)
        found.append(_backend(name, known, width))
        found += pulling.get(name, [])
        for model in known.models if known is not None else ():
            found.append(_model(name, model, generator, judge, width))
    return found


def _present(kind: str, spec: str | None, width: int) -> Entry:
    text = line(spec, max(20, width - 14)) if spec is not None else "none: J chooses one"
    row = (Piece(f" {kind:<12}", "quiet"), Piece(text, "strong"))
    return Entry(f"present-{kind}", (row,), pickable=False)


def _backend(name: str, known: Offered | None, width: int) -> Entry:
    title = Piece(fill(TITLES[name], 20), "strong")
    if known is None:
        return Entry(f"backend:{name}", ((title, Piece("looking…", "quiet")),))
    mark, style = {"good": ("✓ ", "good"), "note": ("· ", "quiet"), "bad": ("✗ ", "bad")}[known.finding.state]
    room = max(20, width - 22)
    said = wrap(known.finding.summary, room)[:2]
    rows: list[Row] = [(title, Piece(mark, style), Piece(said[0]))]
    rows += [(Piece(" " * 22), Piece(text)) for text in said[1:]]
    said_advice = by_keys(known.finding.advice)
    advice = wrap(said_advice, room)[:2] if said_advice else []
    rows += [(Piece(" " * 22), Piece(text, "quiet")) for text in advice]
    return Entry(f"backend:{name}", tuple(rows))


def by_keys(advice: str) -> str:
    """Advice that `doctor` gives, too, with what to press in the application in it."""
    return advice.replace("Give --base-url", "o takes its address").replace(
        "Set NVIDIA", "K keeps it, or set NVIDIA"
    )


def _model(name: str, model: ModelInfo, generator: str, judge: str | None, width: int) -> Entry:
    spec = f"{name}:{model.id}"
    marks = [mark for mark, present in (("generator", generator), ("judge", judge)) if present == spec]
    about = " ".join(
        part
        for part in (
            "" if model.kind == "chat" else model.kind,
            size(model.size_bytes),
            f"{model.context_length:,} tokens" if model.context_length else "",
            "remote" if model.remote else "",
            model.description,
        )
        if part
    )
    name_width = min(44, max(24, width // 2))
    end = f" {' and '.join(marks)}" if marks else ""
    return Entry(
        f"model:{spec}",
        (
            (
                Piece(f"  {fill(line(model.id, name_width), name_width)} "),
                Piece(line(about, max(4, width - name_width - 5 - len(end))), "quiet"),
                Piece(end, "accent"),
            ),
        ),
    )


def _pull(pull: Pull, width: int) -> Entry:
    name = fill(line(pull.model, 24), 25)
    if pull.over:
        text = "is here" if pull.done else line(pull.problem, max(20, width - 30))
        row: Row = (
            Piece(f"  {name}"),
            Piece("✓ " if pull.done else "✗ ", "good" if pull.done else "bad"),
            Piece(text),
        )
        return Entry(f"pull:{pull.model}", (row,))
    numbers = f" {size(pull.completed) or '0 B'} of {size(pull.total)}" if pull.total else ""
    status = line(pull.status, 22)
    room = max(5, width - 30 - len(numbers) - len(status) - 3)
    meter = bar(pull.completed, pull.total, room)
    return Entry(
        f"pull:{pull.model}",
        ((Piece(f"  {name}"), Piece(meter, "accent"), Piece(f"{numbers} "), Piece(status, "quiet")),),
    )


def detail_rows(heading: str, text: str, width: int, height: int) -> list[Row]:
    """What was last asked of the entry under the cursor, and answered."""
    rows: list[Row] = [(Piece("─" * width, "quiet"),)]
    if heading:
        rows.append((Piece(f" {line(heading, width - 2)}", "strong"),))
    rows += [(Piece(f" {part}"),) for part in wrap(text, width - 2, characters=4000)]
    return rows[:height]
