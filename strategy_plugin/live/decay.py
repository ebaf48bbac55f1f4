"""Whether a model still does live what it did in the backtest: two charts of cumulated evidence.

Both are Page's CUSUM: they add up the log likelihood ratio of "it is no longer so" against "it is
as it was", never fall below 0, and give alarm above a limit. Of all rules with as few false alarms
none finds a change earlier in the worst case (Page 1954; Moustakides 1986).
"""

import math
from collections import deque
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtri, stdtr

from model.labels.moves import MOVES, relative_labels
from strategy_plugin.live.rules import BASIS_POINT

# Bars from one false alarm to the next, in the mean. Both charts together give at most one in
# 1,000, as the limit is not exact; what fills cost is found soon enough with the smaller part.
CALIBRATION_RUN, COST_RUN = 1_700, 6_000
OVERSHOOT = 1.166  # of a normal step beyond the limit, in its deviations (Siegmund 1985)
FEWEST = 30  # forecasts or fills before a chart may give alarm
PRIOR = 50.0  # bars that the mean forecast is held to be one half for
LEAST_SPREAD = 0.1  # basis points: prices are rounded
MOST_DEVIATIONS = 3.0  # that a single fill counts for


@lru_cache(maxsize=1024)
def limit(information: float, run_length: float) -> float:
    """Return the level at which a chart gives a false alarm once in so many steps, in the mean.

    information: the mean square of the steps. Source: Siegmund, Sequential Analysis (1985), for
    the CUSUM of normal steps whose mean is minus half of their variance.
    """
    spread = math.sqrt(information)
    far: float = brentq(lambda x: math.expm1(x) - x - run_length * information / 2, 1e-9, 700.0)
    return max(far - OVERSHOOT * spread, spread)


class Chart:
    """One CUSUM; it begins anew after an alarm.

    since: steps since it last stood at 0, which is where a change most likely began.
    """

    def __init__(self, run_length: float) -> None:
        self.level, self.steps, self.since = 0.0, 0, 0
        self._run_length = run_length

    def add(self, step: float, information: float) -> bool:
        """Take a log likelihood ratio; True where it gives alarm.

        information: the mean square of such steps while all is as it was.
        """
        self.since = self.since + 1 if self.level else 1
        self.level, self.steps = max(0.0, self.level + step), self.steps + 1
        # Two digits: the limit is looked up rather than solved for on each bar.
        known = float(f"{information:.1e}")
        if self.steps < FEWEST or not known > 0 or self.level <= limit(known, self._run_length):
            return False
        self.level = 0.0
        return True


class CalibrationChart:
    """Whether outcomes still come as often as forecast: against the law that the edge is gone.

    Then "up" comes with the mean of all forecasts, whatever is said of a bar.
    """

    def __init__(self) -> None:
        self._chart = Chart(CALIBRATION_RUN)
        self._said, self._count, self._information = 0.5 * PRIOR, 0, 0.0
        self._hits: deque[tuple[bool, float]] = deque(maxlen=100_000)

    def add(self, outcomes: list[tuple[float, bool]]) -> str:
        """Take the probabilities said of one time and whether "up" came; "" or an alarm.

        Outcomes of one time move together: their mean step is taken, so that many names give no
        false alarms.
        """
        steps = []
        for said, up in outcomes:
            p = min(max(said, 1e-4), 1 - 1e-4)
            mean = self._said / (self._count + PRIOR)  # of what was said before
            if_up, if_down = math.log(mean / p), math.log((1 - mean) / (1 - p))
            steps.append(if_up if up else if_down)
            self._said, self._count = self._said + p, self._count + 1
            self._information += p * if_up**2 + (1 - p) * if_down**2
            self._hits.append((up == (p > mean), p if p > mean else 1 - p))
        information = self._information / self._count
        if not self._chart.add(math.fsum(steps) / len(steps), information):
            return ""
        last = list(self._hits)[-self._chart.since * len(outcomes) :]
        came, due = (sum(column) / len(last) for column in zip(*last, strict=True))
        return (
            f"the forecasts have lost their edge: of the last {len(last)} outcomes {came:.1%} came "
            f"as forecast, {due:.1%} were to"
        )


class CostChart:
    """Whether fills cost what the backtest takes for them: against one deviation more.

    A fill counts by its t-statistic against those before it, made normal: how far fills spread
    need not be known beforehand (Hawkins 1987).
    """

    def __init__(self, expected: float) -> None:
        self._chart, self._expected = Chart(COST_RUN), expected
        self._count, self._squares = 0, 0.0
        self._newest: deque[float] = deque(maxlen=1_000)

    def add(self, cost: float) -> str:
        """Take what a fill cost beside the open, in basis points; "" or an alarm."""
        excess, alarm = cost - self._expected, False
        if self._count:
            square = self._squares / self._count
            statistic = excess / math.sqrt(square + LEAST_SPREAD**2)
            deviations = float(ndtri(stdtr(self._count, statistic)))
            deviations = max(-MOST_DEVIATIONS, min(MOST_DEVIATIONS, deviations))
            alarm = self._chart.add(deviations - 0.5, 1.0)
        self._count, self._squares = self._count + 1, self._squares + excess**2
        self._newest.append(excess)
        if not alarm:
            return ""
        last = list(self._newest)[-self._chart.since :]
        mean = math.fsum(last) / len(last)
        return (
            f"fills have become dearer: the last {len(last)} cost {mean:.2f} "
            f"basis points more than the {self._expected:g} that the backtest takes"
        )


class Forecast(NamedTuple):
    """A live bar as its outcome is told from."""

    bar: str
    open: float
    close: float
    probability: float


class DecayWatch:
    """Reads the lines of a run, and gives alarm where live is no longer as the backtest.

    Parameters
    ----------
    symbols
        How many are traded.
    label, horizon, outcome
        What the probabilities are about, as the checkpoint has it; only those of moves are held
        against what came.
    slippage
        What a fill is to cost beside the open, in basis points.
    """

    def __init__(
        self, symbols: int, label: str, horizon: int, outcome: str, slippage: float
    ) -> None:
        self._symbols, self._label, self._horizon = symbols, label, horizon
        self._relative = outcome == "relative"
        self._calibration, self._cost = CalibrationChart(), CostChart(slippage)
        self._bars: dict[str, deque[Forecast]] = {}
        self._used: dict[str, int] = {}  # bars since the last forecast that was judged
        self._sent: dict[str, bool] = {}  # whether the line before sent an order
        self._due: dict[str, list[tuple[float, float]]] = {}  # forecast and move, by bar

    def take(self, line: Mapping[str, Any]) -> list[str]:
        """Take the line of a live bar; return its alarms in words."""
        return [alarm for alarm in (self._costs(line), self._outcomes(line)) if alarm]

    def _costs(self, line: Mapping[str, Any]) -> str:
        alarm, symbol = "", line["symbol"]
        if self._sent.get(symbol):
            for size, price in line.get("fills", []):
                worse = math.copysign(1, size) * (price / line["open"] - 1) / BASIS_POINT
                alarm = self._cost.add(worse) or alarm
        # Only what was ordered at the market was to be filled at the open.
        self._sent[symbol] = line["order"][:1] in ("+", "-")
        return alarm

    def _outcomes(self, line: Mapping[str, Any]) -> str:
        if self._label not in MOVES:
            return ""  # a trade's outcome takes more than the opens and closes of two bars
        symbol, ahead = line["symbol"], self._horizon + (self._label == "open")
        bars = self._bars.setdefault(symbol, deque(maxlen=ahead + 1))
        if bars and bars[-1].bar == line["bar"]:
            return ""  # decided once more after a restart
        said = math.nan if line["probability"] is None else line["probability"]
        bars.append(Forecast(line["bar"], line["open"], line["close"], said))
        if len(bars) <= ahead:
            return ""
        first = bars[0]
        # Moves that overlap would count one outcome several times.
        self._used[symbol] = self._used.get(symbol, self._horizon) + 1
        if math.isnan(first.probability) or self._used[symbol] < self._horizon:
            return ""
        self._used[symbol] = 0
        start, end = (
            (bars[1].open, bars[-1].open)
            if self._label == "open"
            else (
                first.close,
                bars[-1].close,
            )
        )
        return self._judge(first.bar, first.probability, math.log(end / start))

    def _judge(self, bar: str, said: float, move: float) -> str:
        """Take an outcome; those of one bar are judged together, as soon as all are there."""
        due = self._due.setdefault(bar, [])
        due.append((said, move))
        alarm = ""
        for other in [one for one in self._due if one < bar or len(due) == self._symbols]:
            probabilities, moves = zip(*self._due.pop(other), strict=True)
            ups = [one > 0 for one in moves]
            if self._relative:
                labels = relative_labels(np.array([moves]))[0]
                known = np.flatnonzero(np.isfinite(labels)).tolist()
                probabilities = tuple(probabilities[place] for place in known)
                ups = [bool(labels[place]) for place in known]
            if probabilities:
                alarm = self._calibration.add(list(zip(probabilities, ups, strict=True))) or alarm
        return alarm
