"""Trades a model's probabilities in Backtrader: reads a signal per data, decides by `target`, hands orders to a desk."""
import warnings
from collections import Counter
from typing import Any

import backtrader as bt

from strategy_plugin.decision import target
from strategy_plugin.guard import BarGuard, TradingWarning
from strategy_plugin.indicator import DirectionProbability
from strategy_plugin.journal import Journal
from strategy_plugin.lane import Decision, Lane
from strategy_plugin.orders import Desk, Order, Rules, direction
from strategy_plugin.signals import NOTHING, LineSignal, ModelSignal, Reading
from strategy_plugin.sizers import EquityShare
from strategy_plugin.stops import ATR_BARS, Stops, stops


class BiLSTMStrategy(bt.Strategy):  # type: ignore[misc]
    """Holds a position while the probability of a rise is on its side.

    Buy Logic:
      - Open long where the probability is at or above `enter`, stay long while it is at or above `exit`
      - With `allow_short`, open short at or below 1 - enter, stay short while at or below 1 - exit
      - Levels, not edges; a NaN keeps what is held

    Order Execution Type:
      - Market, decided at a bar's close, filled at the next open; size by the Sizer (EquityShare by default)

    Params:
      - checkpoint: a file or a folder; "{name}" in it stands for the data's name. "": the feeds have a line `probability`
      - enter, exit: .5 <= exit <= enter < 1; None takes the checkpoint's own
      - allow_short: False trades long or flat
      - in_sample: "refuse" does not trade bars before a single file's `trained_until`; "trade" does, and marks the result
      - max_model_age: bars after `trained_until` beyond which no position is opened; 0 for no limit
      - max_disagreement: disagreement of the checkpoint's members above which no position is opened; None for no limit
      - max_gap: bars missing between two others beyond which no window that contains them is predicted; 0 for no limit
      - timezone, stamp: what the feeds' stamps are in and mark; None as in training, anything else is refused
      - names: the datas to trade, separated by commas; "" takes all with the first one's timeframe
      - max_exposure: cap on the sum of all positions over equity, shorts included, applied before an order is sent
      - retries, patience: orders refused in a row before an opening is given up; bars an order may stay unfilled
      - stop_loss, take_profit, trailing: "" or a distance like "3%" or "2atr" (true range averaged over 14 bars);
        after a stop the direction is opened again only once the signal has left it
      - journal: a file to which every decision is appended as a line of JSON; `strategy_plugin.replay(file)` makes them again
    """

    params = (
        ("checkpoint", ""), ("enter", None), ("exit", None), ("allow_short", False), ("in_sample", "refuse"),
        ("max_model_age", 0), ("max_disagreement", None), ("max_gap", 0), ("timezone", None), ("stamp", None),
        ("names", ""), ("max_exposure", 1.0), ("retries", 3), ("patience", 5),
        ("stop_loss", ""), ("take_profit", ""), ("trailing", ""), ("journal", ""),
    )

    def __init__(self) -> None:
        _require_params(self.p)
        self.setsizer(EquityShare())
        self.traded = _traded(self.datas, self.p.names)
        self.traded_in_sample = False
        self._journal: Journal | None = None
        rules = Rules(self.p.retries, self.p.patience, stops(self.p.stop_loss, self.p.take_profit, self.p.trailing))
        self.lanes = [self._lane(data, name, rules) for data, name in zip(self.traded, _lane_names(self.traded))]

    def _lane(self, data: Any, name: str, rules: Rules) -> Lane:
        signal = self._signal(data, name)
        return Lane(data, name, signal, Desk(_Venue(self, data, name, rules.stops), rules), _guard(data, signal.finished_after))

    def _signal(self, data: Any, name: str) -> ModelSignal | LineSignal:
        if not self.p.checkpoint:
            return LineSignal(data, self.p.enter, self.p.exit)
        path = self.p.checkpoint.replace("{name}", name)
        serving = {"checkpoint": path, "max_gap": self.p.max_gap, "timezone": self.p.timezone, "stamp": self.p.stamp}
        indicator = DirectionProbability(data, **serving)  # type: ignore[call-arg]
        return ModelSignal(indicator, self.p.enter, self.p.exit)

    def start(self) -> None:
        if getattr(getattr(self.broker, "p", None), "coc", False):
            raise ValueError("cheat_on_close must be off: it fills at the close that the decision was made from. "
                             "Call cerebro.broker.set_coc(False).")
        if self.p.journal:
            live = any(data.islive() for data in self.traded)
            self._journal = Journal(self.p.journal, self.p._getkwargs(), self.lanes, live)

    def prenext(self) -> None:
        self.next()  # with several datas the host waits for the last one's warm-up; each lane knows its own

    def next(self) -> None:
        choices = [(lane, self._choice(lane)) for lane in self.lanes if lane.moved()]
        for lane, decision in sorted(choices, key=_closes_first):
            lane.act(decision)
            if self._journal is not None:
                self._journal.note(lane)

    def _choice(self, lane: Lane) -> Decision:
        reading, held = lane.read(), lane.desk.held
        wanted = self._decide(lane, reading)
        return Decision(len(lane.data) + lane.ago, lane.signal.stamp(lane.ago), reading, held, wanted, lane.reason)

    def _decide(self, lane: Lane, reading: Reading) -> int:
        """Return the direction wanted on a bar; what is held where nothing may be decided."""
        held = lane.desk.held
        if not lane.live or (reading.in_sample and self.p.in_sample == "refuse"):
            lane.refuse("not live" if not lane.live else "in sample")
            return held
        if reading is NOTHING:
            lane.refuse("no model in force")
            return held
        lane.decided += 1
        self.traded_in_sample |= reading.in_sample
        wanted = target(reading.probability, held, **reading.thresholds._asdict(), allow_short=self.p.allow_short)
        return self._young(lane, reading, held, self._agreed(lane, reading, held, wanted))

    def _agreed(self, lane: Lane, reading: Reading, held: int, wanted: int) -> int:
        """Return what is wanted, but no opening where the members disagree by more than `max_disagreement`."""
        if self.p.max_disagreement is None or reading.disagreement <= self.p.max_disagreement or wanted in (0, held):
            return wanted
        lane.refuse("members disagree")
        return 0

    def _young(self, lane: Lane, reading: Reading, held: int, wanted: int) -> int:
        """Return what is wanted, but no opening by a model older than `max_model_age`."""
        if not 0 < self.p.max_model_age < reading.age or wanted in (0, held):
            return wanted
        if not lane.refused["model too old"]:
            warnings.warn(f"data {lane.name!r}: the model is {reading.age} bars old, "
                          f"`max_model_age` is {self.p.max_model_age}; "
                          "no position is opened until a younger one is there", TradingWarning, stacklevel=2)
        lane.refuse("model too old")
        return 0

    def notify_order(self, order: Order) -> None:
        for lane in self.lanes:
            lane.desk.notice(order)

    def notify_data(self, data: Any, status: int, *args: Any, **kwargs: Any) -> None:
        for lane in self.lanes:
            if lane.data is data:
                lane.live = status == data.LIVE

    def stop(self) -> None:
        if self._journal is not None:
            self._journal.close()
        for lane in self.lanes:
            lane.desk.close_books()
            if lane.refused["not live"] and not lane.decided:
                warnings.warn(f"data {lane.name!r}: the feed never reported LIVE, so none of its {lane.refused['not live']} bars "
                              "was traded", TradingWarning, stacklevel=2)
            if lane.refused["no model in force"] and lane.decided <= 1:
                warnings.warn(f"data {lane.name!r}: no model of {self.p.checkpoint} was in force before the last bar, so none of "
                              f"its {lane.refused['no model in force']} bars was traded. Give later bars: a model may decide "
                              "from the bar of its `trained_until` on", TradingWarning, stacklevel=2)
            if lane.refused["in sample"] and not lane.decided:
                raise ValueError(f"data {lane.name!r}: all {lane.refused['in sample']} bars lie before the checkpoint's "
                                 "`trained_until`, so the model has seen them and none was traded. "
                                 "Give later bars, or in_sample=\"trade\" to trade them all the same.")

    def refusals(self) -> dict[str, Counter[str]]:
        """Return by data what was not predicted, not decided, not ordered or not filled, and why, with counts."""
        return {lane.name: lane.counts() for lane in self.lanes}


class _Venue:
    """Backtrader's broker as a desk sees it: one data's position, the sizer's units, and orders."""

    def __init__(self, strategy: BiLSTMStrategy, data: Any, name: str, protection: Stops) -> None:
        self._strategy, self._data, self.name = strategy, data, name
        self._atr = _average_true_range(data) if protection.needs_atr else None

    @property
    def size(self) -> float:
        return float(self._strategy.getposition(self._data).size)

    def units(self, direction: int) -> float:
        return float(self._strategy.getsizing(self._data, isbuy=direction > 0))

    def room(self) -> float:
        """Return the units that the cap on exposure leaves for this data."""
        strategy = self._strategy
        cap: float = strategy.p.max_exposure * strategy.broker.getvalue()
        others = sum(exposure(strategy, lane) for lane in strategy.lanes if lane.data is not self._data)
        return max(0.0, (cap - others) / worth(strategy, self._data))

    def market(self, size: float) -> Order | None:
        return self._send(size)

    def protect(self, protection: Stops) -> list[Order]:
        """Send a stop and a limit order for the whole position, of which one filled cancels the other."""
        position = self._strategy.getposition(self._data)
        side, atr = direction(position.size), self._atr[0] if self._atr is not None else 0.0
        sent: list[Order | None] = []
        if protection.trailing is not None:
            distance = protection.trailing.of(position.price, atr)
            sent.append(self._send(-position.size, exectype=bt.Order.StopTrail, trailamount=distance))
        if protection.stop_loss is not None:
            stop = position.price - side * protection.stop_loss.of(position.price, atr)
            sent.append(self._send(-position.size, exectype=bt.Order.Stop, price=stop))
        if protection.take_profit is not None:
            limit = position.price + side * protection.take_profit.of(position.price, atr)
            sent.append(self._send(-position.size, exectype=bt.Order.Limit, price=limit, oco=sent[0] if sent else None))
        return [order for order in sent if order is not None]

    def cancel(self, order: Order) -> None:
        self._strategy.cancel(order)

    def _send(self, size: float, **kind: Any) -> Order | None:
        send = self._strategy.buy if size > 0 else self._strategy.sell
        order: Order | None = send(data=self._data, size=abs(size), **kind)
        return order


def worth(strategy: bt.Strategy, data: Any) -> float:
    """Return the exposure of one unit."""
    return float(data.close[0] * strategy.broker.getcommissioninfo(data).p.mult)


def exposure(strategy: bt.Strategy, lane: Lane) -> float:
    """Return the exposure of a lane once its working order is filled."""
    if not len(lane.data):
        return 0.0
    pending = lane.desk.working.executed.remsize if lane.desk.working is not None else 0.0  # type: ignore[attr-defined]
    return abs(float(strategy.getposition(lane.data).size) + pending) * worth(strategy, lane.data)


def _guard(data: Any, finished_after: float | None) -> BarGuard:
    """Put a guard before a live feed; bars that are resampled or replayed are made of others and guarded at their source."""
    guard = BarGuard(data, finished_after)
    if data.islive() and not data.resampling and not data.replaying:
        data.addfilter(guard)
    return guard


def _closes_first(choice: tuple[Lane, Decision]) -> bool:
    """Sort closes before openings: what a close sets free can then be used, and a refused opening harms no close."""
    decision = choice[1]
    return decision.wanted != 0 and decision.wanted != -decision.held


def _average_true_range(data: Any) -> Any:
    return bt.indicators.SMA(bt.indicators.TrueRange(data, plot=False), period=ATR_BARS, plot=False)


def _traded(datas: list[Any], names: str) -> list[Any]:
    """Return the datas to trade: those named, or all with the first one's timeframe."""
    if not names:
        return [data for data in datas if (data._timeframe, data._compression) == (datas[0]._timeframe, datas[0]._compression)]
    wanted = [name.strip() for name in names.split(",")]
    known = {data._name: data for data in datas}
    missing = [name for name in wanted if name not in known]
    if missing:
        raise ValueError(f"`names` must be among the datas {', '.join(known)}, got {', '.join(missing)}. "
                         "Name a feed with adddata(feed, name=...).")
    return [known[name] for name in wanted]


def _lane_names(datas: list[Any]) -> list[str]:
    """Return the datas' names, with a number for those that have none or that of another."""
    names = [data._name for data in datas]
    return [name if name and names.count(name) == 1 else f"{name or 'data'}{number}" for number, name in enumerate(names)]


def _require_params(params: Any) -> None:
    """Check what no other room checks, all faults at once."""
    rules = {
        f"`in_sample` must be 'refuse' or 'trade', got {params.in_sample!r}": params.in_sample in ("refuse", "trade"),
        f"`max_model_age` must be at least 0, got {params.max_model_age!r}": params.max_model_age >= 0,
        f"`max_disagreement` must be at least 0 or None, got {params.max_disagreement!r}": (params.max_disagreement or 0) >= 0,
        "`max_disagreement` must be None where `checkpoint` is empty: a feed of probabilities has no members":
            params.checkpoint or params.max_disagreement is None,
        f"`max_gap` must be at least 0, got {params.max_gap!r}": params.max_gap >= 0,
        f"`max_exposure` must be above 0, got {params.max_exposure!r}": params.max_exposure > 0,
        f"`retries` must be at least 0, got {params.retries!r}": params.retries >= 0,
        f"`patience` must be at least 1, got {params.patience!r}": params.patience >= 1,
    }
    faults = [fault for fault, holds in rules.items() if not holds]
    if faults:
        raise ValueError("; ".join(faults) + ".")
