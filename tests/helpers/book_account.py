"""A book's account computed from arrays alone, without Backtrader and without the plugin.

And the universes and runs that it is compared with.
"""

from typing import Any, NamedTuple

import backtrader as bt
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strategy_plugin.book import BookStrategy
from strategy_plugin.settling import SettlingBroker
from tests.helpers.hosts import feed

Array = NDArray[np.float64]


class Ledger(NamedTuple):
    """Equity and positions at each date, (dates,) and (dates, names); positions settled."""

    equity: Array
    units: Array
    settled: int


class Costs(NamedTuple):
    """By name (names,): commission as a share of the value, borrow of shorts per year."""

    commission: Array
    borrow: Array


def account(
    universe: dict[str, pd.DataFrame],
    costs: Costs,
    *,
    n: int,
    keep: float = 1.0,
    gross: float = 0.9,
    rebalance: int = 1,
    patience: int = 5,
    loss: float = 0.0,
    whole: bool = False,
    cash: float = 100_000.0,
) -> Ledger:
    """Trade the n best long and the n worst short, in equal weights, each fill at the next open."""
    # By date, column and name.
    joined = pd.concat(dict(sorted(universe.items())), axis=1, sort=True).swaplevel(axis=1)
    opens, closes, scores = (joined[part].to_numpy() for part in ("open", "close", "probability"))
    units, aim, entry, missed, credited = np.zeros((5, len(universe)))
    last = np.full(len(universe), np.nan)
    since, rows, settled = rebalance, [], 0
    for t, day in enumerate(pd.DatetimeIndex(joined.index).to_julian_date()):
        now = np.isfinite(closes[t])
        # Borrow, for the days since the last bar and at the price of entry, as Backtrader has it.
        short = now & (units < 0)
        owed = costs.borrow / 365 * np.abs(units) * entry * (day - credited)
        cash -= owed[short].sum()
        credited[now] = day
        # Fills.
        trade = np.where(now, aim - units, 0.0)
        price = np.where(now, opens[t], 0.0)
        cash -= trade @ price + np.abs(trade) @ (price * costs.commission)
        entry = _entries(units, entry, trade, price)
        units = units + trade
        last[now] = closes[t][now]
        value = np.nan_to_num(last)
        # Settlements.
        missed = np.where(now, 0, missed + np.isfinite(last))
        aim[missed == patience] = 0.0
        gone = (missed == patience) & (units != 0)
        paid = value * (1 - loss)
        cash += (units * paid - np.abs(units) * paid * costs.commission)[gone].sum()
        units[gone], settled = 0.0, settled + int(gone.sum())
        equity = cash + units @ value
        rows.append((equity, units.copy()))
        # The ranking of the date.
        ranked = now & np.isfinite(scores[t])
        since += bool(now.any())
        if since >= rebalance and ranked.sum() >= 2 * n:
            since = 0
            exposure = np.maximum(np.abs(units), np.abs(aim)) * value / equity
            side = np.sign(np.where(aim != 0, aim, units))
            known = np.where(ranked, scores[t], np.nan)
            wanted = _weights(known, side, exposure * ~ranked, n, keep, gross)[ranked]
            wanted *= equity / value[ranked]
            aim[ranked] = np.trunc(wanted) if whole else wanted
    return Ledger(*map(np.array, zip(*rows)), settled)


def _entries(units: Array, entry: Array, trade: Array, price: Array) -> Array:
    """Mean prices of entry after a trade: more of a side changes them, less of it does not."""
    after = units + trade
    more = (after * units >= 0) & (np.abs(after) > np.abs(units))
    with np.errstate(all="ignore"):
        mean = (units * entry + trade * price) / after
    return np.where(more, mean, np.where(after * units < 0, price, entry))


def _weights(scores: Array, side: Array, frozen: Array, n: int, keep: float, gross: float) -> Array:
    weights = np.zeros(len(scores))
    order = [i for i in np.argsort(-scores, kind="stable") if np.isfinite(scores[i])]
    room = max(0.0, gross - frozen.sum())
    asked = {}
    for sign, ranks in ((1, order), (-1, order[::-1])):
        others = (order[::-1] if sign == 1 else order)[:n]
        kept = [i for i in ranks[: int(keep * n + 1e-9)] if side[i] == sign and i not in others]
        chosen = kept + [i for i in ranks[:n] if i not in kept]
        places = n - int(((side == sign) & (frozen > 0)).sum())
        own = frozen[side == sign].sum()
        asked[sign] = chosen[: max(0, places)], max(0.0, gross / 2 - own)
    total = sum(money for _, money in asked.values())
    for sign, (chosen, money) in asked.items():
        part = money * min(1.0, room / total) if total else 0.0
        weights[chosen] = sign * part / max(1, len(chosen))
    return weights


def ragged_universe(
    names: int = 20, dates: int = 250, seed: int = 0, holes: float = 0.02
) -> dict[str, pd.DataFrame]:
    """Random walks with scores; some begin late, some end early, all miss bars now and then."""
    draw = np.random.default_rng(seed)
    index = pd.bdate_range("2020-01-01", periods=dates)
    universe = {}
    for number in range(names):
        opens = 50 * np.exp(np.cumsum(draw.normal(0, 0.02, dates)))
        close = opens * np.exp(draw.normal(0, 0.01, dates))
        bars = pd.DataFrame(
            {
                "open": opens,
                "high": np.maximum(opens, close),
                "low": np.minimum(opens, close),
                "close": close,
                "volume": 1e6,
                # Ranks that last for some days.
                "probability": 0.5 + 0.1 * np.sin(np.arange(dates) / 15 + draw.normal(0, 9)),
            },
            index=index,
        )
        first = number * 9 if number % 5 == 4 else 0
        stop = dates - number * 7 if number % 5 == 3 else dates
        whole = draw.uniform(size=dates) >= holes
        # A halt within the patience, and one beyond it.
        if number in (1, 2):
            whole[100 : 103 if number == 1 else 112] = False
        universe[f"n{number:02d}"] = bars[first:stop][whole[first:stop]]
    return universe


class Watcher(bt.Analyzer):  # type: ignore[misc]
    """Equity and positions at each date."""

    def start(self) -> None:
        self.rows: dict[Any, tuple[float, list[float]]] = {}

    def prenext(self) -> None:
        self.next()

    def next(self) -> None:
        strategy = self.strategy
        sizes = [strategy.getposition(data).size for data in strategy.datas]
        self.rows[strategy.datetime.datetime()] = strategy.broker.getvalue(), sizes


class WatchedBook(BookStrategy):
    """Remembers the weights after each ranking and what became of each order."""

    def __init__(self) -> None:
        super().__init__()
        self.rankings: list[dict[str, float]] = []
        self.fills: list[tuple[str, str, float, float, str]] = []

    def _decide(self, *args: Any) -> None:
        before = self.n_ranked
        super()._decide(*args)
        if self.n_ranked > before:
            self.rankings.append({name: w for name, w in self.book.weights.items() if w})

    def notify_order(self, order: Any) -> None:
        super().notify_order(order)
        if not order.alive():
            done = order.executed
            self.fills.append(
                (
                    str(self.datetime.date()),
                    order.data._name,
                    done.size,
                    done.price,
                    order.getstatusname(),
                )
            )


def book_run(
    universe: dict[str, pd.DataFrame],
    costs: Costs | None = None,
    *,
    cash: float = 100_000.0,
    mode: dict[str, Any] | None = None,
    feeds: Any = feed,
    kind: type[bt.Strategy] = WatchedBook,
    **params: Any,
) -> Any:
    """Run a book over a universe in Backtrader; `watcher.rows` has the account."""
    cerebro = bt.Cerebro(**({"stdstats": False} | (mode or {})))
    cerebro.broker = SettlingBroker(cash=cash)
    for number, (name, bars) in enumerate(sorted(universe.items())):
        cerebro.adddata(feeds(bars, name), name=name)
        if costs is not None:
            commission, borrow = float(costs.commission[number]), float(costs.borrow[number])
            cerebro.broker.setcommission(commission=commission, interest=borrow, name=name)
    cerebro.addstrategy(kind, **params)
    cerebro.addanalyzer(Watcher, _name="watcher")
    [strategy] = cerebro.run()
    return strategy
