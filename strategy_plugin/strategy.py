"""The strategy: it trades a model's probabilities in Backtrader, one decision a bar."""

import warnings
from collections import Counter

import backtrader as bt

from strategy_plugin.broker import BacktraderBroker
from strategy_plugin.decision import (
    DECIDED,
    TOO_OLD,
    DecisionRules,
    Reading,
    ThresholdsError,
    decide,
)
from strategy_plugin.feeds import Feed
from strategy_plugin.guard import TradingWarning
from strategy_plugin.indicator import DirectionProbability
from strategy_plugin.instrument import (
    Decision,
    LineSignal,
    ModelSignal,
    TradedData,
    datas_to_trade,
    names_of,
)
from strategy_plugin.journal import Journal
from strategy_plugin.orders import FilledOrder, OrderManager, OrderRules
from strategy_plugin.sizers import EquityShare, share_params
from strategy_plugin.startup import (
    first_traded,
    note_fractions,
    note_other_instruments,
    require_files,
    require_members,
    require_params,
)


class BiLSTMStrategy(bt.Strategy):  # type: ignore[misc]
    """Holds a position while the probability of a rise is on its side.

    Buy Logic:
      - Open long where the probability is at or above `enter`, stay long while it is at or above
        `exit`
      - With `allow_short`, open short at or below 1 - enter, stay short while at or below 1 - exit
      - Levels, not edges; a NaN keeps what is held

    Order Execution Type:
      - Market, decided at a bar's close, filled at the next open; size by the Sizer (EquityShare
        by default)
      - Stops are placed at the close of the bar that filled the position, and follow its size; one
        that fills in parts is finished at the market

    Params:
      - checkpoint: a file or a folder; "{name}" in it stands for the data's name. "": the feeds
        have a line `probability`
      - enter, exit: .5 <= exit <= enter < 1; None takes the checkpoint's own. `optstrategy` passes
        over pairs that break this
      - allow_short: False trades long or flat
      - in_sample: "refuse" does not trade bars before a single file's `trained_until`; "trade"
        does, and marks the result; of a folder none decides on such bars
      - max_model_age: bar intervals after `trained_until`, nights and weekends included, beyond
        which no position is opened; None for no limit
      - max_disagreement: disagreement of the checkpoint's members above which no position is
        opened; None for no limit
      - max_gap: bars missing between two others beyond which no window that contains them is
        predicted, of daily bars a weekend is two and a long one three or four; None for no limit
      - timezone: the zone of the feeds' timestamps; None as in training. Times within the day of
        another zone are converted where training had UTC, all else is refused
      - stamp: what the feeds' timestamps mark; None as in training, anything else is refused
      - precision: "fp32", or "bf16", which is faster on processors with AMX: backtest and live
        then agree to some 1e-3 only
      - names: the datas to trade, separated by commas; "" takes all with the first one's timeframe
      - max_exposure: cap on the sum of all positions over equity, shorts included, applied before
        an order is sent; a close sent on the same bar counts as done. An opening also leaves the
        sizer's share and, without leverage, its own costs
      - retries, patience: orders refused in a row before an opening is given up; bars an order may
        stay unfilled
      - stop_loss, take_profit, trailing: "" or a distance like "3%" or "2atr" (true range averaged
        over 14 bars); after a stop the direction is opened again only once the signal has left it
      - adopt: with stops, a position that is there at the start is left alone until it is closed,
        as stops of an earlier run may still work at the broker; True takes it over and gives it
        new ones: cancel those that are there first
      - trade_from: a time, year first, as "2024-05-31", before whose bars nothing is ordered, in
        the zone of training; "now" for the start of the run, of daily bars this machine's date; ""
        trades all
      - journal: a file to which every decision is appended as a line of JSON;
        `strategy_plugin.replay(file)` makes them again

    Log: `logging.getLogger("strategy_plugin")` has a line of the level INFO for each decision, each
    order and each end of an order.

    Live: nothing is ordered before the feed reports LIVE. A bar that still grows is kept out where
    the clock can tell it: within the day with timestamps in UTC, of daily bars where the feed has
    its `sessionend` and `tz`. What an earlier run ordered is not seen.

    Several feeds and exactbars=1: where one has no bar at a step of another, Backtrader itself
    fails with "deque index out of range", whatever the strategy. Use exactbars=-1 or -2.

    Example::

        cerebro.addstrategy(BiLSTMStrategy, checkpoint="nasdaq.ckpt", allow_short=True)
    """

    params = (
        ("checkpoint", ""),
        ("enter", None),
        ("exit", None),
        ("allow_short", False),
        ("in_sample", "refuse"),
        ("max_model_age", None),
        ("max_disagreement", None),
        ("max_gap", None),
        ("timezone", None),
        ("stamp", None),
        ("precision", "fp32"),
        ("names", ""),
        ("max_exposure", 1.0),
        ("retries", 3),
        ("patience", 5),
        ("stop_loss", ""),
        ("take_profit", ""),
        ("trailing", ""),
        ("adopt", False),
        ("trade_from", ""),
        ("journal", ""),
    )

    def __init__(self) -> None:
        given = self.p._getkwargs()
        require_params(given, self.p._getkwargsdefault())
        self.setsizer(EquityShare())  # cerebro.addsizer replaces it
        self.traded_in_sample = False
        self._journal: Journal | None = None
        self._rules, order_rules = DecisionRules.of(given), OrderRules.of(given)
        datas = datas_to_trade(self.datas, self.p.names)
        self.traded: list[TradedData] = []
        for data, name in zip(datas, names_of(datas), strict=True):
            broker = BacktraderBroker(self, data, name, self.p.max_exposure)
            try:
                signal = self._signal(data, name)
            except ThresholdsError as error:
                # A sweep over both has pairs that are none: Backtrader passes over them.
                if not self.env._dooptimize:
                    raise
                warnings.warn(f"passed over: {error}", TradingWarning, stacklevel=2)
                raise bt.errors.StrategySkipError from error
            orders = OrderManager(broker, order_rules)
            trade_from = first_traded(self.p.trade_from, data, signal)
            self.traded.append(TradedData(data, name, signal, orders, trade_from))
        # Not by truth: Backtrader's indicators are false where their value is 0.
        indicators = [instrument.signal.indicator for instrument in self.traded]
        schedules = [indicator.schedule for indicator in indicators if indicator is not None]
        if self.p.in_sample == "trade":
            require_files(schedules)
        if self.p.max_disagreement is not None:
            require_members(schedules)
        note_other_instruments(self.traded)

    def _signal(self, data: Feed, name: str) -> ModelSignal | LineSignal:
        if not self.p.checkpoint:
            return LineSignal(data, self.p.enter, self.p.exit)
        params = {
            "checkpoint": str(self.p.checkpoint).replace("{name}", name),
            "max_gap": self.p.max_gap,
            "timezone": self.p.timezone,
            "stamp": self.p.stamp,
            "precision": self.p.precision,
        }
        # Made here, in a method: Backtrader finds an indicator's owner by a local called self.
        indicator = DirectionProbability(data, **params)  # type: ignore[call-arg]
        return ModelSignal(indicator, self.p.enter, self.p.exit)

    def start(self) -> None:
        # Not every broker has such a param: a live one has no need of it.
        if getattr(getattr(self.broker, "p", None), "coc", False):
            raise ValueError(
                "cheat_on_close must be off: it fills at the close that the decision was made from."
                " Call cerebro.broker.set_coc(False)."
            )
        # A broker that cuts orders to what is traded there needs no such word.
        if not getattr(self.broker, "cuts_to_lots", False):
            note_fractions(self.getsizer(), self.traded)
        if self.p.journal:
            self._journal = Journal(
                self.p.journal,
                params=self.p._getkwargs(),
                sizer=share_params(self.getsizer()),
                traded=self.traded,
            )

    def prenext(self) -> None:
        # With several datas Backtrader waits for the last one's warm-up; each knows its own.
        self.next()

    def next(self) -> None:
        for instrument in self.traded:
            instrument.orders.sent_this_bar = False
        decisions: list[tuple[TradedData, Decision]] = []
        for instrument in self.traded:
            if instrument.has_new_bar():
                reading = instrument.read()
                wanted, reason = self.decide(instrument, reading)
                decisions.append((instrument, instrument.decision_of(reading, wanted, reason)))
        # Closes before openings: what a close sets free can then be used, and a refused opening
        # harms no close.
        decisions.sort(key=lambda made: not made[1].closes)
        for instrument, decision in decisions:
            instrument.carry_out(decision)
            if self._journal is not None:
                self._journal.write_decision(instrument)

    def decide(self, instrument: TradedData, reading: Reading) -> tuple[int, str]:
        """Return the direction wanted on a bar, and why it is not the signal's.

        Override it to put rules of your own before.

        Parameters
        ----------
        instrument
            What is traded: its `data`, its `name`, and what is held, `orders.held`.
        reading
            What is known at the bar's close: probability, thresholds, the model's age and so on.

        Returns
        -------
        wanted : int
            -1 short, 0 flat, 1 long.
        reason : str
            "" where the signal decides.
        """
        wanted, reason = decide(reading, instrument.orders.held, self._rules, instrument.resting)
        if reason == TOO_OLD and not instrument.refused[TOO_OLD]:
            warnings.warn(
                f"data {instrument.name!r}: the model is {reading.age} bar intervals old, "
                f"`max_model_age` is {self.p.max_model_age}; "
                "no position is opened until a younger one is there",
                TradingWarning,
                stacklevel=2,
            )
        # A model too old, or at odds with itself, was asked all the same: it counts as decided.
        if reason:
            instrument.refused[reason] += 1
        if reason in DECIDED:
            instrument.n_decided += 1
            self.traded_in_sample |= reading.in_sample
        return wanted, reason

    def notify_order(self, order: FilledOrder) -> None:
        for instrument in self.traded:
            instrument.orders.notify(order)
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
        for instrument in self.traded:
            instrument.warn_if_untraded()

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
        for instrument in self.traded:
            if instrument.data is data:
                return instrument.signal.probability(instrument.ago)
        return None
