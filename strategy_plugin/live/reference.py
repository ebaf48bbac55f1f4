"""The backtest of what was traded live: the same bars, rules, lots, costs and account."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, NamedTuple

import backtrader as bt
import pandas as pd

from model.errors import BarsError
from strategy_plugin.book import BookStrategy
from strategy_plugin.guard import TradingWarning
from strategy_plugin.journal import Entry, Header, Terms, or_nan, read_journal, time_text
from strategy_plugin.live.rules import LotBroker
from strategy_plugin.sizers import EquityShare, FractionalCommission
from strategy_plugin.strategy import BiLSTMStrategy

# Of a journal whose broker stated none.
PLAIN: Terms = {"lots": {}, "commission": 0.0, "slippage": 0.0}
Lines = dict[str, dict[str, Entry]]  # of a journal: by data and bar


class Account(NamedTuple):
    """What a run began with: its first bar that was decided on, cash, and units by data."""

    since: str
    cash: float
    held: Mapping[str, float]


class WithProbability(bt.feeds.PandasData):  # type: ignore[misc]
    """Bars with the probabilities that a live feed brought along."""

    lines = ("probability",)
    params = (("probability", "probability"),)


def backtest(
    header: Header,
    bars: Mapping[str, pd.DataFrame],
    account: Account,
    said: Mapping[str, Mapping[str, float]],
    checkpoint: Path | None = None,
    series: Mapping[str, pd.DataFrame] = MappingProxyType({}),
) -> Lines:
    """Return the lines that the journal of a backtest has, by data and bar.

    Parameters
    ----------
    header
        Of the live run: its rules, its sizer and the terms of its broker.
    bars
        Of each data, from the first that is to be seen on.
    account
        Cash and positions, and from when on is traded.
    said
        The probabilities of datas that brought them along, by data and bar.
    checkpoint
        Another place of the model than the journal names.
    series
        The bars of the other series that the models read, by name.
    """
    terms = header.get("terms", PLAIN)
    broker = LotBroker(lots=terms["lots"], lot=1e-9)
    broker.set_cash(account.cash)
    broker.set_slippage_perc(terms["slippage"], slip_open=True, slip_match=True, slip_out=True)
    broker.addcommissioninfo(FractionalCommission(commission=terms["commission"]))
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.broker = broker
    for name, frame in bars.items():
        if name in said:
            times = map(time_text, pd.DatetimeIndex(frame.index).as_unit("ns").asi8.tolist())
            own = frame.assign(probability=[said[name].get(time, float("nan")) for time in times])
            cerebro.adddata(_feed(WithProbability, own), name=name)
        else:
            cerebro.adddata(_feed(bt.feeds.PandasData, frame), name=name)
    for name in series_of(header):
        if name not in series:
            raise BarsError(
                f"`context` must give the bars of {name}, which the models read beside what was "
                f"traded, got {', '.join(series) or 'none'}. Name each file after its series."
            )
        cerebro.adddata(_feed(bt.feeds.PandasData, series[name]), name=name)
    is_book = "rebalance" in header["params"]
    if not is_book:
        cerebro.addsizer(EquityShare, **dict(header["sizer"] or {}))
    kind: Any = BookStrategy if is_book else BiLSTMStrategy
    known = kind.params._getkeys()  # a live strategy has more of its own
    rules = {name: value for name, value in header["params"].items() if name in known}
    if checkpoint is not None and rules["checkpoint"]:
        rules["checkpoint"] = str(checkpoint)
    rules |= {"trade_from": str(pd.Timestamp(account.since))}
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", TradingWarning)  # they were shown when it was traded
        journal = str(Path(folder, "backtest.jsonl"))
        kind = _beginning_with(kind, account.held)
        cerebro.addstrategy(kind, **rules | {"journal": journal})
        cerebro.run()
        lines: Lines = {name: {} for name in bars}
        for line in read_journal(journal)[0]:
            if "data" in line:
                lines[line["data"]][line["bar"]] = line  # type: ignore[assignment]
    return lines


def series_of(header: Header) -> list[str]:
    """Return the names of the other series that a run was traded with."""
    return [name for name in str(header["params"].get("context", "")).split(",") if name]


def _beginning_with(kind: Any, held: Mapping[str, float]) -> Any:
    """Return a class of strategy whose backtest begins with positions, as the live run did."""

    class Reference(kind):  # type: ignore[misc]
        def start(self) -> None:
            for data in self.datas:
                # At what price each was opened tells no decision anything.
                self.broker.positions[data].set(held.get(data._name, 0.0), 1.0)
            super().start()

    return Reference


def _feed(kind: Any, frame: pd.DataFrame) -> bt.feed.DataBase:
    index = pd.DatetimeIndex(frame.index)
    is_daily = bool((index == index.normalize()).all())
    timeframe = bt.TimeFrame.Days if is_daily else bt.TimeFrame.Minutes
    return kind(dataname=frame, timeframe=timeframe)


def account_of(first: Mapping[str, Entry]) -> Account:
    """Return what a run began with, from each data's first line that was decided on."""
    lines = sorted(first.values(), key=lambda line: line["bar"])
    cash = or_nan(lines[0]["facts"].get("cash"))
    if cash != cash:
        raise BarsError(
            "the journal must tell the cash of its account, got lines without it. It was written "
            "by an earlier version: only what is traded from now on can be reconciled."
        )
    return Account(lines[0]["bar"], cash, {name: line["position"] for name, line in first.items()})
