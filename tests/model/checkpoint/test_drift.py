"""Drift: markets like those of training raise no alarm, others do within a window."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from backtests.synthetic.markets import market
from model import sample_bars
from model.checkpoint.checkpoint import Checkpoint
from model.checkpoint.scaler import MOST_OUT_OF_RANGE, UsualRanges, usual_ranges
from model.errors import CheckpointError
from model.features.table import FeatureEngineer
from model.training.config import TrainConfig
from model.training.fitting import fit
from strategy_plugin import TradingWarning
from strategy_plugin.instrument import UNLIKE_TRAINING
from tests.helpers import small_network  # noqa: F401  makes the architecture known
from tests.helpers.hosts import feed, host, traded
from tests.helpers.live import live, ticks
from tests.helpers.makers import random_bars, random_checkpoint

WINDOW = 50
ROWS = np.random.default_rng(0).normal(0, 1, (2_000, 3))


def test_a_usual_range_leaves_out_a_hundredth_on_either_side() -> None:
    usual = usual_ranges(ROWS)
    assert np.mean(usual.low > ROWS) == 0.01
    assert np.mean(usual.high < ROWS) == 0.01


def test_out_of_range_is_the_share_of_a_window_outside() -> None:
    usual = UsualRanges((0.0, 0.0), (1.0, 1.0))
    rows = np.array([[0.0, 1.0], [0.5, 1.1], [-0.1, 2.0], [np.nan, 0.5]])
    assert usual.out_of_range(rows, 2).tolist() == [0.25, 0.75, 0.5]


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        ((0.0,), (1.0, 1.0), "`low` and `high` must be equally long, got 1 and 2"),
        ((2.0,), (1.0,), "`low` must be finite and nowhere above `high`"),
        ((float("nan"),), (1.0,), "`low` must be finite"),
        ((0.0,), (float("inf"),), "`low` must be finite"),
    ],
)
def test_ranges_that_are_none_are_refused(
    low: tuple[float, ...], high: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        UsualRanges(low, high)


def halves(bars: pd.DataFrame) -> tuple[UsualRanges, np.ndarray]:
    """The ranges of the first seven tenths of bars, and the feature rows of the rest."""
    rows = FeatureEngineer().transform(bars).to_numpy()
    border = int(0.7 * len(rows))
    return usual_ranges(rows[:border]), rows[border:]


MARKETS = {name: market(name, 6_000).bars for name in ("regime", "volrev", "latch", "walk")} | {
    "nasdaq": sample_bars()
}


@pytest.mark.parametrize("name", MARKETS)
def test_the_rest_of_a_market_raises_no_alarm(name: str) -> None:
    usual, rows = halves(MARKETS[name])
    assert usual.out_of_range(rows, WINDOW).max() < MOST_OUT_OF_RANGE


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["regime", "volrev", "echo", "latch", "magecho", "walk", "walkdrift", "ar1"]
)
def test_ten_thousand_bars_of_a_market_raise_no_alarm(name: str) -> None:
    usual, rows = halves(market(name, 34_000).bars)
    assert len(rows) > 10_000 and usual.out_of_range(rows, WINDOW).max() < MOST_OUT_OF_RANGE


@pytest.mark.parametrize("name", MARKETS)
def test_inputs_ten_times_as_large_or_five_deviations_away_are_seen_within_a_window(
    name: str,
) -> None:
    usual, rows = halves(MARKETS[name])
    for moved in (
        10 * rows,
        rows + 5 * rows.std(axis=0),
        rows.mean(axis=0) + 5 * rows.std(axis=0) + 0 * rows,
    ):
        for start in range(WINDOW, len(rows) - WINDOW, 97):
            mixed = np.concatenate((rows[start - WINDOW : start], moved[start : start + WINDOW]))
            assert (usual.out_of_range(mixed, WINDOW) > MOST_OUT_OF_RANGE).any()


BARS = random_bars(420)
OUT = {"enter": 0.999, "exit": 0.999}  # nothing is traded


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that knows the usual ranges of random bars."""
    path = tmp_path_factory.mktemp("drift") / "a.ckpt"
    usual = usual_ranges(FeatureEngineer().transform(random_bars(3_000, seed=7)).to_numpy())
    random_checkpoint(BARS, usual=usual).save(path)
    return path


def wilder(bars: pd.DataFrame, start: int) -> pd.DataFrame:
    """The bars with moves in one direction only, each ten times as large, from one of them on."""
    steps = np.where(np.arange(len(bars)) < start, 1.0, 1.1)
    return bars.mul(np.cumprod(steps), axis=0).assign(volume=bars["volume"])


def test_a_checkpoint_that_knows_no_ranges_finds_nothing_strange(
    bars: pd.DataFrame, checkpoint: Checkpoint
) -> None:
    assert (
        checkpoint.forecast(FeatureEngineer().transform(bars).to_numpy()).out_of_range == 0
    ).all()


@pytest.mark.parametrize("runonce", [True, False])
def test_drift_is_said_once_and_its_bars_are_counted(path: Path, runonce: bool) -> None:
    with pytest.warns(
        TradingWarning,
        match="data 'data': [0-9]+% of what the model sees lies outside of its usual",
    ) as said:
        strategy = traded(
            host(feed(wilder(BARS, 300)), runonce=runonce), checkpoint=str(path), **OUT
        )
    assert len(said) == 1 and strategy.refusals()["data"][UNLIKE_TRAINING] > 420 - 300 - WINDOW


def test_live_drift_is_said_too(path: Path) -> None:
    with pytest.warns(
        TradingWarning,
        match="lies outside of its usual range in training, more than 25%. Train again",
    ):
        traded(host(live(["LIVE", *ticks(wilder(BARS, 300))])), checkpoint=str(path), **OUT)


def test_without_drift_nothing_is_said(path: Path) -> None:
    with warnings.catch_warnings(action="error"):
        assert (
            traded(host(feed(BARS)), checkpoint=str(path), **OUT).refusals()["data"][
                UNLIKE_TRAINING
            ]
            == 0
        )


def test_training_keeps_the_ranges_of_the_rows_that_it_learns_from(
    bars: pd.DataFrame, tmp_path: Path
) -> None:
    trained = fit(
        bars, TrainConfig(architecture="small", max_epochs=1, batch_size=32, sequence_length=5)
    )
    trained.save(tmp_path / "a.ckpt")
    rows = (
        FeatureEngineer()
        .transform(bars)
        .to_numpy()[: int(trained.parts["train"]["windows"] or 0) + 4]
    )
    assert Checkpoint.load(tmp_path / "a.ckpt").usual == usual_ranges(rows)


def test_ranges_of_other_features_are_refused(bars: pd.DataFrame) -> None:
    with pytest.raises(CheckpointError, match="usual ranges must be those of 86 features, got 85"):
        random_checkpoint(bars, golden=False, usual=UsualRanges((0.0,) * 85, (1.0,) * 85)).save(
            "nowhere"
        )
