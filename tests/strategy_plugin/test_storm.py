"""Storms: several feeds, gaps, fillers, stops, too little cash.

One order per data, no exposure beyond the cap, an exact replay.
"""

from pathlib import Path
from typing import Any

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from strategy_plugin import BiLSTMStrategy, VolatilityTarget, replay
from strategy_plugin.broker import exposure
from tests.helpers.hosts import feed, host

BARS = 60
FILLERS = [None, bt.fillers.FixedBarPerc(perc=30), bt.fillers.FixedSize(size=25)]
SIZERS: list[Any] = [
    None,
    (bt.sizers.FixedSize, {"stake": 120}),
    (bt.sizers.FixedSize, {"stake": 15}),
    (VolatilityTarget, {"volatility": 0.02, "window": 5}),
]
STOPS: list[dict[str, str]] = [
    {},
    {"stop_loss": "3%"},
    {"stop_loss": "1atr", "take_profit": "4%"},
    {"trailing": "3%", "take_profit": "2atr"},
    {"trailing": "1atr"},
]
MODES: list[dict[str, Any]] = [{}, {"runonce": False}, {"exactbars": -1}]


class Watching(BiLSTMStrategy):
    """Looks at the broker after every bar."""

    def next(self) -> None:
        self.before = {order.ref for order in self.pending()}
        super().next()
        pending = self.pending()
        for instrument in self.traded:
            self.look(instrument, [order for order in pending if order.data is instrument.data])

    def pending(self) -> list[Any]:
        orders = (*self.broker.pending, *self.broker.submitted)
        return [order for order in orders if order is not None and order.alive()]

    def look(self, instrument: Any, orders: list[Any]) -> None:
        size = self.getposition(instrument.data).size
        working = [order for order in orders if order.exectype == bt.Order.Market]
        protective = [order for order in orders if order.exectype != bt.Order.Market]
        assert len(working) <= 1 and len(protective) <= 2 and not (working and protective)
        assert all(order.created.size == pytest.approx(-size) for order in protective)
        assert self.p.allow_short or size >= 0
        for order in working:
            if order.ref not in self.before and abs(size + order.created.size) > abs(size) + 1e-9:
                total = sum(exposure(self, each) for each in self.traded)
                assert total <= self.p.max_exposure * self.broker.getvalue() * (1 + 1e-6)


def stormy_feed(draw: np.random.Generator, number: int, volatility: float) -> Any:
    """A feed with gaps; the second ends early, and all but the first lack bars."""
    open = 100 * np.exp(np.cumsum(draw.normal(0, volatility, BARS)))
    close = open * np.exp(draw.normal(0, 0.03, BARS))
    probability = np.repeat(draw.random(BARS // 3).round(1), 3)
    probability[draw.random(BARS) < 0.1] = np.nan
    columns = {
        "open": open,
        "high": np.maximum(open, close) * 1.02,
        "low": np.minimum(open, close) * 0.98,
        "close": close,
        "volume": draw.integers(0, 200, BARS).astype(float),
        "probability": probability,
    }
    bars = pd.DataFrame(columns, index=pd.date_range("2024-01-01", periods=BARS, freq="D"))
    kept = bars[(draw.random(BARS) > 0.15) | (number == 0)]
    return feed(kept.iloc[:40] if number == 1 else kept, f"feed {number}")


def weather(seed: int, journal: Path) -> None:
    """One storm, by the seed; it leaves a journal that must come out again."""
    draw = np.random.default_rng(seed)
    feeds = [
        stormy_feed(draw, number, [0.01, 0.05, 0.2][seed % 3])
        for number in range(draw.integers(1, 4))
    ]
    cerebro = host(
        *feeds, commission=float(draw.choice([0, 0.001, 0.01])), **MODES[draw.integers(3)]
    )
    cerebro.broker.set_filler(FILLERS[draw.integers(3)])
    sizer = SIZERS[draw.integers(4)]
    if sizer is not None:
        cerebro.addsizer(sizer[0], **sizer[1])
    cerebro.addstrategy(
        Watching,
        enter=0.6,
        exit=0.5,
        allow_short=bool(draw.integers(2)),
        max_exposure=float(draw.choice([0.5, 1, 2])),
        retries=int(draw.integers(4)),
        patience=int(draw.integers(1, 6)),
        journal=str(journal),
        **STOPS[draw.integers(5)],
    )
    cerebro.run()
    assert replay(str(journal)).differences == []


@pytest.mark.filterwarnings("ignore::strategy_plugin.TradingWarning")
@pytest.mark.parametrize("seed", range(30))
def test_no_storm_breaks_the_rules_of_orders_or_the_replay(tmp_path: Path, seed: int) -> None:
    weather(seed, tmp_path / "journal")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::strategy_plugin.TradingWarning")
@pytest.mark.parametrize("seed", range(30, 1_000))
def test_no_storm_of_a_thousand_breaks_the_rules_of_orders_or_the_replay(
    tmp_path: Path, seed: int
) -> None:
    weather(seed, tmp_path / "journal")
