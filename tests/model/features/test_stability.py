"""Twenty ways in which people leak are caught and told, and twenty honest features are not accused.

Every message says what to change.
"""

import sys
from collections.abc import Callable, Iterator
from typing import ClassVar

import cloudpickle
import numpy as np
import pandas as pd
import pytest

from model.errors import FeatureError
from model.features.own import known_feature
from model.features.stability import require_stable, tolerances
from tests.helpers.makers import random_bars

# By value, or each fresh process would import this file, and torch with it.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

DAYS = random_bars(300, seed=4)
HOURS = random_bars(300, seed=4, freq="h")
TRIES = 40  # of a feature that is not accused: a fraction of those of training
Transform = Callable[[pd.DataFrame], "pd.DataFrame | pd.Series | np.ndarray"]


def made(transform: Transform, lookback: int = 21, exact: bool = False) -> object:
    """A feature of one column."""

    class Made:
        name = "made"

        def transform(self, bars: pd.DataFrame) -> pd.DataFrame:
            return pd.DataFrame({"x": np.asarray(transform(bars))}, index=bars.index)

    Made.lookback, Made.exact = lookback, exact  # type: ignore[attr-defined]
    return Made()


def refusal(transform: Transform, lookback: int = 21, bars: pd.DataFrame = DAYS) -> str:
    with pytest.raises(FeatureError) as told:
        require_stable([known_feature(made(transform, lookback))], {"": bars})
    return str(told.value)


def returns(bars: pd.DataFrame) -> pd.Series:
    return bars["close"].pct_change()


def weekly(bars: pd.DataFrame) -> pd.Series:
    return bars["close"].resample("W-FRI", label="left").last()


def kalman(bars: pd.DataFrame) -> np.ndarray:
    """A mean forwards and backwards, as a smoother takes it."""
    forwards = bars["close"].ewm(span=3).mean()
    return (forwards + bars["close"][::-1].ewm(span=3).mean()[::-1]).to_numpy()


SIGN, WHOLE, LATER, BEGIN = (
    "Turn the sign of the shift",
    "over the whole series",
    "Shift it to the bar that completes it",
    "depends on where the bars begin",
)
LEAKS: dict[str, tuple[Transform, str]] = {
    "shift of the wrong sign": (lambda b: returns(b).shift(-1), "looks 1 bar ahead. " + SIGN),
    "return to a later close": (lambda b: b["close"].shift(-5) / b["close"], "looks 5 bars ahead"),
    "centred mean": (lambda b: b["close"].rolling(11, center=True).mean(), "looks 5 bars ahead"),
    "centred mean of what there is": (
        lambda b: b["close"].rolling(5, center=True, min_periods=1).mean(),
        "looks 2 bars ahead",
    ),
    "window that looks forwards": (
        lambda b: b["high"].rolling(pd.api.indexers.FixedForwardWindowIndexer(window_size=3)).max(),
        "looks 2 bars ahead",
    ),
    "gradient": (lambda b: np.gradient(b["close"].to_numpy()), "looks 1 bar ahead"),
    "convolution of the same length": (
        lambda b: np.convolve(b["close"], np.ones(5) / 5, mode="same"),
        "looks 2 bars ahead",
    ),
    "series turned round": (
        lambda b: returns(b)[::-1].rolling(4).mean()[::-1],
        "looks 3 bars ahead",
    ),
    "score by mean and deviation of all": (
        lambda b: (b["close"] - b["close"].mean()) / b["close"].std(),
        WHOLE,
    ),
    "share of the maximum of all": (lambda b: b["close"] / b["close"].max(), WHOLE),
    "rank among all": (lambda b: b["close"].rank(pct=True), WHOLE),
    "bins by quantiles of all": (lambda b: pd.qcut(b["close"], 10, labels=False), WHOLE),
    "trend fitted on all": (
        lambda b: b["close"] - np.polyval(np.polyfit(range(len(b)), b["close"], 1), range(len(b))),
        WHOLE,
    ),
    "median of all as a fill": (
        lambda b: b["close"].where(b["close"].index.day % 2 == 0).fillna(b["close"].median()),
        WHOLE,
    ),
    "backward fill": (lambda b: b["close"].where(b.index.day_of_week == 4).bfill(), LATER),
    "interpolation": (lambda b: b["close"].where(b.index.day_of_week == 4).interpolate(), LATER),
    "week labelled on the left": (lambda b: weekly(b).reindex(b.index, method="ffill"), LATER),
    "last close of the week": (
        lambda b: b.groupby(pd.Grouper(freq="W"))["close"].transform("last"),
        LATER,
    ),
    "merge on the next time": (
        lambda b: pd.merge_asof(
            b[["close"]],
            b[["close"]].iloc[6::7].add_suffix("_then"),
            left_index=True,
            right_index=True,
            direction="forward",
        )["close_then"],
        LATER,
    ),
    "merge on the nearest time": (
        lambda b: pd.merge_asof(
            b[["close"]],
            b[["close"]].iloc[6::7].add_suffix("_then"),
            left_index=True,
            right_index=True,
            direction="nearest",
        )["close_then"],
        LATER,
    ),
    "smoother of both directions": (kalman, "of a filter the way forwards alone"),
    "return clipped at quantiles of all": (
        lambda b: returns(b).clip(returns(b).quantile(0.01), returns(b).quantile(0.99)),
        WHOLE,
    ),
    "turning point that later bars confirm": (
        lambda b: (b["high"] == b["high"].rolling(11, center=True, min_periods=1).max()) * 1.0,
        LATER,
    ),
    "week that ends with its mean": (
        lambda b: b.groupby(pd.Grouper(freq="W"))["close"].transform("mean"),
        LATER,
    ),
}


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    """Divisions by nothing of a transform under test are its own."""
    with np.errstate(all="ignore"):
        yield


@pytest.mark.parametrize("name", LEAKS)
def test_a_leak_is_caught_and_the_message_says_what_to_change(name: str) -> None:
    transform, words = LEAKS[name]
    told = refusal(transform)
    assert words in told and "without the bars after it" in told
    assert "column 'x' at 20" in told and "(bar " in told


TOO_SHORT: dict[str, tuple[Transform, int, str]] = {
    "mean of more bars than stated": (
        lambda b: b["close"].rolling(20).mean(),
        10,
        "Raise `lookback` to 20.",
    ),
    "exponential mean": (lambda b: returns(b).ewm(span=5).mean(), 10, "Raise `lookback` to "),
    "sum of all before": (lambda b: returns(b).cumsum(), 21, BEGIN),
    "number of the row": (lambda b: range(len(b)), 21, BEGIN),
    "maximum of all before": (lambda b: b["close"].cummax(), 21, BEGIN),
    "bins that begin with the first bar": (
        lambda b: (np.arange(len(b)) // 5 * 5 == np.arange(len(b))).astype(float),
        21,
        BEGIN,
    ),
}


@pytest.mark.parametrize("name", TOO_SHORT)
def test_a_feature_that_looks_further_back_is_told_the_lookback_that_mends_it(name: str) -> None:
    transform, lookback, words = TOO_SHORT[name]
    told = refusal(transform, lookback)
    assert words in told and f"of the {lookback} bars that end there, its `lookback`" in told


def test_rounding_is_told_as_such_and_a_row_by_itself_has_none() -> None:
    def noisy(bars: pd.DataFrame) -> pd.Series:
        level = bars["close"] + 1e6
        return (level - level.rolling(3).mean()) / level.rolling(3).std()

    told = refusal(noisy, 3)
    assert "it is rounding" in told and "let the class have `exact = True`" in told
    require_stable([known_feature(made(noisy, 3, exact=True))], {"": DAYS})


def test_the_lookback_that_is_told_mends_it() -> None:
    told = refusal(lambda b: returns(b).ewm(span=5).mean(), 10)
    lookback = int(told.rpartition("Raise `lookback` to ")[2].rstrip("."))
    assert 30 < lookback < 120
    known = known_feature(made(lambda b: returns(b).ewm(span=5).mean(), lookback))
    require_stable([known], {"": DAYS})


def weeks_before(bars: pd.DataFrame) -> pd.Series:
    """The return of the last whole week, from the Saturday after it on."""
    closes = bars["close"].resample("W-FRI", label="right", closed="right").last()
    known = closes.pct_change().shift(1)
    return known.reindex(bars.index, method="bfill")


def rsi(bars: pd.DataFrame) -> pd.Series:
    moves = bars["close"].diff()
    rises, falls = moves.clip(lower=0).rolling(14).sum(), -moves.clip(upper=0).rolling(14).sum()
    return rises / (rises + falls)


def session_range(bars: pd.DataFrame) -> pd.Series:
    """How far the day has gone so far, which needs the bars of one day."""
    days = bars.groupby(bars.index.normalize())
    return (days["high"].cummax() - days["low"].cummin()) / days["open"].transform("first")


HONEST: dict[str, tuple[Transform, int, pd.DataFrame]] = {
    "return": (returns, 2, DAYS),
    "momentum": (lambda b: b["close"].pct_change(20), 21, DAYS),
    "mean": (lambda b: b["close"] / b["close"].rolling(20).mean(), 20, DAYS),
    "deviation": (lambda b: returns(b).rolling(20).std(), 21, DAYS),
    "skewness": (lambda b: returns(b).rolling(30).skew(), 31, DAYS),
    "correlation": (lambda b: returns(b).rolling(30).corr(b["volume"].diff()), 31, DAYS),
    "rank among the last": (lambda b: b["close"].rolling(50).rank(pct=True), 50, DAYS),
    "median": (lambda b: b["volume"].rolling(25).median(), 25, DAYS),
    "score by the last bars": (
        lambda b: (b["close"] - b["close"].rolling(40).mean()) / b["close"].rolling(40).std(),
        40,
        DAYS,
    ),
    "strength": (rsi, 15, DAYS),
    "exponential mean, long enough": (lambda b: returns(b).ewm(span=5).mean(), 60, DAYS),
    "crossing": (
        lambda b: b["close"].ewm(span=3).mean() > b["close"].ewm(span=6).mean(),
        90,
        DAYS,
    ),
    "drawdown": (lambda b: b["close"] / b["close"].rolling(50).max() - 1, 50, DAYS),
    "weekday": (lambda b: b.index.day_of_week, 1, DAYS),
    "last whole week": (weeks_before, 30, DAYS),
    "forward fill": (lambda b: b["close"].where(b.index.day_of_week == 4).ffill(), 7, DAYS),
    "days of the session so far": (session_range, 24, HOURS),
    "windows of numpy": (
        lambda b: np.r_[
            np.zeros(9), np.lib.stride_tricks.sliding_window_view(b["close"], 10).std(1)
        ],
        10,
        DAYS,
    ),
    "windows by time": (lambda b: returns(b).rolling("12h").sum(), 13, HOURS),
    "constant": (lambda b: np.full(len(b), 3.0), 1, DAYS),
    "missing now and then": (lambda b: b["volume"].where(b["volume"] > 3_000), 1, DAYS),
    "changes its bars": (lambda b: b.__setitem__("close", b["close"] * 2) or b["close"], 1, DAYS),
}


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_feature_is_not_accused(name: str) -> None:
    transform, lookback, bars = HONEST[name]
    require_stable([known_feature(made(transform, lookback))], {"": bars}, TRIES)


def test_twenty_of_each_are_tried() -> None:
    assert len(LEAKS) >= 20 and len(HONEST) >= 20


def test_random_numbers_and_what_is_kept_from_call_to_call_are_told() -> None:
    draw = np.random.default_rng(1)
    told = refusal(lambda b: draw.normal(size=len(b)))
    assert "when it is asked a second time: it draws random numbers, or it keeps" in told


class Remembers:
    """What a class may keep, and so know tomorrow's close the second time it is asked."""

    name, lookback = "remembers", 5
    longest: ClassVar[list[pd.DataFrame]] = []

    def transform(self, bars: pd.DataFrame) -> pd.DataFrame:
        if not self.longest or len(bars) > len(self.longest[0]):
            self.longest[:] = [bars]
        later = self.longest[0]["close"].shift(-1).reindex(bars.index)
        return pd.DataFrame({"later": (later / bars["close"] - 1).fillna(0.0)})


class FitsOnce(Remembers):
    """A scale that is fitted at the first call with enough bars."""

    fitted: ClassVar[list[float]] = []

    def transform(self, bars: pd.DataFrame) -> pd.DataFrame:
        if not self.fitted and len(bars) > 200:
            self.fitted.append(bars["close"].mean())
        return pd.DataFrame({"scaled": bars["close"] / (*self.fitted, 1.0)[0]})


class Once(Remembers):
    """A mean of the first bars that it is ever shown, which are made up."""

    mean: float | None = None

    def transform(self, bars: pd.DataFrame) -> pd.DataFrame:
        if self.mean is None:
            self.mean = bars["volume"].mean()
        return pd.DataFrame({"x": bars["volume"] / self.mean})


@pytest.mark.parametrize("kind", [Remembers, FitsOnce, Once])
def test_what_is_known_only_from_an_earlier_call_is_found(kind: type[Remembers]) -> None:
    # What other tests have left there would come with the class, which is sent by value.
    Remembers.longest.clear()
    FitsOnce.fitted.clear()
    with pytest.raises(
        FeatureError, match="in a fresh process that has seen none after it: it kee"
    ):
        require_stable([known_feature(kind())], {"": DAYS})


def test_what_is_made_when_it_is_first_needed_is_no_leak() -> None:
    class Weighted(Remembers):
        _first: float | None = None

        def transform(self, bars: pd.DataFrame) -> pd.DataFrame:
            if self._first is None:
                self._first = 2.5
            return pd.DataFrame({"x": bars["volume"] * self._first})

    require_stable([known_feature(Weighted())], {"": DAYS})


def test_a_feature_called_row_by_row_cannot_look_ahead_but_must_repeat_itself() -> None:
    ahead = known_feature(made(lambda b: b["close"].bfill().rolling(5).mean(), 5, exact=True))
    require_stable([ahead], {"": DAYS})
    draw = np.random.default_rng(1)
    with pytest.raises(FeatureError, match="a second time"):
        require_stable(
            [known_feature(made(lambda b: draw.normal(size=len(b)), exact=True))], {"": DAYS}
        )


def test_a_feature_is_tried_once_on_the_same_bars() -> None:
    calls = []
    known = known_feature(made(lambda b: calls.append(len(b)) or b["open"] / 7, 3))
    require_stable([known], {"": DAYS})
    tried = len(calls)
    require_stable([known], {"": DAYS})
    assert len(calls) == tried > 200


def test_a_difference_is_measured_in_deviations_of_its_column() -> None:
    rows = np.array([[1e6, 5.0], [3e6, 5.0], [np.nan, 5.0]])
    assert tolerances(rows).tolist() == pytest.approx([1.0, 5e-6])
