"""Is there an edge in a strategy of your own? The verdict as a Backtrader analyzer."""

import sys
from collections.abc import Callable
from pathlib import Path

import backtrader as bt

from backtests.evidence.alpha import WORTH
from backtests.evidence.recording import RecordedData, Recording, dated_returns
from backtests.reports.judgement import Judgement, judgement_summary, write_judgement
from model.errors import BarsError
from model.settings import number, optional, require
from strategy_plugin.feeds import Line

NOT_YET = float("nan")


class StrategyEvidence(bt.Analyzer):  # type: ignore[misc]
    """The verdict on any strategy, with its evidence: alpha over holding what it trades, and luck.

    It needs no model of ours. Returns are those of the account from bar to bar, time-weighted
    around `broker.add_cash`, in every engine mode. They count from the strategy's first `next` (or
    its first fill, if that is earlier), of one that asks a model of ours not before that model's
    `trained_until`, and are dated by the bar, as the feeds stamp it.

    The benchmark is holding the datas that the strategy traded, in equal parts from close to close:
    a data counts from its second bar to its last; on a date of the strategy on which it has no bar
    it moves nowhere. A strategy that never traded is held against all of its datas. Where another
    strategy trades the same account nobody's returns are known, and it is refused.

    Params:
      - worth: the alpha a year that is worth having, a fraction
      - neutral: the book is declared neutral, and held against cash
      - bars_per_year: how many bars a year of this market has; by default as the timestamps show

    Methods:
      - get_analysis: the evidence as `evidence.json` has it (reports/schema.py, EvidenceFile);
        raises BarsError where it cannot be judged, as fewer than 50 returns
      - write_report: writes report.html and evidence.json into a folder

    Example::

        cerebro.addstrategy(bt.strategies.MA_CrossOver)
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
        # What Backtrader calls at every bar goes to the recorder without a detour.
        self.next, self.notify_fund = self._recorder.take, self._recorder.settle

    def nextstart(self) -> None:
        if self._recording.first is None:
            self._recording.first = len(self.strategy) - 1
        self.next()

    def notify_order(self, order: bt.Order) -> None:
        if order.executed.size:
            self._recorder.fill(order)

    def stop(self) -> None:
        self._recorder.end()
        # Results travel between processes; the run does not.
        del self._recorder, self.next, self.notify_fund

    @property
    def judgement(self) -> Judgement:
        """The evidence as an object, made when it is first asked for."""
        if self._judgement is None:
            returns = dated_returns(
                self._recording, neutral=self.p.neutral, bars_per_year=self.p.bars_per_year
            )
            self._judgement = Judgement(returns, self.p.worth)
        return self._judgement

    def get_analysis(self) -> dict[str, object]:
        # Backtrader itself asks at the end of every run, for its writers. With none of them the
        # bootstrap would take its time for nothing; and what cannot be judged must not end the run.
        if sys._getframe(1).f_code.co_name == "getwriterinfo":
            return self._for_writers() if self.strategy.cerebro.runwriters else {}
        return judgement_summary(self.judgement)

    def _for_writers(self) -> dict[str, object]:
        try:
            return judgement_summary(self.judgement)
        except BarsError as error:
            return {"refused": str(error)}

    def write_report(self, folder: str | Path) -> None:
        write_judgement(Path(folder), self.judgement)


class _Recorder:
    """Fills a recording while a strategy runs.

    All that a bar needs is looked up once: recording one may take no more than 2 microseconds.
    """

    def __init__(self, strategy: bt.Strategy) -> None:
        names = [data._name or f"data{place}" for place, data in enumerate(strategy.datas)]
        self.recording = Recording(type(strategy).__name__, [RecordedData(name) for name in names])
        # Who cheats on the open decides at the open, when the close before is gone.
        self.recording.at_opens = not strategy.cerebro.p.cheat_on_open
        self._strategy = strategy
        self._time, self._shares_now = strategy.lines.datetime, strategy.broker.get_fundshares
        self._add_time, self._add_value = self.recording.times.append, self.recording.values.append
        # At the last bar: its number, what the account was worth, and in how many shares.
        self._taken, self._worth, self._shares, self._settled = 0, 0.0, 0.0, 0.0
        self._waiting = list(zip(strategy.datas, self.recording.datas, strict=True))
        self._begun: list[tuple[Callable[[float], None], Line]] = []
        self._places = {id(data): place for place, data in enumerate(strategy.datas)}

    def settle(self, cash: float, value: float, fundvalue: float, shares: float) -> None:
        """Note the account's worth, and what was paid in after the fills of this bar.

        Backtrader issues shares for it, at the last bar's value of one.
        """
        if shares != self._shares:
            if self._taken:
                amount = (shares - self._shares) * self._worth / self._settled
                self.recording.paid_in.extend((len(self._time) - 1, amount))
            self._shares = shares
        self._worth, self._settled = value, shares

    def take(self) -> None:
        """Record a bar, or a bar that is shown again as it now is."""
        length = len(self._time)
        if length == self._taken:
            self._forget()
        self._taken = length
        self._add_time(self._time[0])
        self._add_value(self._worth)
        if self._waiting:
            self._begin(length)
        for add_close, line in self._begun:
            add_close(line[0])
        shares = self._shares_now()
        if shares != self._shares:
            # Orders by value ask a broker's worth, and let it take in at once what was paid in.
            amount = (shares - self._shares) * self._worth / self._settled
            self.recording.paid_ahead.extend((length - 1, amount))
            self._shares = shares

    def _forget(self) -> None:
        """Forget the last bar."""
        recording = self.recording
        for column in (recording.times, recording.values, *(one.closes for one in recording.datas)):
            # A data that has not begun has no closes yet.
            if len(column):
                column.pop()

    def _begin(self, length: int) -> None:
        """Take up the datas that have a first bar by now; the bars before hold nothing of them."""
        for data, recorded in self._waiting:
            if len(data):
                recorded.closes.extend([NOT_YET] * (length - 1))
                self._begun.append((recorded.closes.append, data.lines.close))
        self._waiting = [(data, recorded) for data, recorded in self._waiting if not len(data)]

    def fill(self, order: bt.Order) -> None:
        """Note the position after a fill, and whether it can be judged at the close before."""
        held_by = order.data if order.data._compensate is None else order.data._compensate
        units = self._strategy.broker.getposition(held_by).size
        place = self._places[id(held_by)]
        self.recording.fills.extend((len(self._time) - 1, place, units))
        self.recording.at_opens &= order.exectype == bt.Order.Market
        self.recording.costs |= bool(order.executed.comm)

    def end(self) -> None:
        """Note what is known when all is over."""
        broker = self._strategy.broker
        for data, recorded in zip(self._strategy.datas, self.recording.datas, strict=True):
            if len(data):
                # A feed told to remember one bar has given it up when it looked for the next.
                known = len(data.lines.datetime.array)
                recorded.ended = data.datetime[0] if known else self._time[0]
            else:
                recorded.closes.extend([NOT_YET] * self._taken)
            recorded.multiplier = broker.getcommissioninfo(data).p.mult
            frame = getattr(data.p, "dataname", None)
            recorded.flags = getattr(frame, "attrs", {}).get("flags")
        # An indicator with a schedule of checkpoints is ours; its class would load torch.
        schedules = (getattr(one, "schedule", None) for one in self._strategy.getindicators())
        learnt = [
            # Of a folder none decides before the first one's time.
            min(checkpoint.trained_until for checkpoint in schedule.checkpoints)
            for schedule in schedules
            if schedule is not None
        ]
        self.recording.learnt_until = max(learnt, default=None)
        others = (one for one in self._strategy.cerebro.runningstrats if one is not self._strategy)
        self.recording.sharing = [type(one).__name__ for one in others if one._trades]
        slipped = (getattr(broker.p, name, 0) for name in ("slip_perc", "slip_fixed"))
        self.recording.costs |= any(slipped)
