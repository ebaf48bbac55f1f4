"""One way to labels: what is known when, what is tied, and what trades become."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import BarsError
from model.labels.barrier import Barrier
from model.labels.labelling import Labelling
from model.labels.moves import make_labels, soft_targets
from model.training.config import TrainConfig
from model.training.data import describe_labels, describe_purge, prepare
from model.training.preprocessor import DataPreprocessor
from tests.helpers.makers import random_bars

LEVELS = Barrier(stop_loss="2%", take_profit="1.5atr", commission=2.0, slippage=1.0)
TRADE = Labelling("barrier", 8, LEVELS)
CONFIG = TrainConfig(
    label="barrier", horizon=8, stop_loss="2%", take_profit="1.5atr", batch_size=16
)


@pytest.mark.parametrize(("label", "horizon"), [("open", 1), ("open", 3), ("close", 2)])
def test_a_move_stands_at_its_decision_and_is_known_when_its_last_price_is(
    label: str, horizon: int
) -> None:
    bars = random_bars(100)
    found = Labelling(label, horizon).labels(bars, softness=1.0)
    expected = make_labels(bars, label, horizon).shift(-1)
    np.testing.assert_array_equal(found.values, expected)
    np.testing.assert_array_equal(
        found.targets, soft_targets(bars, label, horizon).shift(-1).to_numpy()
    )
    # A label before the first bar is of no decision.
    assert ((found.known < 100) == expected.notna())[:-1].all() and found.known[-1] == 100
    assert found.known[0] == horizon + (label == "open")


def test_what_did_not_move_is_tied() -> None:
    bars = pd.DataFrame({"open": [5.0, 5, 6, 6, 5], "close": [5.0, 5, 6, 6, 5]})
    assert Labelling().labels(bars).tied.tolist() == [False, True, False, False, False]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), horizon=st.integers(2, 30))
def test_a_trade_is_the_same_with_only_the_bars_up_to_its_end(seed: int, horizon: int) -> None:
    bars, place = random_bars(120, seed), seed % 100
    labelling = Labelling("barrier", horizon, LEVELS)
    found = labelling.labels(bars, softness=1.0)
    for cut in (int(found.known[place]), int(found.known[place]) - 1):
        again = labelling.labels(bars.iloc[: cut + 1], softness=1.0)
        # Until then nobody knows.
        if place < len(again.values):
            whole = cut == found.known[place] < len(bars)
            for part in ("values", "targets"):
                expected = getattr(found, part)[place] if whole else np.nan
                np.testing.assert_equal(getattr(again, part)[place], expected)


def test_a_target_of_a_trade_lies_on_its_labels_side_and_grows_with_the_gain() -> None:
    bars = random_bars(400)
    found = TRADE.labels(bars, softness=1.0)
    known = np.isfinite(found.values) & (np.arange(400) > 30)
    assert ((found.targets > 0.5) == (found.values == 1))[known].all()
    assert len(set(found.targets[known].tolist())) > 100
    np.testing.assert_array_equal(TRADE.labels(bars).targets, TRADE.labels(bars).values)


def test_training_keeps_windows_whose_trade_is_over_when_the_next_part_begins() -> None:
    bars = random_bars(600)
    data, labels = prepare(bars, CONFIG), CONFIG.labelling.labels(bars)
    for part, later in ((data.train, data.validation), (data.validation, data.test)):
        border = bars.index.get_loc(later.timestamps[0])
        places = bars.index.get_indexer(part.timestamps)
        assert (labels.known[places] <= border).all()
        # Between its first and its last decision all others that are known in time are there.
        span = np.arange(places[0], border)
        in_time = (labels.known[span] <= border) & np.isfinite(labels.values[span])
        np.testing.assert_array_equal(places, span[in_time])
        assert len(places) < border - places[0]
    assert data.trained_until <= data.test.timestamps[0]
    assert data.trained_until == bars.index[labels.known[places].max()]


def test_windows_of_which_one_bar_reaches_both_levels_are_left_out_and_counted() -> None:
    bars = random_bars(600)
    config = TrainConfig(
        label="barrier", horizon=20, stop_loss="1%", take_profit="1%", batch_size=16
    )
    data = prepare(bars, config)
    labels = config.labelling.labels(bars)
    both = int(labels.ambiguous[149:-1].sum())
    assert data.unlabelled.both_levels == both > 10
    assert np.isnan(labels.values[labels.ambiguous]).all() and np.isfinite(data.labels).all()
    told = describe_labels({"bars": bars}, config)
    assert f"; without a label are {int(labels.ambiguous.sum())} windows of which one bar" in told
    assert "of the trades gain after costs; of the last windows up to 21 windows must" in told
    assert describe_purge(config).startswith("up to 20 windows before each later part")


def test_too_few_windows_with_a_label_are_refused() -> None:
    config = TrainConfig(
        label="barrier", horizon=5, stop_loss="0.01%", take_profit="0.01%", batch_size=64
    )
    with pytest.raises(BarsError, match="got .* without a label are .* reaches both levels"):
        prepare(random_bars(300), config)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"label": "barrier", "horizon": 5}, "`take_profit` or `stop_loss` must be given with"),
        ({"label": "barrier", "stop_loss": "2%"}, "`horizon` must be a whole number from 2 with "),
        (
            {"label": "barrier", "horizon": 5, "stop_loss": "2"},
            "`stop_loss` must be a number above 0 with its unit",
        ),
        (
            {"label": "barrier", "horizon": 5, "stop_loss": "2%", "commission": -1.0},
            "`commission` must be a number of basis points from 0",
        ),
        ({"take_profit": "2%", "slippage": 1.0}, "`take_profit`, `slippage` must be left out with"),
        (
            {"label": "barrier", "horizon": 5, "stop_loss": "2%", "outcome": "relative"},
            "`outcome` must be 'direction' with label='barrier'",
        ),
        ({"label": "high"}, "`label` must be one of open, close, barrier, or one of your own"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as refusal:
        TrainConfig(**given)  # type: ignore[arg-type]
    assert message in str(refusal.value)


def test_a_barrier_asks_for_as_many_bars_as_its_longest_trade() -> None:
    barrier, move = DataPreprocessor(label="barrier", horizon=9), DataPreprocessor(horizon=9)
    assert barrier.bars_needed(100) == move.bars_needed(100)


def test_what_a_forecast_is_about_stands_in_words() -> None:
    assert str(Labelling("close", 2)) == "the move from this close to the close 2 bars later"
    assert str(TRADE) == (
        "a long trade from the next bar's open: take profit 1.5atr, stop loss 2%, 3 basis points "
        "per side, 8 bars at the most"
    )
