"""The strategy: it trades a model's probabilities in Backtrader, one decision a bar."""

from collections.abc import Sequence

from strategy_plugin.decision import BARRIER, PROBABILITY, DecisionRules, Reading, decide
from strategy_plugin.feeds import is_live
from strategy_plugin.instrument import Decision, TradedData, datas_to_trade
from strategy_plugin.orders import OrderRules
from strategy_plugin.sizers import EquityShare
from strategy_plugin.startup import (
    barrier_in_force,
    note_fractions,
    note_trades,
    require_barrier_alone,
    require_directions,
)
from strategy_plugin.trading import TradingStrategy


class BiLSTMStrategy(TradingStrategy):
    """Holds a position while the probability of a rise is on its side.

    Buy Logic:
      - Open long where the probability is at or above `enter`, stay long while it is at or above
        `exit`
      - With `allow_short`, open short at or below 1 - enter, stay short while at or below 1 - exit
      - Levels, not edges; a NaN keeps what is held
      - With `exit_by="barrier"` long alone, from `enter` on, whatever is forecast then: the trade
        of a barrier label

    Order Execution Type:
      - Market, decided at a bar's close, filled at the next open; size by the Sizer (EquityShare
        by default)
      - Stops are placed at the close of the bar that filled the position, and follow its size; one
        that fills in parts is finished at the market
      - With `exit_by="barrier"` a position ends at `stop_loss`, at `take_profit`, or at the next
        open after `horizon` bars, that of the fill included

    Params:
      - checkpoint: a file or a folder; "{name}" in it stands for the data's name. "": the feeds
        have a line `probability`
      - enter, exit: .5 <= exit <= enter < 1; None takes the checkpoint's own. `optstrategy` passes
        over pairs that break this
      - allow_short: False trades long or flat
      - exit_by: "probability", or "barrier": by stop_loss, take_profit and horizon alone; a
        direction that was stopped out may be opened again at once
      - horizon: with exit_by="barrier" the bars after which a position is closed; 0 takes it, and
        the levels, from a checkpoint that was trained on just such trades
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
      - features: the features of one's own that the checkpoint was trained with, as
        my_features.py:Momentum, separated by commas; "" where all are registered
      - context: the datas of the other series that the model was trained with, by name, separated
        by commas; they are not traded. "" where there are none, and for feeds of bars that
        add_context joined
      - max_context_age: days by which the newest bar of a series may be older than one of its
        intervals, beyond which there is no forecast; None as in training
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

    # Backtrader adds the parent's params.
    params = (  # type: ignore[assignment]
        ("enter", None),
        ("exit", None),
        ("allow_short", False),
        ("exit_by", PROBABILITY),
        ("horizon", 0),
        ("max_exposure", 1.0),
        ("stop_loss", ""),
        ("take_profit", ""),
        ("trailing", ""),
        ("adopt", False),
    )

    def __init__(self) -> None:
        super().__init__()
        self.setsizer(EquityShare())  # cerebro.addsizer replaces it
        by_barrier = self.p.exit_by == BARRIER
        require_barrier_alone(self.p._getkwargs(), self.p._getkwargsdefault())
        if by_barrier:
            self.p.exit = self.p.enter  # no position is closed by it
        self.trade_by(
            datas_to_trade(self.datas, self.p.names, self.p.context),
            OrderRules.of(self.p._getkwargs()),
            most=self.p.max_exposure,
            enter=self.p.enter,
            exit=self.p.exit,
        )
        require_directions(self.traded)
        _require_whole_dates(self.traded)
        if by_barrier:
            # From here on, and in the journal, the levels in force.
            self.p.take_profit, self.p.stop_loss, self.p.horizon = barrier_in_force(
                self.p._getkwargs(), self.traded
            )
            self._rules = DecisionRules.of(self.p._getkwargs())
            for instrument in self.traded:
                instrument.orders.rules = OrderRules.of(self.p._getkwargs())
        else:
            note_trades(self.traded)

    def start(self) -> None:
        super().start()
        sizer = self.getsizer()
        # A broker that cuts orders to what is traded there needs no such word.
        cuts = getattr(self.broker, "cuts_to_lots", False)
        if getattr(getattr(sizer, "p", None), "fractional", False) and not cuts:
            whole = f"cerebro.addsizer({type(sizer).__name__}, fractional=False)"
            note_fractions(self.traded, whole)

    def next(self) -> None:
        for instrument in self.traded:
            instrument.orders.sent_this_bar = False
        decisions: list[tuple[TradedData, Decision]] = []
        for instrument in self.traded:
            if instrument.has_new_bar():
                reading = instrument.read()
                # What a live account holds while its history is filled in is of another time.
                if not instrument.resting:
                    instrument.orders.count_bar()
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
        orders, resting = instrument.orders, instrument.resting
        wanted, reason = decide(reading, orders.held, self._rules, resting, orders.bars_held)
        self.note_reason(instrument, reading, reason)
        return wanted, reason

    def stop(self) -> None:
        super().stop()
        for instrument in self.traded:
            instrument.warn_if_untraded()


def _require_whole_dates(traded: Sequence[TradedData]) -> None:
    """Refuse live datas whose forecasts need all bars of a date, of whoever decides bar by bar."""
    for instrument in traded:
        indicator = instrument.signal.indicator
        if indicator is not None and indicator.is_placed and is_live(instrument.source):
            raise ValueError(
                f"data {instrument.name!r} must be traded live by BookStrategy, got a strategy "
                f"that decides at each bar: {indicator.schedule.path} reads the place of an "
                "instrument among all, which is known when the last of a date has come."
            )
