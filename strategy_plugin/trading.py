"""What every strategy of the plugin shares: datas with their models and orders, and a journal."""

import warnings
from collections import Counter
from collections.abc import Sequence

import backtrader as bt

from strategy_plugin.broker import BacktraderBroker
from strategy_plugin.decision import (
    DECIDED,
    TOO_OLD,
    DecisionRules,
    Reading,
    ThresholdsError,
)
from strategy_plugin.feeds import Feed
from strategy_plugin.guard import TradingWarning
from strategy_plugin.indicator import DirectionProbability
from strategy_plugin.instrument import LineSignal, ModelSignal, TradedData, names_of
from strategy_plugin.journal import Journal
from strategy_plugin.orders import FilledOrder, OrderManager, OrderRules
from strategy_plugin.peers import Peers
from strategy_plugin.sizers import share_params
from strategy_plugin.startup import (
    first_traded,
    note_absent_peers,
    note_other_instruments,
    require_files,
    require_members,
    require_params,
)


class TradingStrategy(bt.Strategy):  # type: ignore[misc]
    """A strategy that trades datas by the probabilities of a model; what it decides is not here.

    A subclass calls `trade_by` in its `__init__` and decides in its `next`.

    Params:
      - checkpoint, in_sample, max_model_age, max_disagreement, max_gap, timezone, stamp, features,
        context, max_context_age, precision, names, retries, patience, trade_from, journal: those
        of BiLSTMStrategy
    """

    params = (
        ("checkpoint", ""),
        ("in_sample", "refuse"),
        ("max_model_age", None),
        ("max_disagreement", None),
        ("max_gap", None),
        ("timezone", None),
        ("stamp", None),
        ("features", ""),
        ("context", ""),
        ("max_context_age", None),
        ("precision", "fp32"),
        ("names", ""),
        ("retries", 3),
        ("patience", 5),
        ("trade_from", ""),
        ("journal", ""),
    )

    def __init__(self) -> None:
        given = self.p._getkwargs()
        require_params(given, self.p._getkwargsdefault())
        self.traded_in_sample = False
        self.traded: list[TradedData] = []
        self._journal: Journal | None = None
        self._rules = DecisionRules.of(given)
        self._by_data: dict[int, TradedData] = {}

    def trade_by(
        self,
        datas: Sequence[Feed],
        orders: OrderRules,
        *,
        most: float,
        enter: float | None,
        exit: float | None,
    ) -> None:
        """Give each data its signal and its orders.

        Parameters
        ----------
        datas
            To be traded.
        orders
            What their orders go by.
        most
            Cap on the sum of all positions over equity.
        enter, exit
            Thresholds; None for the checkpoint's own.
        """
        self._peers = Peers(datas)
        for data, name in zip(datas, names_of(datas), strict=True):
            broker = BacktraderBroker(self, data, name, most)
            try:
                signal = self._signal(data, name, enter, exit)
            except ThresholdsError as error:
                # A sweep over both has pairs that are none: Backtrader passes over them.
                if not self.env._dooptimize:
                    raise
                warnings.warn(f"passed over: {error}", TradingWarning, stacklevel=3)
                raise bt.errors.StrategySkipError from error
            trade_from = first_traded(self.p.trade_from, data, signal)
            manager = OrderManager(broker, orders)
            self.traded.append(TradedData(data, name, signal, manager, trade_from))
        # By identity: to Backtrader's lines an equal is one whose newest value is the same.
        self._by_data = {id(instrument.data): instrument for instrument in self.traded}
        # Not by truth: Backtrader's indicators are false where their value is 0.
        indicators = [instrument.signal.indicator for instrument in self.traded]
        schedules = [indicator.schedule for indicator in indicators if indicator is not None]
        if self.p.in_sample == "trade":
            require_files(schedules)
        if self.p.max_disagreement is not None:
            require_members(schedules)
        note_other_instruments(self.traded)
        note_absent_peers(self.traded)

    def _signal(
        self, data: Feed, name: str, enter: float | None, exit: float | None
    ) -> ModelSignal | LineSignal:
        if not self.p.checkpoint:
            return LineSignal(data, enter, exit)
        params = {
            "checkpoint": str(self.p.checkpoint).replace("{name}", name),
            "max_gap": self.p.max_gap,
            "timezone": self.p.timezone,
            "stamp": self.p.stamp,
            "features": self.p.features,
            "context": self.p.context,
            "peers": self._peers,
            "max_context_age": self.p.max_context_age,
            "precision": self.p.precision,
        }
        # Made here, in a method: Backtrader finds an indicator's owner by a local called self.
        indicator = DirectionProbability(data, **params)  # type: ignore[call-arg]
        return ModelSignal(indicator, enter, exit)

    def start(self) -> None:
        # Not every broker has such a param: a live one has no need of it.
        if getattr(getattr(self.broker, "p", None), "coc", False):
            raise ValueError(
                "cheat_on_close must be off: it fills at the close that the decision was made from."
                " Call cerebro.broker.set_coc(False)."
            )
        if self.p.journal:
            self._journal = Journal(
                self.p.journal,
                params=self.p._getkwargs(),
                sizer=share_params(self.getsizer()),
                traded=self.traded,
                terms=getattr(self.broker, "terms", None),
            )

    def prenext(self) -> None:
        # With several datas Backtrader waits for the last one's warm-up; each knows its own.
        self.next()

    def note_reason(self, instrument: TradedData, reading: Reading, reason: str) -> None:
        """Count what became of a reading, and warn of a model that is too old.

        Parameters
        ----------
        instrument
            Whose reading it is.
        reading
            What was known at the bar's close.
        reason
            Why its signal does not decide, "" where it does.
        """
        if reason == TOO_OLD and not instrument.refused[TOO_OLD]:
            warnings.warn(
                f"data {instrument.name!r}: the model is {reading.age} bar intervals old, "
                f"`max_model_age` is {self.p.max_model_age}; "
                "no position is opened until a younger one is there",
                TradingWarning,
                stacklevel=3,
            )
        # A model too old, or at odds with itself, was asked all the same: it counts as decided.
        if reason:
            instrument.refused[reason] += 1
        if reason in DECIDED:
            instrument.n_decided += 1
            self.traded_in_sample |= reading.in_sample

    def notify_order(self, order: FilledOrder) -> None:
        instrument = self._by_data.get(id(order.data))
        if instrument is not None:
            instrument.orders.notify(order)
            instrument.note_fill(order)
            if not order.alive():
                instrument.note_end(order)

    def notify_data(self, data: Feed, status: int, *args: object, **kwargs: object) -> None:
        for instrument in self.traded:
            # What is resampled beside itself is live when the feed that it is made of is.
            if instrument.source is data:
                instrument.live = status == data.LIVE

    def stop(self) -> None:
        if self._journal is not None:
            self._journal.close()
        for instrument in self.traded:
            instrument.orders.count_unfilled()

    def refusals(self) -> dict[str, Counter[str]]:
        """Return why bars were not predicted, decided, ordered or filled.

        Returns
        -------
        dict of str to collections.Counter
            By the data's name how often, by reason: "in sample", "margin", "stopped out", ...
        """
        return {instrument.name: instrument.counts() for instrument in self.traded}

    def probability_of(self, data: Feed) -> float | None:
        """Return the probability of "up" that a data is traded by on this bar.

        CappedKelly asks for it.

        Parameters
        ----------
        data
            One of the strategy's.

        Returns
        -------
        float or None
            From 0 to 1, NaN where there is no forecast; None where the data is not traded.
        """
        instrument = self._by_data.get(id(data))
        return None if instrument is None else instrument.signal.probability(instrument.ago)
