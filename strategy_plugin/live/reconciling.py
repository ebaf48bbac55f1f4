"""What was traded live beside the backtest of the same bars: every difference with its cause.

A cause is sought bar by bar in what the journal says itself: it knows the bar that was seen, the
model, the account, the order, and its fills. So one cause is named where it happened, and not again
on every bar that is another one ever after.
"""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pandas as pd

from model.bars.intervals import day
from model.errors import BarsError
from model.files import as_file_name
from strategy_plugin.decision import RESTING
from strategy_plugin.journal import (
    Entry,
    Header,
    or_nan,
    read_journal,
    runs_of,
    timestamp_of,
)
from strategy_plugin.live.reference import PLAIN, Account, Lines, account_of, backtest
from strategy_plugin.live.rules import BASIS_POINT, permitted_size
from strategy_plugin.orders import DUST, REFUSED, OrderManager, OrderRules
from strategy_plugin.recorded import RecordedBroker

MISSED, LATE, RESTART = "missed bar", "late bar", "restart"
CORRECTED, UNKNOWN = "corrected bar", "bar not in the data"
MODEL, OTHER_RULE, SERIES = "model exchanged", "other rule", "other series"
OTHER_SIZE, OTHER_HAND = "other size", "other hand"
REJECT, ENDED, HALT = "reject", "order ended", "halt"
PARTIAL, SLIPPAGE = "partial fill", "slippage"
UNEXPLAINED = "unexplained"
SAME = 1e-9  # relative, of prices and of equity
SAME_PRICE = 1e-7  # of fills, which travel as means over parts
SAME_PROBABILITY = 2e-6


class Difference(NamedTuple):
    """One difference: where, its cause, what was and what the backtest has.

    money: what it cost against the backtest, where that can be told of it alone, else 0.
    """

    data: str
    bar: str
    cause: str
    what: str
    money: float = 0.0


class Step(NamedTuple):
    """A bar of the backtest beside what was traded on it; NaN where nothing was."""

    data: str
    bar: str
    position: float
    backtest_position: float
    equity: float
    backtest_equity: float
    causes: str


class Reconciliation(NamedTuple):
    """All bars side by side, and every difference in the order of time."""

    steps: list[Step]
    differences: list[Difference]

    @property
    def counts(self) -> Counter[str]:
        return Counter(difference.cause for difference in self.differences)


class _Run(NamedTuple):
    """The lines of one data in one run; `first` is the number of the first one decided on."""

    number: int
    lines: list[Entry]
    first: int


def reconcile(
    path: str | Path,
    bars: Mapping[str, pd.DataFrame],
    checkpoint: Path | None = None,
    series: Mapping[str, pd.DataFrame] = MappingProxyType({}),
) -> Reconciliation:
    """Hold what a journal tells against the backtest of the same bars.

    Parameters
    ----------
    path
        A journal of a live run, of its restarts too.
    bars
        Of each data by its name, as `read_bars` gives them; of a single one by any name.
    checkpoint
        Another place of the model than the journal names.
    series
        The bars of other series that the models read, by name.

    Returns
    -------
    Reconciliation
        Without differences if live was the backtest.

    Raises
    ------
    BarsError
        No journal, one without a live bar, or bars that do not cover it.
    """
    lines, _ = read_journal(path)  # a torn line's bar shows as missed
    runs = list(runs_of(lines))
    header = runs[0][0]
    bars = _matched(header, bars)
    by_data = {name: _runs_of_data(runs, name) for name in header["datas"]}
    first = {name: own[0].lines[own[0].first] for name, own in by_data.items() if own}
    if not first:
        raise BarsError(
            f"{path} must tell of a live bar that was decided on, got none: there is nothing to "
            "be reconciled yet."
        )
    account = account_of(first)
    said = {
        name: {line["bar"]: or_nan(line["probability"]) for run in own for line in run.lines}
        for name, own in by_data.items()
        if header["datas"][name] is None
    }
    spans = {name: _span(bars[name], own) for name, own in by_data.items() if own}
    reference = backtest(header, spans, account, said, checkpoint, series)
    differences = [
        difference
        for name, own in by_data.items()
        if own
        for difference in _Comparison(name, header, reference[name], own).differences()
    ]
    differences.sort(key=lambda difference: difference.bar)
    return _beside(by_data, reference, account, differences)


def _matched(header: Header, bars: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the bars by the names of the journal; refuse one that no backtest can be made of."""
    # As a file may be called: BTC-USD for BTC/USD, and spy for SPY.
    named = {as_file_name(name).lower(): frame for name, frame in bars.items()}
    # Of one of each there is nothing to mistake, whatever the file is called.
    if len(header["datas"]) == len(bars) == 1:
        named = {as_file_name(*header["datas"]).lower(): next(iter(bars.values()))}
    missing = [name for name in header["datas"] if as_file_name(name).lower() not in named]
    if missing:
        raise BarsError(
            f"`data` must hold bars of {', '.join(header['datas'])}, got none of "
            f"{', '.join(missing)}. Name each file after its symbol."
        )
    if header["sizer"] is None and "rebalance" not in header["params"]:
        raise ValueError(
            "the journal must be of a strategy with the sizer EquityShare, got another one, whose "
            "sizes no backtest can be made of here."
        )
    return {name: named[as_file_name(name).lower()] for name in header["datas"]}


def _runs_of_data(runs: list[tuple[Header, list[Entry]]], name: str) -> list[_Run]:
    """Return the runs in which a data had a live bar."""
    found = []
    for number, (_, entries) in enumerate(runs):
        own = [entry for entry in entries if entry.get("data") == name]
        live = [place for place, entry in enumerate(own) if entry["reason"] not in RESTING]
        if live:
            found.append(_Run(number, own, live[0]))
    return found


def _span(frame: pd.DataFrame, runs: list[_Run]) -> pd.DataFrame:
    """Return the bars of the history that the first run had, and those up to the last live one."""
    index = pd.DatetimeIndex(frame.index)
    frame = frame.set_axis(index.tz_convert("UTC").tz_localize(None) if index.tz else index)
    times = pd.DatetimeIndex(frame.index).as_unit("ns").asi8
    first, last = runs[0].lines[runs[0].first], runs[-1].lines[-1]
    start, stop = times.searchsorted([timestamp_of(first), timestamp_of(last) + 1]).tolist()
    if start == stop:
        raise BarsError(
            f"`data` must hold the bars from {day(first['bar'])} to {day(last['bar'])}, got those "
            f"from {day(frame.index[0])} to {day(frame.index[-1])}."
        )
    return frame.iloc[max(0, start - runs[0].first) : stop]


class _Comparison:
    """One data: its lines of all runs against those of the backtest."""

    def __init__(
        self, name: str, header: Header, reference: Mapping[str, Entry], runs: list[_Run]
    ) -> None:
        self._name, self._header, self._reference, self._runs = name, header, reference, runs
        terms = header.get("terms", PLAIN)
        self._lot = terms["lots"].get(name, DUST)
        self._slippage = terms["slippage"]
        self._order = sorted(reference)
        self._since = runs[0].lines[runs[0].first]["bar"]

    def differences(self) -> Iterator[Difference]:
        yield from self._bars()
        yield from self._restarts()
        for run in self._runs:
            yield from self._models(run)
            yield from self._series(run)
            yield from self._orders(run)

    def _found(self, bar: str, cause: str, what: str, money: float = 0.0) -> Difference:
        return Difference(self._name, bar, cause, what, money)

    def _bars(self) -> Iterator[Difference]:
        """Name bars that were not seen, seen too late, or seen with other prices."""
        gaps = [
            (before.lines[-1]["bar"], after.lines[after.first]["bar"])
            for before, after in zip(self._runs, self._runs[1:], strict=False)
        ]
        decided = _decided(self._runs)
        shown = {line["bar"]: line for run in self._runs for line in run.lines}
        last = self._runs[-1].lines[-1]["bar"]
        for bar, line in self._reference.items():
            if bar not in shown or bar < self._since or bar > last:
                if self._since <= bar <= last and not _within(bar, gaps):
                    yield self._found(bar, MISSED, "it never came, and nothing was decided on it")
                continue
            if bar not in decided and not _within(bar, gaps):
                what = "it came after its time, and nothing was decided on it"
                yield self._found(bar, LATE, what)
            other = [
                f"{column} {ours} instead of {theirs}"
                for column, ours, theirs in zip(
                    ("open", "high", "low", "close", "volume"),
                    shown[bar]["values"],
                    line["values"],
                    strict=True,
                )
                if not math.isclose(or_nan(ours), or_nan(theirs), rel_tol=SAME)
            ]
            if other:
                yield self._found(bar, CORRECTED, f"live it had {', '.join(other)}")
        for bar in shown:
            if bar >= self._since and bar not in self._reference:
                yield self._found(bar, UNKNOWN, "it was traded on, and the data lack it")

    def _restarts(self) -> Iterator[Difference]:
        decided = _decided(self._runs)
        for before, after in zip(self._runs, self._runs[1:], strict=False):
            start, stop = before.lines[-1], after.lines[after.first]
            passed = sum(
                start["bar"] < bar < stop["bar"] and bar not in decided for bar in self._reference
            )
            moved = stop["position"] - start["position"]
            what = f"the run ended after {day(start['bar'])} and began anew, {passed} bars passed"
            if abs(moved) > DUST:
                what += f", {moved:+g} was filled meanwhile"
            yield self._found(stop["bar"], RESTART, what)

    def _models(self, run: _Run) -> Iterator[Difference]:
        """Name each stretch of bars that another model decided than in the backtest."""
        known = False
        for line in run.lines[run.first :]:
            theirs = self._reference.get(line["bar"])
            if theirs is None or line["reason"] in RESTING:
                continue
            other = line["model"] != theirs["model"]
            if other and not known:
                ours, of = (one["model"][:12] or "none" for one in (line, theirs))
                yield self._found(line["bar"], MODEL, f"{ours} decided, in the backtest {of}")
            # A stretch is told by its first bar, not by each.
            known = other

    def _series(self, run: _Run) -> Iterator[Difference]:
        """Name each stretch of bars at which other series said something else."""
        known = False
        for line in run.lines[run.first :]:
            theirs = self._reference.get(line["bar"])
            if theirs is None:
                continue
            pairs = zip(line.get("others", ()), theirs.get("others", ()), strict=False)
            apart = sum(_other_number(ours, expected) for ours, expected in pairs)
            if apart and not known:
                what = f"{apart} of {len(line['others'])} columns were others: a bar of a series "
                what += "was missed, came late or was corrected since"
                yield self._found(line["bar"], SERIES, what)
            known = bool(apart)

    def _orders(self, run: _Run) -> Iterator[Difference]:
        """Follow the orders of a run: what was decided, sent and filled, and at which price."""
        before: Entry | None = None
        due = 0.0  # units that an order is to bring at the next open
        for line in run.lines[run.first :]:
            fills = line.get("fills", [])
            filled = math.fsum(size for size, _ in fills)
            if before is not None:
                moved = line["position"] - before["position"]
                if abs(moved - filled) > DUST:
                    what = f"the position moved by {moved:+g}, orders of this run by {filled:+g}"
                    yield self._found(line["bar"], OTHER_HAND, what)
                if due:
                    yield from self._fill(line, due, filled)
                yield from self._prices(line, fills, before["bar"] if due else None)
            if line["reason"] not in RESTING:
                yield from self._decision(line)
            if line["aim"] is not None:
                size = line["aim"] - line["position"]
                # As the venue takes it: what is below a lot is never sent.
                due = permitted_size(size, line["position"], self._lot)
            else:
                still = line["order"] == "waiting" or line["reason"] in RESTING
                due = due - filled if still else 0.0
            before = line

    def _fill(self, line: Entry, due: float, filled: float) -> Iterator[Difference]:
        """Name why an order that was due at an open did not fill as a whole."""
        ends = [status for _, _, status in line["ends"]]
        refused = [status for status in ends if status.lower() in REFUSED]
        if refused:
            what = f"an order of {due:+g} was refused ({refused[0].lower()})"
            yield self._found(line["bar"], REJECT, what)
        elif abs(filled) < DUST and ends:
            what = f"an order of {due:+g} ended unfilled ({ends[0].lower()})"
            yield self._found(line["bar"], ENDED, what)
        elif abs(filled) < DUST:
            yield self._found(line["bar"], HALT, f"nothing of {due:+g} was filled at this open")
        elif abs(due - filled) > DUST:
            # Less came at this open, and the rest may at the next; more was never asked for.
            cause = PARTIAL if abs(filled) < abs(due) else OTHER_SIZE
            yield self._found(line["bar"], cause, f"{filled:+g} of {due:+g} was filled")

    def _prices(
        self, line: Entry, fills: list[tuple[float, float]], sent: str | None
    ) -> Iterator[Difference]:
        """Hold prices against the open after the bar on which an order was sent.

        sent: that bar; None of a stop, which is held against the backtest's own.
        """
        for size, price in fills:
            expected = self._expected(line, size, sent)
            if expected is None or math.isclose(price, expected, rel_tol=SAME_PRICE):
                continue
            # Above 0 is money lost, of a purchase as of a sale.
            cost = size * (price - expected)
            worse = math.copysign(price / expected - 1, cost) / BASIS_POINT
            what = (
                f"{size:+g} at {price:g}, in the backtest at {expected:g}: {worse:+.2f} bp, "
                f"{cost:+.2f}"
            )
            yield self._found(line["bar"], SLIPPAGE, what, cost)

    def _expected(self, line: Entry, size: float, sent: str | None) -> float | None:
        if sent is None:
            theirs = self._reference.get(line["bar"])
            fills = [] if theirs is None else theirs.get("fills", [])
            return fills[0][1] if fills else None
        # Not the open of the line's own bar: one that was missed may lie between.
        place = bisect_right(self._order, sent)
        if place == len(self._order):
            return None
        opened = or_nan(self._reference[self._order[place]]["values"][0])
        return opened * (1 + math.copysign(self._slippage, size))

    def _decision(self, line: Entry) -> Iterator[Difference]:
        theirs = self._reference.get(line["bar"])
        if line["reason"] and theirs is not None and theirs["reason"] != line["reason"]:
            what = f"held back: {line['reason']}"
            yield self._found(line["bar"], OTHER_RULE, what)
        sizer = self._header["sizer"]
        if line["aim"] and sizer is not None:
            expected = self._units(line)
            if not math.isclose(abs(line["aim"]), expected, rel_tol=SAME):
                what = (
                    f"{abs(line['aim']):g} units were wanted, by the backtest's size {expected:g}"
                )
                yield self._found(line["bar"], OTHER_SIZE, what)

    def _units(self, line: Entry) -> float:
        """Return the units that the first run's sizer gives for the account of a line."""
        header = self._header
        broker = RecordedBroker(
            self._name, header["params"]["max_exposure"], header["sizer"], header["traded"]
        )
        manager = OrderManager(broker, OrderRules())
        facts = dict(line["facts"])
        if header["sizer"] is not None:
            facts["share"] = header["sizer"]["share"]
        told: Entry = {**line, "facts": facts}
        broker.begin_bar(told, manager)
        return manager.units_of(1 if (line["aim"] or 0) > 0 else -1)


def _other_number(ours: float | None, theirs: float | None) -> bool:
    """Whether two numbers of journals are not the same, those that are missing included."""
    if ours is None or theirs is None:
        return ours is not theirs
    return not math.isclose(ours, theirs, rel_tol=SAME, abs_tol=SAME)


def _decided(runs: list[_Run]) -> dict[str, Entry]:
    """Return the lines by bar; of a bar that two runs decided on, the later one's."""
    return {
        line["bar"]: line for run in runs for line in run.lines if line["reason"] not in RESTING
    }


def _within(bar: str, gaps: list[tuple[str, str]]) -> bool:
    return any(start < bar < stop for start, stop in gaps)


def _beside(
    by_data: Mapping[str, list[_Run]],
    reference: Lines,
    account: Account,
    differences: list[Difference],
) -> Reconciliation:
    """Lay both side by side; what nothing explains is a difference too, told once a data."""
    causes: dict[tuple[str, str], list[str]] = {}
    for one in differences:
        causes.setdefault((one.data, one.bar), []).append(one.cause)
    # After the first difference the accounts are apart by it: only before it is one unexplained.
    explained = min((one.bar for one in differences), default="9999")
    lived = {name: _decided(runs) for name, runs in by_data.items()}
    equity, expected = _equity(lived), _equity(reference)
    steps, unexplained = [], []
    for name, decided in lived.items():
        told = False
        for bar, theirs in reference.get(name, {}).items():
            if bar < account.since:
                continue
            ours = decided.get(bar)
            named = ", ".join(causes.get((name, bar), []))
            worth = math.nan if ours is None else equity[bar]
            held = math.nan if ours is None else ours["position"]
            steps.append(Step(name, bar, held, theirs["position"], worth, expected[bar], named))
            # Told once: all that follows is the same difference again.
            if ours is None or told or bar >= explained:
                continue
            if apart := _apart(ours, theirs) or _far("equity", worth, expected[bar]):
                told = True
                unexplained.append(Difference(name, bar, UNEXPLAINED, apart))
    return Reconciliation(
        sorted(steps, key=lambda step: step.bar),
        sorted(differences + unexplained, key=lambda one: one.bar),
    )


def _apart(ours: Entry, theirs: Entry) -> str:
    """Return in what a decision is not that of the backtest, "" for nothing."""
    said = [or_nan(line["probability"]) for line in (ours, theirs)]
    if math.isnan(said[0]) != math.isnan(said[1]) or abs(said[0] - said[1]) > SAME_PROBABILITY:
        return f"probability {said[0]:.6f}, in the backtest {said[1]:.6f}"
    if ours["target"] != theirs["target"]:
        return f"target {ours['target']}, in the backtest {theirs['target']}"
    return _far("position", ours["position"], theirs["position"])


def _far(what: str, ours: float, theirs: float) -> str:
    same = math.isclose(ours, theirs, rel_tol=SAME, abs_tol=DUST)
    return "" if same else f"{what} {ours:.8g}, in the backtest {theirs:.8g}"


def _equity(lines: Lines) -> dict[str, float]:
    """Return the account at the close of each bar: cash, and what each data is worth by then."""
    worth: dict[str, float] = {}
    equity: dict[str, float] = {}
    for bar in sorted({bar for own in lines.values() for bar in own}):
        for name, own in lines.items():
            if (line := own.get(bar)) is not None:
                worth[name] = line["position"] * or_nan(line["values"][3])
                cash = or_nan(line["facts"].get("cash"))
        equity[bar] = cash + math.fsum(worth.values())
    return equity
