"""The parity certificate.

Features, probabilities and orders are the same in every clock that Backtrader has.
"""

from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from model.bars.sample import sample_bars
from model.checkpoint.checkpoint import Checkpoint
from model.features.table import FeatureEngineer
from strategy_plugin.decision import target
from tests.helpers.hosts import BARS, MODES, Fill, Shown, Watched, feed, host, series, shown, traded
from tests.helpers.makers import MERGED, random_bars, random_checkpoint

TOLERANCE = 1e-6
COUNT = len(BARS)
LIMITS = {"enter": 0.5, "exit": 0.5}


def weekly(cerebro: Any) -> None:
    cerebro.resampledata(cerebro.datas[0], timeframe=bt.TimeFrame.Weeks, name="weekly")


def slower(cerebro: Any) -> None:
    cerebro.adddata(feed(BARS.resample("3D").agg(MERGED), "slower", timeframe=bt.TimeFrame.Weeks))


def shorter(cerebro: Any) -> None:
    cerebro.adddata(feed(BARS.iloc[40:130], "shorter", timeframe=bt.TimeFrame.Weeks))


def replayed(cerebro: Any) -> None:
    cerebro.replaydata(
        feed(BARS.iloc[:60], "source"), timeframe=bt.TimeFrame.Weeks, name="replayed"
    )


# The host itself fails with exactbars=1 and a feed that has no bar at some step of another: see the
# last test but one.
BESIDES: dict[str, Callable[[Any], None]] = {
    "alone": lambda cerebro: None,
    "weekly": weekly,
    "slower": slower,
    "shorter": shorter,
    "replayed": replayed,
}
CLOCKS = [
    pytest.param(mode, beside, id=f"{beside}-{mode}")
    for beside in BESIDES
    for mode in MODES
    if not (beside in ("slower", "shorter") and mode.get("exactbars") == 1)
]


ROWS = FeatureEngineer().transform(BARS).to_numpy()
VALUES, STAMPS = BARS.to_numpy(), BARS.index.asi8


class Certified(Watched):
    """Compares, bit for bit, the bars behind every value and the feature rows made of them with
    those of training.
    """

    def __init__(self) -> None:
        super().__init__()
        self.compared: set[int] = set()

    def next(self) -> None:
        super().next()
        number, indicator = len(self.data), self.traded[0].signal.indicator
        if not 150 <= number <= len(self.shown["data"]) + 149:
            return
        values, stamps = indicator.inputs()
        assert (values == VALUES[number - 150 : number]).all() and (
            stamps == STAMPS[number - 150 : number]
        ).all()
        if indicator.mode == "next":
            assert (indicator._buffer.window == ROWS[number - 150 : number - 100]).all()
        elif number % 20 == 10:
            rows = FeatureEngineer().rows(values, stamps.view("datetime64[ns]"))
            assert (rows == ROWS[number - 150 : number - 100]).all()
        self.compared.add(number)


@pytest.mark.parametrize("mode, beside", CLOCKS)
def test_every_clock_shows_the_checkpoints_probabilities_and_sends_the_same_orders(
    model: Checkpoint,
    model_path: str,
    mode: dict[str, Any],
    beside: str,
) -> None:
    cerebro = host(feed(BARS), **mode)
    BESIDES[beside](cerebro)
    cerebro.addstrategy(Certified, checkpoint=model_path, allow_short=True, **LIMITS)
    strategy = cerebro.run()[0]
    expected = model.probabilities(BARS).to_numpy()
    assert len(strategy.compared) == len(expected)
    assert np.abs(series(strategy.shown["data"], COUNT)[149:] - expected).max() < TOLERANCE
    assert_same(strategy.fills["data"], reference(BARS, expected))


def weeks(bars: pd.DataFrame) -> pd.DataFrame:
    """Whole weeks from Monday to Sunday, stamped by their last day."""
    return bars.resample("W-SUN").agg(MERGED)


@pytest.fixture(scope="module")
def days() -> pd.DataFrame:
    return random_bars(7 * 175, seed=1, start="2018-01-01")  # a Monday


@pytest.fixture(scope="module")
def weekly_model(days: pd.DataFrame) -> Checkpoint:
    return random_checkpoint(weeks(days), seed=3)


REPLAYS: list[dict[str, Any]] = [
    {},
    {"preload": False},
    {"exactbars": 1},
    {"exactbars": -2},
    {"live": True},
]


@pytest.mark.parametrize("mode", REPLAYS, ids=str)
def test_a_replayed_feed_ends_each_bar_with_the_probability_of_the_whole_bar(
    days: pd.DataFrame,
    weekly_model: Checkpoint,
    tmp_path: Path,
    mode: dict[str, Any],
) -> None:
    weekly_model.save(tmp_path / "weekly.ckpt")
    cerebro = host(**mode)
    cerebro.replaydata(feed(days, "days"), timeframe=bt.TimeFrame.Weeks)
    strategy = shown(cerebro, str(tmp_path / "weekly.ckpt"))
    assert strategy.calls >= len(days) and len(strategy.values) == 175
    assert (
        np.abs(
            series(strategy.values, 175)[149:] - weekly_model.probabilities(weeks(days)).to_numpy()
        ).max()
        < TOLERANCE
    )


@pytest.mark.parametrize("mode", REPLAYS, ids=str)
def test_on_a_replayed_feed_the_strategy_decides_on_whole_bars_when_the_next_one_begins(
    days: pd.DataFrame,
    weekly_model: Checkpoint,
    tmp_path: Path,
    mode: dict[str, Any],
) -> None:
    weekly_model.save(tmp_path / "weekly.ckpt")
    cerebro = host(**mode)
    cerebro.replaydata(feed(days, "days"), timeframe=bt.TimeFrame.Weeks)
    strategy = traded(cerebro, checkpoint=str(tmp_path / "weekly.ckpt"), allow_short=True, **LIMITS)
    assert_same(
        strategy.fills["days"],
        replay_reference(days, weekly_model.probabilities(weeks(days)).to_numpy()),
    )


def test_a_resampled_feed_shows_the_probabilities_of_its_own_bars(
    days: pd.DataFrame,
    weekly_model: Checkpoint,
    tmp_path: Path,
) -> None:
    weekly_model.save(tmp_path / "weekly.ckpt")
    cerebro = host(feed(days, "days"))
    cerebro.resampledata(cerebro.datas[0], timeframe=bt.TimeFrame.Weeks)
    strategy = shown(cerebro, str(tmp_path / "weekly.ckpt"), data_number=1)
    expected = weekly_model.probabilities(weeks(days)).to_numpy()
    assert np.abs(series(strategy.values, 175)[149:] - expected).max() < TOLERANCE
    assert strategy.calls > 1_000  # many calls for each of the 175 bars


@pytest.fixture(scope="module")
def half_hours() -> pd.DataFrame:
    """Stamped by their close, as Backtrader takes the bars that it resamples to be."""
    return random_bars(4 * 175, seed=6, start="2024-01-01 00:30", freq="30min")


@pytest.mark.parametrize("stamp, label", [("open", "left"), ("close", "right")])
@pytest.mark.parametrize("compose", ["resampledata", "replaydata"])
def test_bars_made_within_the_day_are_stamped_as_in_training(
    half_hours: pd.DataFrame,
    tmp_path: Path,
    stamp: str,
    label: Any,
    compose: str,
) -> None:
    bars = half_hours.resample("2h", label=label, closed="right").agg(MERGED)
    checkpoint = random_checkpoint(bars, seed=3, stamp=stamp)
    checkpoint.save(tmp_path / "a.ckpt")
    cerebro = host()
    source = feed(half_hours, timeframe=bt.TimeFrame.Minutes, compression=30)
    getattr(cerebro, compose)(source, timeframe=bt.TimeFrame.Minutes, compression=120)
    cerebro.addstrategy(
        Shown,
        checkpoint=str(tmp_path / "a.ckpt"),
        stamp="close" if compose == "replaydata" else None,
    )
    values = series(cerebro.run()[0].values, 175)
    assert np.abs(values[149:] - checkpoint.probabilities(bars).to_numpy()).max() < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("mode", [{}, {"live": True}], ids=str)
def test_the_whole_sample_gives_the_same_orders_bar_by_bar_and_preloaded(
    tmp_path: Path, mode: dict[str, Any]
) -> None:
    bars = sample_bars()
    checkpoint = random_checkpoint(bars, seed=5)
    checkpoint.save(tmp_path / "sample.ckpt")
    strategy = traded(host(feed(bars), **mode), checkpoint=str(tmp_path / "sample.ckpt"), **LIMITS)
    expected = checkpoint.probabilities(bars).to_numpy()
    assert np.abs(series(strategy.shown["data"], len(bars))[149:] - expected).max() < TOLERANCE
    assert_same(strategy.fills["data"], reference(bars, expected, allow_short=False))


@pytest.mark.parametrize("beside", [slower, shorter])
def test_the_host_fails_by_itself_where_the_certificate_has_a_gap(
    beside: Callable[[Any], None],
) -> None:
    cerebro = host(feed(BARS), exactbars=1)
    beside(cerebro)
    cerebro.addstrategy(bt.Strategy)
    with pytest.raises(IndexError, match="deque index out of range"):
        cerebro.run()


def reference(bars: pd.DataFrame, probabilities: Any, allow_short: bool = True) -> list[Fill]:
    """What a trader does who decides at each close and fills at the next open, by plain loops."""
    assert np.nanmin(np.abs(probabilities - LIMITS["enter"])) > TOLERANCE, (
        "a decision would hang on rounding"
    )
    cash, position, order, fills = 10_000.0, 0.0, 0.0, []
    known = np.concatenate((np.full(len(bars) - len(probabilities), np.nan), probabilities))
    for number, (open, close, probability) in enumerate(
        zip(bars["open"], bars["close"], known), start=1
    ):
        if order:
            cash, position = cash - order * open - abs(order) * open * 0.001, position + order
            fills.append(Fill(number, order, open, "Completed"))
        held = int(np.sign(round(position, 9)))
        wanted = target(probability, held, allow_short=allow_short, **LIMITS)
        order = (
            wanted * 0.95 * (cash + position * close) / close - position if wanted != held else 0.0
        )
    return fills


def replay_reference(days: pd.DataFrame, probabilities: Any) -> list[Fill]:
    """What a trader does who learns on Monday what the week was, and fills at Tuesday's open."""
    mondays, tuesdays = days.iloc[::7], days.iloc[1::7]
    # The decision on week k is made on Monday of week k + 1; the broker's bar of that decision
    # closes there.
    shifted = pd.DataFrame(
        {"open": np.r_[np.nan, tuesdays["open"]], "close": np.r_[mondays["close"], np.nan]}
    )
    fills = reference(shifted, np.r_[probabilities[:-1], np.nan], allow_short=True)
    return [fill._replace(bar=fill.bar - 1) for fill in fills]


def assert_same(found: list[Fill], expected: list[Fill]) -> None:
    assert len(expected) > 5
    assert [(fill.bar, fill.status) for fill in found] == [
        (fill.bar, fill.status) for fill in expected
    ]
    np.testing.assert_allclose(
        [fill[1:3] for fill in found], [fill[1:3] for fill in expected], rtol=1e-9
    )


OPTIONS: list[dict[str, Any]] = [
    {"quicknotify": True},
    {"quicknotify": True, "runonce": False},
    {"oldsync": True},
    {"oldsync": True, "runonce": False},
    {"objcache": True},
    {"tradehistory": True},
    {"lookahead": 5},
    {"stdstats": True},
    {"cheat_on_open": True},
    {"cheat_on_open": True, "broker_coo": False},
]


@pytest.mark.parametrize("option", OPTIONS, ids=str)
def test_no_other_option_of_the_host_changes_an_order(
    model_path: str, option: dict[str, Any]
) -> None:
    params = {"checkpoint": model_path, "allow_short": True, "stop_loss": "4%", **LIMITS}
    cerebro = host(feed(BARS), **option)
    cerebro.addwriter(bt.WriterFile, csv=True, out=StringIO())
    assert traded(cerebro, **params).fills == traded(host(feed(BARS)), **params).fills
