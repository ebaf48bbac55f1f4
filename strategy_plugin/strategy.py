"""Trades a model's probabilities in Backtrader: reads a signal per data, decides by `target`, hands orders to a desk."""

import math
import warnings
from collections import Counter
from numbers import Integral, Real
from typing import Any

import backtrader as bt
import numpy as np

from model.checkpoint.schedule import Schedule
from strategy_plugin.broker import BrokerVenue
from strategy_plugin.decision import (
    DECIDED,
    IN_SAMPLE,
    NO_MODEL,
    NOT_LIVE,
    TOO_OLD,
    LineSignal,
    ModelSignal,
    Reading,
    decide,
)
from strategy_plugin.guard import TradingWarning, guard_for
from strategy_plugin.indicator import DirectionProbability
from strategy_plugin.instrument import Decision, Lane
from strategy_plugin.journal import Journal
from strategy_plugin.orders import Desk, Order, Rules, stops
from strategy_plugin.sizers import EquityShare, formula

# Params that a wrong type would only harm in the midst of trading.
TEXTS = ("checkpoint", "journal", "names", "stop_loss", "take_profit", "trailing")
# Params that do nothing where a feed brings its own probabilities, as there is no model then.
OF_A_MODEL = (
    "in_sample",
    "max_model_age",
    "max_disagreement",
    "max_gap",
    "timezone",
    "stamp",
    "precision",
)
MOST_NAMES = 5  # of checkpoints in one message


class BiLSTMStrategy(bt.Strategy):  # type: ignore[misc]
    """Holds a position while the probability of a rise is on its side.

    Buy Logic:
      - Open long where the probability is at or above `enter`, stay long while it is at or above `exit`
      - With `allow_short`, open short at or below 1 - enter, stay short while at or below 1 - exit
      - Levels, not edges; a NaN keeps what is held

    Order Execution Type:
      - Market, decided at a bar's close, filled at the next open; size by the Sizer (EquityShare by default)
      - Stops are placed at the close of the bar that filled the position, and follow its size; one that fills in parts is
        finished at the market

    Params:
      - checkpoint: a file or a folder; "{name}" in it stands for the data's name. "": the feeds have a line `probability`
      - enter, exit: .5 <= exit <= enter < 1; None takes the checkpoint's own
      - allow_short: False trades long or flat
      - in_sample: "refuse" does not trade bars before a single file's `trained_until`; "trade" does, and marks the result
      - max_model_age: bar intervals after `trained_until`, nights and weekends included, beyond which no position is opened;
        None for no limit
      - max_disagreement: disagreement of the checkpoint's members above which no position is opened; None for no limit
      - max_gap: bars missing between two others beyond which no window that contains them is predicted, of daily bars a
        weekend is two and a long one three or four; None for no limit
      - timezone, stamp: what the feeds' stamps are in and mark; None as in training, anything else is refused
      - precision: "fp32", or "bf16", which is faster on processors with AMX: backtest and live then agree to some 1e-3 only
      - names: the datas to trade, separated by commas; "" takes all with the first one's timeframe
      - max_exposure: cap on the sum of all positions over equity, shorts included, applied before an order is sent; a close
        sent on the same bar counts as done
      - retries, patience: orders refused in a row before an opening is given up; bars an order may stay unfilled
      - stop_loss, take_profit, trailing: "" or a distance like "3%" or "2atr" (true range averaged over 14 bars);
        after a stop the direction is opened again only once the signal has left it
      - adopt: with stops, a position that is there at the start is left alone until it is closed, as stops of an earlier run
        may still work at the broker; True takes it over and gives it new ones: cancel those that are there first
      - journal: a file to which every decision is appended as a line of JSON; `strategy_plugin.replay(file)` makes them again

    Live: nothing is ordered before the feed reports LIVE. A bar that still grows is kept out where the clock can tell it: within
    the day with stamps in UTC, of daily bars where the feed has its `sessionend` and `tz`. What an earlier run ordered is not
    seen.

    Several feeds and exactbars=1: where one has no bar at a step of another, Backtrader itself fails with "deque index out of
    range", whatever the strategy. Use exactbars=-1 or -2.
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
        ("journal", ""),
    )

    def __init__(self) -> None:
        _require_params(self.p)
        self.setsizer(EquityShare())
        self.traded = _traded(self.datas, self.p.names)
        self.traded_in_sample = False
        self._journal: Journal | None = None
        protection = stops(self.p.stop_loss, self.p.take_profit, self.p.trailing)
        rules = Rules(self.p.retries, self.p.patience, protection, self.p.adopt)
        self.lanes = [
            self._lane(data, name, rules)
            for data, name in zip(self.traded, _lane_names(self.traded))
        ]
        if self.p.max_disagreement is not None:
            _require_members([lane.indicator.schedule for lane in self.lanes])

    def _lane(self, data: Any, name: str, rules: Rules) -> Lane:
        signal = self._signal(data, name)
        return Lane(
            data,
            name,
            signal,
            Desk(BrokerVenue(self, data, name), rules),
            guard_for(data, finished_after=signal.finished_after, daily=signal.daily),
        )

    def _signal(self, data: Any, name: str) -> ModelSignal | LineSignal:
        if not self.p.checkpoint:
            return LineSignal(data, self.p.enter, self.p.exit)
        path = self.p.checkpoint.replace("{name}", name)
        serving = {
            "checkpoint": path,
            "max_gap": self.p.max_gap,
            "timezone": self.p.timezone,
            "stamp": self.p.stamp,
            "precision": self.p.precision,
        }
        indicator = DirectionProbability(data, **serving)  # type: ignore[call-arg]
        return ModelSignal(indicator, self.p.enter, self.p.exit)

    def start(self) -> None:
        if getattr(getattr(self.broker, "p", None), "coc", False):
            raise ValueError(
                "cheat_on_close must be off: it fills at the close that the decision was made from. "
                "Call cerebro.broker.set_coc(False)."
            )
        if self.p.journal:
            live = any(lane.source.islive() for lane in self.lanes)
            self._journal = Journal(
                self.p.journal, self.p._getkwargs(), formula(self.getsizer()), self.lanes, live
            )

    def prenext(self) -> None:
        self.next()  # with several datas the host waits for the last one's warm-up; each lane knows its own

    def next(self) -> None:
        for lane in self.lanes:
            lane.desk.fresh = False
        choices = [(lane, self._choice(lane)) for lane in self.lanes if lane.moved()]
        for lane, decision in sorted(choices, key=_closes_first):
            lane.act(decision)
            if self._journal is not None:
                self._journal.note(lane)

    def _choice(self, lane: Lane) -> Decision:
        reading, held = lane.read(), lane.desk.held
        wanted, reason = self._decide(lane, reading)
        return Decision(
            len(lane.data) + lane.ago, lane.signal.stamp(lane.ago), reading, held, wanted, reason
        )

    def _decide(self, lane: Lane, reading: Reading) -> tuple[int, str]:
        """Return the direction wanted on a bar, what is held where nothing may be decided, and why it is not the signal's."""
        wanted, reason = decide(reading, lane.desk.held, self.p, lane.live)
        if reason == TOO_OLD and not lane.refused[TOO_OLD]:
            warnings.warn(
                f"data {lane.name!r}: the model is {reading.age} bar intervals old, "
                f"`max_model_age` is {self.p.max_model_age}; "
                "no position is opened until a younger one is there",
                TradingWarning,
                stacklevel=2,
            )
        if reason:
            lane.refused[reason] += 1
        if reason in DECIDED:
            lane.decided += 1
            self.traded_in_sample |= reading.in_sample
        return wanted, reason

    def notify_order(self, order: Order) -> None:
        for lane in self.lanes:
            lane.desk.notice(order)

    def notify_data(self, data: Any, status: int, *args: Any, **kwargs: Any) -> None:
        for lane in self.lanes:
            if lane.source is data:
                lane.live = status == data.LIVE

    def stop(self) -> None:
        if self._journal is not None:
            self._journal.close()
        for lane in self.lanes:
            lane.desk.close_books()
        for lane in self.lanes:
            self._say_if_untraded(lane)

    def _say_if_untraded(self, lane: Lane) -> None:
        """Warn of a data of which no bar could be traded, and why; ValueError where the model has seen all of them."""
        if lane.indicator is not None and lane.decided and not lane.heard:
            gaps = (
                ""
                if self.p.max_gap is None
                else (
                    f", or `max_gap`={self.p.max_gap} finds a gap in every window: of daily bars "
                    "a weekend is two missing ones and a long one three"
                )
            )
            warnings.warn(
                f"data {lane.name!r}: none of its {lane.decided} bars had a forecast, so none was traded: fewer than "
                f"{lane.indicator.schedule.bars_needed} were sound{gaps}",
                TradingWarning,
                stacklevel=2,
            )
        if lane.refused[NOT_LIVE] and not lane.decided:
            warnings.warn(
                f"data {lane.name!r}: the feed never reported LIVE, so none of its {lane.refused[NOT_LIVE]} bars "
                "was traded. See that it connects and that its backfill ends; a feed that sends no such report must "
                "say False in islive()",
                TradingWarning,
                stacklevel=2,
            )
        if lane.refused[NO_MODEL] and lane.decided <= 1:
            warnings.warn(
                f"data {lane.name!r}: no model of {self.p.checkpoint} was in force before the last bar, so none of "
                f"its {lane.refused[NO_MODEL]} bars was traded. Give later bars: a model may decide "
                "from the bar of its `trained_until` on",
                TradingWarning,
                stacklevel=2,
            )
        if lane.refused[IN_SAMPLE] and not lane.decided:
            raise ValueError(
                f"data {lane.name!r}: all {lane.refused[IN_SAMPLE]} bars lie before the checkpoint's "
                "`trained_until`, so the model has seen them and none was traded. "
                'Give later bars, or in_sample="trade" to trade them all the same.'
            )

    def refusals(self) -> dict[str, Counter[str]]:
        """Return by data what was not predicted, not decided, not ordered or not filled, and why, with counts."""
        return {lane.name: lane.counts() for lane in self.lanes}


def _closes_first(choice: tuple[Lane, Decision]) -> bool:
    """Sort closes before openings: what a close sets free can then be used, and a refused opening harms no close."""
    decision = choice[1]
    return decision.wanted != 0 and decision.wanted != -decision.held


def _traded(datas: list[Any], names: str) -> list[Any]:
    """Return the datas to trade: those named, or all with the first one's timeframe."""
    if not names:
        return [
            data
            for data in datas
            if (data._timeframe, data._compression) == (datas[0]._timeframe, datas[0]._compression)
        ]
    wanted = [name.strip() for name in names.split(",")]
    known = {data._name: data for data in datas}
    missing = [name for name in wanted if name not in known]
    if missing:
        raise ValueError(
            f"`names` must be among the datas {', '.join(known)}, got {', '.join(missing)}. "
            "Name a feed with adddata(feed, name=...)."
        )
    if len(set(wanted)) < len(wanted):
        raise ValueError(
            f"`names` must name each data once, got {names!r}: two lanes would trade one position."
        )
    return [known[name] for name in wanted]


def _lane_names(datas: list[Any]) -> list[str]:
    """Return the datas' names, with a number for those that have none or that of another."""
    names = [data._name for data in datas]
    return [
        name if name and names.count(name) == 1 else f"{name or 'data'}{number}"
        for number, name in enumerate(names)
    ]


def _require_params(params: Any) -> None:
    """Check what no other room checks, all faults at once."""
    optional = {"max_model_age": 0, "max_gap": 0}
    faults = [
        f"`{name}` must be a whole number from {least}{' or None' * (name in optional)}, got {getattr(params, name)!r}"
        for name, least in {**optional, "retries": 0, "patience": 1}.items()
        if not (
            _whole(getattr(params, name), least)
            or name in optional
            and getattr(params, name) is None
        )
    ]
    faults += [
        f"`{name}` must be True or False, got {getattr(params, name)!r}"
        for name in ("allow_short", "adopt")
        if not isinstance(getattr(params, name), (bool, np.bool_))
    ]
    faults += [
        f"`{name}` must be text, got {getattr(params, name)!r}"
        for name in TEXTS
        if not isinstance(getattr(params, name), str)
    ]
    rules = {
        f"`in_sample` must be 'refuse' or 'trade', got {params.in_sample!r}": params.in_sample
        in ("refuse", "trade"),
        f"`max_disagreement` must be a number from 0 or None, got {params.max_disagreement!r}": params.max_disagreement
        is None
        or _finite(params.max_disagreement)
        and params.max_disagreement >= 0,
        f"`max_exposure` must be a finite number above 0, got {params.max_exposure!r}": _finite(
            params.max_exposure
        )
        and params.max_exposure > 0,
    } | {
        f"`{name}` must be a number or None, got {value!r}": value is None or _finite(value)
        for name, value in (("enter", params.enter), ("exit", params.exit))
    }
    faults += [fault for fault, holds in rules.items() if not holds]
    if params.checkpoint == "":
        faults += [
            f"`{name}` must be {params._getkwargsdefault()[name]!r} where `checkpoint` is empty, "
            f"got {getattr(params, name)!r}: a feed of probabilities has no model that it could "
            "concern. Leave it out or give a checkpoint"
            for name in OF_A_MODEL
            if params.notdefault(name)
        ]
    if faults:
        raise ValueError("; ".join(faults) + ".")


def _require_members(schedules: list[Schedule]) -> None:
    """Refuse `max_disagreement` where no checkpoint has several members; warn where only some have
    them, or one that has may yet come."""
    members = {
        str(schedule.path / schedule.name(one) if schedule.folder else schedule.path): one.members
        for schedule in schedules
        for one in schedule.checkpoints
    }
    single = [path for path, ours in members.items() if len(ours) == 1]
    if not single:
        return
    alone = f"`max_disagreement` does nothing under {', '.join(single[:MOST_NAMES])}"
    if len(single) > MOST_NAMES:
        alone += f" and {len(single) - MOST_NAMES} more"
    alone += ", of one member each: nothing can disagree there"
    if len(single) == len(members) and not any(schedule.folder for schedule in schedules):
        raise ValueError(f"{alone}. Leave it out, or train with several seeds or as an ensemble.")
    warnings.warn(
        f"{alone}. Leave it out, or train those with several seeds or as an ensemble",
        TradingWarning,
        stacklevel=3,
    )


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def _finite(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
