"""The watch over a run: how often it gives a false alarm, and how soon it finds a decay."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from strategy_plugin.live.decay import DecayWatch, limit
from tests.helpers.decaying import CHANGE, LAST, lines


def alarms_of(told: Iterator[tuple[dict[str, Any], float, bool]]) -> Iterator[tuple[int, str]]:
    eye = DecayWatch(1, "open", 1, "direction", slippage=1.0)
    for number, (line, *_) in enumerate(told):
        yield from ((number, alarm) for alarm in eye.take(line))


@pytest.mark.parametrize("edge", [0.15, 1.0])
def test_at_most_one_false_alarm_comes_in_a_thousand_bars(edge: float) -> None:
    bars = 50_000
    found = [*alarms_of(lines(edge, bars, seed=1, change=bars, spread=3.0))]
    kinds = {kind: sum(kind in alarm for _, alarm in found) for kind in ("edge", "dearer")}
    assert sum(kinds.values()) <= bars / 1_000
    assert kinds["edge"] > 20 and kinds["dearer"] > 5  # and they are no deaf ones


def oracle_delay(edge: float, seed: int, height: float) -> int:
    """Bars to the alarm of the likelihood-ratio CUSUM that knows the laws before and after."""
    level = 0.0
    for number, (_, said, up) in enumerate(lines(edge, LAST, seed)):
        level = max(0.0, level + math.log(0.5 / (said if up else 1 - said)))
        if level > height:
            if number >= CHANGE:
                return number - CHANGE
            level = 0.0
    return LAST - CHANGE


@pytest.mark.parametrize("edge", [0.25, 0.6])
def test_a_lost_edge_is_found_nearly_as_soon_as_by_who_knows_both_laws(edge: float) -> None:
    said = 1 / (1 + np.exp(-np.random.default_rng(0).normal(0, edge, 100_000)))
    steps = said * np.log(0.5 / said) ** 2 + (1 - said) * np.log(0.5 / (1 - said)) ** 2
    height = limit(float(steps.mean()), 1_000)
    ours, theirs = [], []
    for seed in range(30):
        theirs.append(oracle_delay(edge, seed, height))
        after = (number for number, _ in alarms_of(lines(edge, LAST, seed)) if number >= CHANGE)
        ours.append(next(after, LAST) - CHANGE)
    assert np.mean(theirs) < 200 and np.mean(ours) <= 1.5 * np.mean(theirs)


def test_fills_that_become_dearer_are_found_and_what_they_cost_is_said() -> None:
    def told() -> Iterator[Any]:
        yield from lines(0.4, 300, seed=3, change=10_000, spread=1.0)
        for number, (line, *rest) in enumerate(lines(0.4, 60, seed=4, slip=4.0, spread=1.0)):
            yield line | {"bar": f"{300 + number:06d}"}, *rest

    number, alarm = next(found for found in alarms_of(told()) if "dearer" in found[1])
    assert 300 <= number < 315
    assert "basis points more than the 1 that the backtest takes" in alarm


def test_fills_that_are_exact_give_no_alarm() -> None:
    assert not [alarm for _, alarm in alarms_of(lines(0.4, 4_000, seed=5)) if "dearer" in alarm]


def test_moves_that_overlap_and_those_of_one_time_count_once() -> None:
    """Of five bars ahead every fifth outcome counts; of many names on a bar their mean."""
    long = DecayWatch(1, "close", 5, "direction", 1.0)
    many, equal = (DecayWatch(9, "open", 1, "relative", 1.0) for _ in range(2))
    for line, *_ in lines(0.4, 101, seed=6):
        long.take(line)
        for name in range(9):
            equal.take(line | {"symbol": str(name)})
            drawn = line["open"] * (1 + 0.01 * math.sin(7 * name + int(line["bar"])))
            many.take(line | {"symbol": str(name), "open": drawn})
    assert long._calibration._chart.steps == 20
    assert many._calibration._chart.steps == 99
    assert equal._calibration._chart.steps == 0  # no move is above the median of the others


def test_a_line_of_a_bar_that_is_decided_again_counts_once() -> None:
    eye = DecayWatch(1, "open", 1, "direction", 1.0)
    for line, *_ in lines(0.4, 50, seed=7):
        eye.take(line)
        eye.take(line)
    assert eye._calibration._chart.steps == 48
