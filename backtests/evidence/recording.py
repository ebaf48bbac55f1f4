"""A run of Backtrader as recorded bar by bar, and the returns that it comes to.

A recording is arrays of numbers: it travels between processes, and the run does not.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from backtests.evidence.alpha import HOLD
from backtests.evidence.returns import (
    CASH,
    COSTS,
    FILLS,
    FORECASTS,
    TRIALS,
    DatedReturns,
    report_few,
    report_missing,
    returns_per_year,
)
from backtests.simulation.vectorised import Array
from model.bars.artefacts import FlagRecord, named_flags
from model.bars.faults import Findings, count
from model.bars.intervals import day
from model.errors import Setting
from strategy_plugin.feeds import NANOSECONDS_A_DAY, TimestampConversion

HOLD_ALL = "holding all in equal parts"
SECOND = 1 / 86_400  # of a day
BARS = "whether the bars were traded so"


def doubles() -> "array[float]":
    return array("d")


@dataclass
class RecordedData:
    """What one data feed showed.

    name: as the feed has it. closes: at every bar of the strategy, NaN before the first of its own.
    ended: the day number of its last bar. multiplier: of its commission scheme, 1 for shares.
    flags: what its bars say against themselves, None where nobody looked.
    """

    name: str
    closes: "array[float]" = field(default_factory=doubles)
    ended: float = np.nan
    multiplier: float = 1.0
    flags: Sequence[FlagRecord] | None = None


@dataclass
class Recording:
    """What a strategy's account was worth at every bar, and what else its returns need.

    Parameters
    ----------
    name
        Of the strategy.
    datas
        What each of its feeds showed.
    times
        Day numbers of its bars, as Backtrader counts them.
    values
        What the account was worth at each bar's close, what was paid in during the bar among it.
    paid_in
        Pairs of a bar's number and what was paid in after its fills, below 0 for out.
    paid_ahead
        The same of what came after the bar's close, and so could be spent at the next bar's open.
    fills
        Triples of a bar's number, the data's and the units held after the fill.
    first
        The number of the first bar at which the strategy decided; None where it came to none.
    at_opens
        Whether all orders that were filled were decided at a close and bought at the market.
    costs
        Whether anything was paid for trading.
    learnt_until
        Until when a model that the strategy asks has seen prices; None where it asks none of ours.
    sharing
        The names of other strategies that traded the same account.
    """

    name: str
    datas: list[RecordedData]
    times: "array[float]" = field(default_factory=doubles)
    values: "array[float]" = field(default_factory=doubles)
    paid_in: "array[float]" = field(default_factory=doubles)
    paid_ahead: "array[float]" = field(default_factory=doubles)
    fills: "array[float]" = field(default_factory=doubles)
    first: int | None = None
    at_opens: bool = True
    costs: bool = False
    learnt_until: pd.Timestamp | None = None
    sharing: list[str] = field(default_factory=list)

    @property
    def dates(self) -> pd.DatetimeIndex:
        """The bars' timestamps: dates, where all lie at a day's very beginning or end."""
        numbers = np.array(self.times)
        # Backtrader's readers stamp a daily bar 23:59:59.99999, DataFrames midnight.
        are_dates = bool((np.minimum(numbers % 1, 1 - numbers % 1) < SECOND).all())
        conversion = TimestampConversion(grid=NANOSECONDS_A_DAY if are_dates else 0)
        return pd.DatetimeIndex(conversion.timestamps(numbers).view("datetime64[ns]"), name="date")


def dated_returns(
    recording: Recording, *, neutral: bool = False, bars_per_year: float | None = None
) -> DatedReturns:
    """Return the returns of a run, time-weighted around what was paid in and out.

    They are held against the datas that were traded (all, where none was), held in equal parts from
    close to close: a data counts from its second close to its last, and on a day on which it
    has no bar it moves nowhere. The first return is that of the bar after the first decision.

    Parameters
    ----------
    neutral
        The book is declared neutral: it is held against cash.
    bars_per_year
        How many bars a year has; by default as their timestamps show.

    Raises
    ------
    BarsError
        They cannot be judged; the message lists every kind of problem.
    """
    findings, dates = Findings(recording.name), recording.dates
    if recording.sharing:
        findings.fault(
            f"its account must be its own, got one that {', '.join(recording.sharing)} traded too: "
            "the returns are those of all together. Run each in a Cerebro of its own."
        )
        findings.raise_faults()
    held = _held(recording)
    traded = sorted({int(number) for number in recording.fills[1::3]})
    # A strategy that never traded is held against all it could have had.
    chosen = traded or list(range(len(recording.datas)))
    against = [recording.datas[number] for number in chosen]
    moves = _moves(recording)
    # What a model earns on bars that it has learnt from proves nothing.
    learnt_until = recording.learnt_until
    learnt = 0 if learnt_until is None else int(dates.searchsorted(learnt_until))
    start = max(_start(recording, moves[:, chosen]), learnt)
    values, returns = _time_weighted(recording)
    report_few(len(dates) - 1 - start, findings)
    findings.raise_faults()
    rows = slice(start + 1, None)
    _judge_values(values, returns, dates, start, findings)
    if not neutral:
        _judge_closes(against, dates, findings)
    # Of the bars judged: those before may have had other hours.
    periods = returns_per_year(dates[rows], bars_per_year, findings)
    findings.raise_faults()
    benchmark = np.zeros(len(dates))
    if not neutral:
        # In equal parts of those that have a bar; where none has, nothing moves.
        benchmark = pd.DataFrame(moves[:, chosen]).mean(axis=1).fillna(0.0).to_numpy()
    weights, moves = _weights(recording, held, values), np.nan_to_num(moves)
    return DatedReturns(
        name=recording.name,
        start=dates[start],
        dates=dates[rows],
        returns=returns[rows],
        benchmark=benchmark[rows],
        benchmark_name=CASH if neutral else (HOLD if len(chosen) == 1 else HOLD_ALL),
        periods_per_year=periods,
        unseen=_unseen(recording, against, bool(traded), learnt),
        timing=timing(weights[rows], moves[rows], benchmark[rows]) if recording.at_opens else None,
        exposed=(held[rows] != 0).any(axis=1),
        instruments=[recording.datas[number].name for number in traded],
        flags=named_flags((data.name, data.flags or ()) for data in against),
    )


def timing(weights: Array, moves: Array, benchmark: Array) -> Array:
    """Return what timing and choice gain at each bar, filled at the close decided at: (n,).

    It is (weight - its mean) times (move - its mean), as of every verdict, and of several
    instruments what the mean weights gain beside the benchmark, which is choice and no exposure.

    Parameters
    ----------
    weights
        Share of the account in each instrument over each bar: (n, k).
    moves
        From the close before to that of the bar, 0 where there is no bar: (n, k).
    benchmark
        Its returns: (n,).
    """
    means = weights.mean(axis=0)
    timed = ((weights - means) * (moves - moves.mean(axis=0))).sum(axis=1)
    return np.asarray(timed + (moves - benchmark[:, None]) @ means)


def _held(recording: Recording) -> Array:
    """Return the units of each data held at each bar's close: (n, k)."""
    # Fills, not orders: what was held is what was filled.
    held = np.zeros((len(recording.times), len(recording.datas)))
    fills = np.array(recording.fills).reshape(-1, 3)
    for number in range(held.shape[1]):
        bars, _, units = fills[fills[:, 1] == number].T
        # The last fill at or before each bar; before the first one nothing is held.
        last = np.searchsorted(bars, np.arange(len(held)), side="right")
        held[:, number] = np.r_[0.0, units][last]
    return held


def _moves(recording: Recording) -> Array:
    """Return each data's move from the close before, NaN before its second and after its last."""
    closes = np.array([data.closes for data in recording.datas]).T
    with np.errstate(all="ignore"):
        moves = np.r_[np.full((1, closes.shape[1]), np.nan), closes[1:] / closes[:-1] - 1]
    # Backtrader goes on to show the last close of a data that has ended: no move of 0 is known.
    ended = np.array([data.ended for data in recording.datas])
    return np.where(np.array(recording.times)[:, None] > ended, np.nan, moves)


def _start(recording: Recording, moves: Array) -> int:
    """Return the bar from which returns count.

    It is the first decision, or the close before the first fill of one who trades earlier, but none
    before the benchmark has a close.
    """
    n = len(recording.times)
    decided = n if recording.first is None else recording.first
    filled = int(recording.fills[0]) - 1 if recording.fills else n
    known = np.isfinite(moves).any(axis=1)
    begun = int(known.argmax()) - 1 if known.any() else 0
    return max(0, min(decided, filled, n - 1), begun)


def _time_weighted(recording: Recording) -> tuple[Array, Array]:
    """Return what was at stake after each bar's close, and the return of each bar: (n,), (n,).

    What was paid in after a bar's fills earned nothing on it; what was paid in after its close may
    have been spent at the next open, and is at stake from there on.
    """
    values = np.array(recording.values)
    late, ahead = (
        np.bincount(pairs[:, 0].astype(int), pairs[:, 1], minlength=len(values))
        if len(pairs)
        else np.zeros(len(values))
        for pairs in (
            np.array(paid).reshape(-1, 2) for paid in (recording.paid_in, recording.paid_ahead)
        )
    )
    staked = values + ahead
    with np.errstate(all="ignore"):
        returns = np.r_[0.0, (values - late)[1:] / staked[:-1] - 1]
    return staked, returns


def _weights(recording: Recording, held: Array, staked: Array) -> Array:
    """Return the share of the account in each data over each bar, at the close before: (n, k)."""
    worth = np.array([data.multiplier * np.array(data.closes) for data in recording.datas]).T
    weights = np.zeros_like(held)
    weights[1:] = held[1:] * np.nan_to_num(worth[:-1]) / staked[:-1, None]
    return weights


def _judge_values(
    staked: Array, returns: Array, dates: pd.DatetimeIndex, start: int, findings: Findings
) -> None:
    """Report an account that was worth nothing, of which there is no return."""
    with np.errstate(all="ignore"):
        # Before and after what was paid in, which may have hidden that all was lost.
        worth = np.minimum(staked, (1 + returns) * np.r_[np.inf, staked[:-1]])
    worth[:start] = np.inf
    if (worth <= 0).any():
        at = int((worth <= 0).argmax())
        findings.fault(
            f"the account must be worth more than 0, got {worth[at]:,.2f} on {day(dates[at])}: "
            "from there on there are no returns. Trade less, or judge the run up to there."
        )
        return
    remedy = "Repair the prices of its feeds."
    report_missing(
        returns[start:], dates[start:], "the account's worth is no number", remedy, findings
    )


def _judge_closes(
    datas: Sequence[RecordedData], dates: pd.DatetimeIndex, findings: Findings
) -> None:
    """Report datas that cannot be held: a price of 0 or below, or none where there was one."""
    for data in datas:
        closes = np.array(data.closes)
        begun = np.isfinite(closes).cumsum() > 0
        wrong = begun & ~(closes > 0)
        if wrong.any():
            at = int(wrong.argmax())
            findings.fault(
                f"{data.name} must have closes above 0 to be held against, got {closes[at]:g} on "
                f"{day(dates[at])}. Repair them, or hold the book against cash with ",
                Setting("neutral", True),
                ".",
            )


def _unseen(
    recording: Recording, datas: Sequence[RecordedData], traded: bool, learnt: int
) -> list[str]:
    """Return what a verdict on the run cannot look at."""
    unseen = [FORECASTS]
    if learnt:
        unseen.append(f"the first {count(learnt, 'bar')}, which the model has learnt from")
    if not recording.at_opens:
        unseen.append(f"{FILLS}, since not all orders were decided at a close and at the market")
    if traded and not recording.costs:
        unseen.append(f"{COSTS}, of which the broker took none")
    if any(data.flags is None for data in datas):
        unseen.append(BARS)
    return [*unseen, TRIALS]
