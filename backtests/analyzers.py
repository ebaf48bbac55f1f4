"""Is there an edge in a strategy of your own? The verdict as a Backtrader analyzer."""

import sys
from pathlib import Path
from typing import Any

import backtrader as bt
import numpy as np

from backtests.evidence.alpha import WORTH
from backtests.evidence.recording import RecordedData, Recording, returns_of
from backtests.reports.judgement import Judgement, judgement_summary, write_judgement
from model.errors import BarsError
from model.settings import number, optional, require

NOT_YET = float("nan")


class StrategyEvidence(bt.Analyzer):  # type: ignore[misc]
    """The verdict on any strategy, with its evidence: alpha over holding what it trades, and luck.

    It needs no model of ours. Returns are those of the account from bar to bar, time-weighted
    around `broker.add_cash`, in every engine mode. They count from the strategy's first `next` (or
    its first fill, if that is earlier) and are dated by the bar, as the feeds stamp it.

    The benchmark is holding the datas that the strategy traded, in equal parts from close to close:
    a data counts from its second bar to its last; on a date of the strategy on which it has no bar
    it moves nowhere. A strategy that never traded is held against all of its datas.

    Params:
      - worth: the alpha a year that is worth having, a fraction
      - neutral: the book is declared neutral, and held against cash
      - bars_per_year: how many bars a year of this market has; by default as the timestamps show

    Methods:
      - get_analysis: the evidence as `evidence.json` has it (reports/schema.py, EvidenceFile);
        raises BarsError where it cannot be judged, as fewer than 50 returns
      - write_report: writes report.html and evidence.json into a folder

    Example::

        cerebro.addstrategy(MyStrategy)
        cerebro.addanalyzer(StrategyEvidence, _name="evidence")
        evidence = cerebro.run()[0].analyzers.evidence
        print(evidence.get_analysis()["verdict"]["sentence"])
        evidence.write_report("runs/mine")
    """  # noqa: D406, D407

    params = (("worth", WORTH), ("neutral", False), ("bars_per_year", None))

    def start(self) -> None:
        settings = {"worth": self.p.worth, "bars_per_year": self.p.bars_per_year}
        require(settings, {"worth": number(above=0), "bars_per_year": optional(number(above=0))})
        self._recorder = _Recorder(self.strategy)
        self._recording = self._recorder.recording
        self._judgement: Judgement | None = None

    def nextstart(self) -> None:
        if self._recording.first is None:
            self._recording.first = len(self.strategy) - 1
        self.next()

    def next(self) -> None:
        self._recorder.take()

    def notify_fund(self, cash: float, value: float, fundvalue: float, shares: float) -> None:
        self._recorder.settle(fundvalue, shares)

    def notify_order(self, order: bt.Order) -> None:
        if order.executed.size:
            self._recorder.fill(order)

    def stop(self) -> None:
        self._recorder.end()
        del self._recorder  # results travel between processes; the run does not

    @property
    def judgement(self) -> Judgement:
        """The evidence as an object, made when it is first asked for."""
        if self._judgement is None:
            returns = returns_of(
                self._recording, neutral=self.p.neutral, bars_per_year=self.p.bars_per_year
            )
            self._judgement = Judgement(returns, self.p.worth)
        return self._judgement

    def get_analysis(self) -> dict[str, Any]:
        # Backtrader itself asks at the end of every run, for its writers. With none of them the
        # bootstrap would take its time for nothing; and what cannot be judged must not end the run.
        if sys._getframe(1).f_code.co_name == "getwriterinfo":
            return self._for_writers() if self.strategy.cerebro.runwriters else {}
        return judgement_summary(self.judgement)

    def _for_writers(self) -> dict[str, Any]:
        try:
            return judgement_summary(self.judgement)
        except BarsError as error:
            return {"refused": str(error)}

    def write_report(self, folder: str | Path) -> None:
        write_judgement(Path(folder), self.judgement)


class _Recorder:
    """Fills a recording while a strategy runs.

    What is asked of the host at every bar is looked up once: a bar may cost 2 microseconds.
    """

    def __init__(self, strategy: bt.Strategy) -> None:
        broker = strategy.broker
        names = [data._name or f"data{place}" for place, data in enumerate(strategy.datas)]
        self.recording = Recording(type(strategy).__name__, [RecordedData(name) for name in names])
        self._strategy = strategy
        self._length = strategy.__len__
        self._time, self._value = strategy.lines.datetime, broker.getvalue
        self._shares_now, self._fund_value_now = broker.get_fundshares, broker.get_fundvalue
        self._taken, self._shares, self._fund_value = 0, np.nan, np.nan
        self._begun: list[tuple[Any, Any]] = []
        self._waiting = list(zip(strategy.datas, self.recording.datas, strict=True))
        self._places = {id(data): place for place, data in enumerate(strategy.datas)}

    def take(self) -> None:
        """Record a bar, or a bar that is shown again as it now is."""
        recording, length = self.recording, self._length()
        if length == self._taken:
            recording.times.pop()
            recording.values.pop()
            for closes, _ in self._begun:
                closes.pop()
        self._taken = length
        recording.times.append(self._time[0])
        recording.values.append(self._value())
        if self._waiting:
            self._begin(length)
        for closes, line in self._begun:
            closes.append(line[0])
        shares = self._shares_now()
        if shares != self._shares:
            # Backtrader adds cash at the end of its next bar, unless an order by value asks sooner.
            amount = (shares - self._shares) * self._fund_value_now()
            recording.paid_ahead.extend((length - 1, amount))
            self._shares = shares

    def _begin(self, length: int) -> None:
        """Take up the datas that have a first bar by now; the bars before hold nothing of them."""
        for data, recorded in self._waiting:
            if len(data):
                recorded.closes.extend([NOT_YET] * (length - 1))
                self._begun.append((recorded.closes, data.lines.close))
        self._waiting = [(data, recorded) for data, recorded in self._waiting if not len(data)]

    def settle(self, fund_value: float, shares: float) -> None:
        """Note what was paid in: Backtrader issues shares for it at the last bar's value."""
        if shares != self._shares and self._shares == self._shares:  # not at the first bar
            amount = (shares - self._shares) * self._fund_value
            self.recording.paid_in.extend((self._length() - 1, amount))
        self._shares, self._fund_value = shares, fund_value

    def fill(self, order: bt.Order) -> None:
        """Note the position after a fill, and whether it can be judged at the close before."""
        held_by = order.data if order.data._compensate is None else order.data._compensate
        units = self._strategy.broker.getposition(held_by).size
        place = self._places[id(held_by)]
        self.recording.fills.extend((self._length() - 1, place, units))
        at_open = self._strategy.cerebro.p.cheat_on_open or order.exectype != bt.Order.Market
        self.recording.at_opens &= not at_open
        self.recording.costs |= bool(order.executed.comm)

    def end(self) -> None:
        """Note what is known when all is over."""
        broker = self._strategy.broker
        for data, recorded in zip(self._strategy.datas, self.recording.datas, strict=True):
            if len(data):
                recorded.ended = data.datetime[0]
            else:
                recorded.closes.extend([NOT_YET] * self._taken)
            recorded.multiplier = broker.getcommissioninfo(data).p.mult
            frame = getattr(data.p, "dataname", None)
            recorded.flags = getattr(frame, "attrs", {}).get("flags")
        slipped = (getattr(broker.p, name, 0) for name in ("slip_perc", "slip_fixed"))
        self.recording.costs |= any(slipped)
