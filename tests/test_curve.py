"""The curve: no spike is lost, steps that come again replace, every size fits, ticks are round."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from pairsmith.tui.widgets.curve import Series, curve_rows, envelope, ticks
from pairsmith.tui.widgets.lines import plain

NUMBERS = st.floats(0, 1e4, allow_nan=False)


def series_of(*values: float) -> Series:
    made = Series()
    for step, value in enumerate(values, 1):
        made.append(step, value)
    return made


@given(values=st.lists(NUMBERS, min_size=1, max_size=600), columns=st.integers(1, 60))
def test_the_envelope_reaches_the_least_and_the_most_of_all_points(values: list[float], columns: int) -> None:
    found = [drawn for drawn in envelope(series_of(*values), 0, len(values), columns) if drawn is not None]
    assert min(low for low, _ in found) == min(values)
    assert max(high for _, high in found) == max(values)


@pytest.mark.parametrize("at", [1, 63, 64, 65, 5_000, 9_999])
def test_one_spike_among_ten_thousand_points_is_in_its_column(at: int) -> None:
    values = [1.0] * 10_000
    values[at - 1] = 9.0
    found = envelope(series_of(*values), 0, 10_000, 100)
    spikes = [column for column, drawn in enumerate(found) if drawn is not None and drawn[1] == 9.0]
    assert spikes == [at * 100 // 10_000]


@given(values=st.lists(NUMBERS, min_size=1, max_size=300), data=st.data())
def test_a_range_is_that_of_its_points(values: list[float], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(values) - 1))
    end = data.draw(st.integers(first + 1, len(values)))
    part = values[first:end]
    assert series_of(*values).range_of(first, end) == (min(part), max(part))


@given(values=st.lists(NUMBERS, min_size=1, max_size=300), data=st.data())
def test_steps_that_come_again_replace_what_was_behind_them(values: list[float], data: st.DataObject) -> None:
    again = data.draw(st.integers(1, len(values)))
    series = series_of(*values)
    series.append(again, 7.0)
    assert list(series.steps) == list(range(1, again + 1))
    assert list(series.values) == [*values[: again - 1], 7.0]
    assert series.range_of(0, again) == (min([*values[: again - 1], 7.0]), max([*values[: again - 1], 7.0]))


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_what_is_no_number_is_no_point(value: float | None) -> None:
    series = series_of(1.0, 2.0)
    series.append(3, value)
    assert list(series.steps) == [1, 2]


@given(
    values=st.lists(NUMBERS, max_size=200),
    marks=st.lists(st.tuples(st.integers(0, 200), NUMBERS), max_size=5),
    width=st.integers(0, 120),
    height=st.integers(0, 40),
    last=st.integers(0, 500),
)
def test_it_fits_exactly_into_every_size(
    values: list[float], marks: list[tuple[float, float]], width: int, height: int, last: int
) -> None:
    rows = curve_rows(series_of(*values), marks, width, height, last, "loss")
    assert len(rows) == height
    assert all(cell_len("".join(piece.text for piece in row)) <= width for row in rows)


def test_validation_stands_over_the_curve_as_marks() -> None:
    text = plain(curve_rows(series_of(4, 3, 2, 1.5), [(0, 4.0), (4, 1.6)], 60, 12, 8, "loss"))
    assert text.count("∘") == 2
    assert " loss 4 ┤" in text
    assert text.splitlines()[-1].split() == ["0", "5"]


@given(low=st.floats(-1e6, 1e6), high=st.floats(-1e6, 1e6), most=st.integers(2, 12))
def test_ticks_are_few_round_and_embrace_what_there_is(low: float, high: float, most: int) -> None:
    low, high = min(low, high), max(low, high)
    if high - low < 1e-3:
        return
    found = ticks(low, high, most)
    step = found[1] - found[0]
    slack = 1e-6 * step
    assert 2 <= len(found) <= max(most, 3)
    assert found[0] <= low + slack
    assert found[-1] >= high - slack
    assert f"{step:.0e}"[0] in "125"
