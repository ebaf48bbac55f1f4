"""The indicator: its values are the checkpoint's, whatever the host does with its bars."""

from pathlib import Path
from typing import Any

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from model.checkpoint.checkpoint import Checkpoint
from model.errors import CheckpointError
from strategy_plugin import DirectionProbability, Schedule, TradingWarning
from tests.helpers.hosts import Shown, feed, host, series, shown
from tests.helpers.makers import random_bars, random_checkpoint


@pytest.mark.parametrize("count", [1, 149, 150, 151, 400])
@pytest.mark.parametrize("runonce", [True, False])
def test_the_line_is_the_checkpoints_probability_from_bar_150_on(
    bars: pd.DataFrame,
    checkpoint: Checkpoint,
    checkpoint_path: str,
    count: int,
    runonce: bool,
) -> None:
    values = series(
        shown(host(feed(bars.iloc[:count]), runonce=runonce), checkpoint_path).values, count
    )
    assert np.isnan(values[:149]).all()
    if count >= 150:
        assert np.abs(values[149:] - checkpoint.probabilities(bars.iloc[:count])).max() < 1e-6


@pytest.mark.parametrize("runonce", [True, False])
def test_a_folder_serves_each_bar_by_the_checkpoint_in_force(
    bars: pd.DataFrame, tmp_path: Path, runonce: bool
) -> None:
    for number in (200, 300):
        random_checkpoint(bars, bars.index[number], seed=number).save(tmp_path / f"{number}.ckpt")
    expected = Schedule(str(tmp_path)).probabilities(bars.to_numpy(), bars.index.asi8)
    values = series(shown(host(feed(bars), runonce=runonce), str(tmp_path)).values, 400)
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-6)
    assert np.isnan(values[:200]).all() and np.isfinite(values[200:]).all()


@pytest.mark.parametrize("runonce", [True, False])
def test_bars_at_fault_get_no_value_and_leave_no_trace(
    bars: pd.DataFrame, checkpoint_path: str, runonce: bool
) -> None:
    faulty = bars.copy()
    faulty.iloc[[0, 120, 260, 261], 3] = np.nan
    with pytest.warns(TradingWarning, match="a price that is not finite.*data.addfilter"):
        strategy = shown(host(feed(faulty), runonce=runonce), checkpoint_path)
    clean = faulty["close"].notna().to_numpy()
    expected = Schedule(checkpoint_path).probabilities(
        faulty.to_numpy()[clean], faulty.index.asi8[clean]
    )
    values = series(strategy.values, 400)
    assert np.isnan(values[~clean]).all()
    np.testing.assert_allclose(values[clean], expected, rtol=0, atol=1e-6)
    assert strategy.indicator.faults == {"a price that is not finite": 4}


@pytest.mark.parametrize("runonce", [True, False])
def test_a_feed_without_volume_has_volume_zero(
    bars: pd.DataFrame,
    checkpoint: Checkpoint,
    checkpoint_path: str,
    runonce: bool,
) -> None:
    values = series(
        shown(host(feed(bars.drop(columns="volume")), runonce=runonce), checkpoint_path).values, 400
    )
    assert np.abs(values[149:] - checkpoint.probabilities(bars.assign(volume=0.0))).max() < 1e-6


@pytest.mark.parametrize("runonce", [True, False])
def test_the_hosts_time_of_day_on_daily_bars_means_nothing(
    bars: pd.DataFrame,
    checkpoint: Checkpoint,
    checkpoint_path: str,
    runonce: bool,
) -> None:
    late = bars.set_axis(bars.index + pd.Timedelta("23:59:59.999989"))
    values = series(shown(host(feed(late), runonce=runonce), checkpoint_path).values, 400)
    assert np.abs(values[149:] - checkpoint.probabilities(bars)).max() < 1e-6


@pytest.mark.parametrize(
    "zone, shifts",
    [("Asia/Tokyo", True), ("Europe/Berlin", True), ("America/New_York", False), ("UTC", False)],
)
def test_dates_that_the_host_would_move_to_the_day_before_are_refused(
    bars: pd.DataFrame,
    checkpoint: Checkpoint,
    checkpoint_path: str,
    zone: str,
    shifts: bool,
) -> None:
    aware = feed(bars.tz_localize(zone))
    if shifts:
        words = (
            f"data 'data' has dates in {zone}, of which .*: 2020-01-01 becomes 2019-12-31. "
            "Give the DataFrame with tz_localize"
        )
        with pytest.raises(CheckpointError, match=words):
            shown(host(aware), checkpoint_path)
    else:
        values = series(shown(host(aware), checkpoint_path).values, 400)
        assert np.abs(values[149:] - checkpoint.probabilities(bars)).max() < 1e-6


@pytest.mark.parametrize("runonce", [True, False])
def test_bars_of_another_interval_are_refused(checkpoint_path: str, runonce: bool) -> None:
    hourly = host(feed(random_bars(200, freq="h"), name="hourly"), runonce=runonce)
    with pytest.raises(
        CheckpointError,
        match="data 'hourly' must have bars 1 days 00:00:00 apart .* got 0 days 01:00:00",
    ):
        shown(hourly, checkpoint_path)


class HoldsBack:
    """A filter that delivers the last three bars together, when the feed has ended."""

    def __init__(self, data: Any) -> None:
        self.held: list[list[float]] = []
        self.seen = 0

    def __call__(self, data: Any) -> bool:
        self.seen += 1
        if self.seen <= 397:
            return False
        self.held.append([line[0] for line in data.itersize()])
        data.backwards()
        return True

    def last(self, data: Any) -> int:
        bars, self.held = self.held, []
        for bar in bars:
            data._add2stack(bar)
        return len(bars)


def test_bars_that_the_host_passes_without_a_call_are_not_missed(
    bars: pd.DataFrame,
    checkpoint: Checkpoint,
    checkpoint_path: str,
) -> None:
    held_back = feed(bars)
    held_back.addfilter(HoldsBack)
    values = series(
        shown(host(held_back, runonce=False, preload=False), checkpoint_path).values, 400
    )
    assert np.isnan(values[397:399]).all()
    assert abs(values[399] - checkpoint.probabilities(bars).iloc[-1]) < 1e-6


def test_what_is_no_feed_of_bars_is_refused(bars: pd.DataFrame, checkpoint_path: str) -> None:
    class OnALine(bt.Strategy):  # type: ignore[misc]
        def __init__(self) -> None:
            DirectionProbability(self.data.close, checkpoint=checkpoint_path)

    cerebro = host(feed(bars))
    cerebro.addstrategy(OnALine)
    with pytest.raises(
        TypeError, match="must be given a feed of bars, got LineSeriesStub without open, high, low"
    ):
        cerebro.run()


def test_a_stamp_that_is_neither_open_nor_close_is_refused(
    bars: pd.DataFrame, checkpoint_path: str
) -> None:
    cerebro = host(feed(bars))
    cerebro.addstrategy(Shown, checkpoint=checkpoint_path, stamp="middle")
    with pytest.raises(ValueError, match="`stamp` must be 'open', 'close' or None, got 'middle'"):
        cerebro.run()


@pytest.mark.parametrize(
    "stated, refused",
    [
        ({"stamp": "close"}, "`stamp` must be 'open' as in training, got 'close'"),
        ({"timezone": "UTC"}, "`timezone` must be None as in training, got 'UTC'"),
    ],
)
def test_a_stated_clock_that_is_not_that_of_training_is_refused(
    bars: pd.DataFrame,
    checkpoint_path: str,
    stated: dict[str, str],
    refused: str,
) -> None:
    cerebro = host(feed(bars))
    cerebro.addstrategy(Shown, checkpoint=checkpoint_path, **stated)
    with pytest.raises(CheckpointError, match=refused):
        cerebro.run()


def test_an_indicator_without_a_checkpoint_is_refused(bars: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="`checkpoint` must name a file or a folder, got ''"):
        shown(host(feed(bars)), "")


def test_a_strategy_of_the_users_own_starts_when_the_indicator_is_ready(
    bars: pd.DataFrame, checkpoint_path: str
) -> None:
    class Own(bt.Strategy):  # type: ignore[misc]
        first = 0

        def __init__(self) -> None:
            self.probability = DirectionProbability(self.data, checkpoint=checkpoint_path)

        def next(self) -> None:
            self.first = self.first or len(self)

    cerebro = host(feed(bars))
    cerebro.addstrategy(Own)
    assert cerebro.run()[0].first == 150


def test_two_indicators_on_one_feed_do_not_disturb_each_other(
    bars: pd.DataFrame, checkpoint_path: str
) -> None:
    class Twice(bt.Strategy):  # type: ignore[misc]
        def __init__(self) -> None:
            self.one = DirectionProbability(self.data, checkpoint=checkpoint_path)
            self.two = DirectionProbability(self.data, checkpoint=checkpoint_path)

        def next(self) -> None:
            assert self.one.probability[0] == self.two.probability[0]

    cerebro = host(feed(bars), runonce=False)
    cerebro.addstrategy(Twice)
    cerebro.run()


@pytest.mark.parametrize("runonce", [True, False])
@pytest.mark.parametrize(
    "missing, max_gap, silent", [(3, None, 0), (3, 3, 0), (3, 2, 149), (20, 3, 149), (1, 0, 149)]
)
def test_a_window_across_a_long_gap_is_not_predicted(
    bars: pd.DataFrame,
    checkpoint_path: str,
    runonce: bool,
    missing: int,
    max_gap: int | None,
    silent: int,
) -> None:
    torn = bars.drop(bars.index[200 : 200 + missing])
    cerebro = host(feed(torn), runonce=runonce)
    cerebro.addstrategy(Shown, checkpoint=checkpoint_path, max_gap=max_gap)
    values = series(cerebro.run()[0].values, len(torn))
    assert np.isnan(values[200:]).sum() == silent and np.isfinite(values[149:200]).all()
    assert np.isnan(values[200 : 200 + silent]).all()
