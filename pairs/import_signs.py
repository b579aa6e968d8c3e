"""Which shape a row of a file has. It is known by the names of the row's fields, so one file may even mix shapes;
`--format` insists on one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from .import_argilla import argilla_rows, is_flat_record
from .import_distilabel import distilabel_rows
from .import_shapes import (
    Row,
    alpaca_rows,
    chat_rows,
    dolly_row,
    preference_rows,
    prompt_rows,
    seed_task_rows,
    sharegpt_rows,
)
from .store.import_rows import ImportRow

Shape = Callable[[Row, int], Sequence[ImportRow]]
SHAPES: Mapping[str, Shape] = {
    "alpaca": alpaca_rows,
    "dolly": dolly_row,
    "messages": chat_rows,
    "sharegpt": sharegpt_rows,
    "prompt-completion": prompt_rows,
    "dpo": preference_rows,
    "seed-tasks": seed_task_rows,
    "argilla": argilla_rows,
    "distilabel": distilabel_rows,
}
_SIGNS: tuple[tuple[frozenset[str], Shape], ...] = tuple(
    (frozenset(names), shape)
    for names, shape in (
        (("fields", "responses"), argilla_rows),
        (("fields", "suggestions"), argilla_rows),
        (("instruction", "generations"), distilabel_rows),
        (("instruction", "generation"), distilabel_rows),
        (("prompt", "generations"), distilabel_rows),
        (("messages", "generation"), distilabel_rows),
        # Some preference data repeat the chosen conversation as `messages`.
        (("prompt", "chosen", "rejected"), preference_rows),
        (("messages",), chat_rows),
        (("conversations",), sharegpt_rows),
        (("chosen", "rejected"), preference_rows),
        (("prompt", "completion"), prompt_rows),
        (("instruction", "instances"), seed_task_rows),
        (("instruction", "context", "response"), dolly_row),
    )
)


def any_rows(value: Row, line: int) -> Sequence[ImportRow]:
    """Whichever shape the row's fields show. Raises Unusable."""
    for names, shape in _SIGNS:
        if names <= value.keys() and all(value[name] is not None for name in names):
            return shape(value, line)
    return (argilla_rows if is_flat_record(value) else alpaca_rows)(value, line)
