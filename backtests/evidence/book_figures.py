"""What a book's account earned, paid and held, and what of it is the market's."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from backtests.evidence.account_figures import (
    AccountFigures,
    TradeFigures,
    account_figures,
    trade_figures,
)
from backtests.evidence.alpha import TrackRecord, figures_of
from backtests.evidence.bootstrap import RESAMPLES, Interval
from backtests.evidence.decisions import STRATEGY
from backtests.evidence.evidence import COST_GRID
from backtests.evidence.panel import Panel
from backtests.simulation.account import BASIS_POINT, BookSettings, Costs
from backtests.simulation.book import book_timing
from backtests.simulation.book_account import BookSimulation
from backtests.simulation.vectorised import Array
from model.metrics import drawdown, sharpe

BORROW_GRID = (0.0, 0.01, 0.03, 0.10)  # a year
MOST_OF_VOLUME, FILLS_WITHIN = 0.01, 0.95  # of a bar's volume; the share of the fills within it
DAYS_A_YEAR = 365  # by which Backtrader takes interest


@dataclass(frozen=True, kw_only=True)
class BookFigures:
    """What an account that trades a book earned, took and held.

    Parameters
    ----------
    gross, costs, borrow, net
        Means per bar, as fractions of the equity: before costs; what trading and borrowing cost;
        after them.
    turnover
        Share of the equity that is bought and sold per bar.
    break_even
        The cost per side, in basis points, that eats all that is left after borrow; None where
        nothing was traded.
    alpha, beta
        Over all names of the universe in equal parts, held from close to close: alpha per bar.
    long, short
        Mean exposure of either side, over equity.
    exposed
        Share of the dates at whose close anything was held.
    names
        Held at a close while anything was, in the mean.
    largest
        The largest position's share of all exposure, in the mean.
    effective_names
        So many equal positions would be as concentrated, in the mean: 1 / the sum of the squares of
        their shares (Herfindahl's index).
    participation
        The median share of its bar's volume that a fill took; None where volumes are not known.
    capacity
        The money with which 95 of 100 fills would have taken at most 1 % of their bar's volume.
    """

    gross: float
    costs: float
    borrow: float
    net: float
    turnover: float
    break_even: float | None
    alpha: Interval
    beta: Interval
    long: float
    short: float
    exposed: float
    names: float
    largest: float
    effective_names: float
    participation: float | None
    capacity: float | None


@dataclass(frozen=True, eq=False)
class BookAccount:
    """A book's account, and the settings that it was traded by.

    resamples: of the dates, for the intervals.
    """

    simulation: BookSimulation
    book: BookSettings
    costs: Costs
    bars_per_year: float
    resamples: int = RESAMPLES

    @cached_property
    def closes(self) -> pd.DataFrame:
        """The close of each name that was last there: (dates, names)."""
        return self.simulation.closes.ffill()

    @property
    def weights(self) -> pd.DataFrame:
        """The share of the equity in each name at each date's close, shorts below 0."""
        made = self.simulation
        return (made.units * self.closes).fillna(0.0).div(made.equity, axis=0)

    @property
    def decided_weights(self) -> pd.DataFrame:
        """The shares that the decisions of each date led to at the next open, at its own close."""
        made = self.simulation
        # After the last close nothing was filled: what is held stays.
        next_units = made.units.shift(-1).fillna(made.units)
        return (next_units * self.closes).fillna(0.0).div(made.equity, axis=0)

    @cached_property
    def days(self) -> pd.DataFrame:
        """A row per date: equity, and as shares of that before it what was gained and paid.

        gross: at quotes, without any cost. costs: commission, spread and slippage. owed: value of
        the shorts at entry, times the years since the date before. long, short: exposure at the
        close. universe: what all names in equal parts gained.
        """
        made, weights = self.simulation, self.weights
        equity, closes = made.equity.to_numpy(), self.closes.to_numpy()
        dates, fills, n = pd.DatetimeIndex(made.equity.index), made.fills, len(made.equity)
        rows = dates.get_indexer(pd.DatetimeIndex(fills["date"]))
        size, quote = fills["size"].to_numpy(float), fills["quote"].to_numpy(float)
        close = closes[rows, made.units.columns.get_indexer(pd.Index(fills["instrument"]))]

        def by_date(values: Array) -> Array:
            return np.asarray(np.bincount(rows, values, n))

        # What was held over the night gains from close to close, what was filled from its quote on.
        held = np.nan_to_num(made.units.to_numpy()[:-1] * np.diff(closes, axis=0)).sum(axis=1)
        gained = np.append(0.0, held) + by_date(size * (close - quote))
        paid = by_date(
            fills["commission"].to_numpy(float) + size * (fills["price"].to_numpy(float) - quote)
        )
        changed, before = np.diff(equity, prepend=equity[0]), np.append(equity[0], equity[:-1])
        # What else left the account is interest on shorts: Backtrader takes it without a word.
        borrow = gained - paid - changed if self.book.borrow else np.zeros(n)
        years = np.diff(dates.to_julian_date(), prepend=np.nan) / DAYS_A_YEAR
        owed = np.append(0.0, made.owed.to_numpy()[:-1]) * np.nan_to_num(years)
        table = {
            "gross": gained,
            "costs": paid,
            "borrow": borrow,
            "net": changed,
            "turnover": by_date(np.abs(size) * quote),
            "owed": owed,
        }
        return pd.DataFrame(
            {
                "equity": equity,
                **{name: values / before for name, values in table.items()},
                "long": weights.clip(lower=0).sum(axis=1).to_numpy(),
                "short": weights.clip(upper=0).abs().sum(axis=1).to_numpy(),
                "universe": self._universe_moves(),
            },
            dates,
        )

    def _universe_moves(self) -> Array:
        """Return the mean move of all names that have begun and not ended; none where one rests."""
        known = self.simulation.closes
        # From the first close to the last: a name that has ended no longer counts as a move of 0.
        lives = known.ffill().notna() & known.bfill().notna()
        moves = self.closes.pct_change(fill_method=None).where(lives)
        return moves.mean(axis=1).fillna(0.0).to_numpy()

    @cached_property
    def curves(self) -> pd.DataFrame:
        """The growth of 1 after and before costs and that of the universe, with drawdowns."""
        days = self.days
        table = pd.DataFrame(
            {
                "equity": days["equity"] / days["equity"].iloc[0],
                "before_costs": (1 + days["gross"]).cumprod(),
                "buy_and_hold": (1 + days["universe"]).cumprod(),
            }
        )
        return table.assign(
            drawdown=drawdown(table["equity"].to_numpy()),
            hold_drawdown=drawdown(table["buy_and_hold"].to_numpy()),
        )

    @property
    def account(self) -> dict[str, AccountFigures]:
        """What an owner asks of the account, "strategy", and of the universe, "hold"."""
        return {
            name: account_figures(self.curves[column].to_numpy(), self.bars_per_year)
            for name, column in (("strategy", "equity"), ("hold", "buy_and_hold"))
        }

    @property
    def trading(self) -> TradeFigures:
        made = self.simulation
        return trade_figures(made.trades, made.fills, made.equity.to_numpy(), self.bars_per_year)

    @cached_property
    def figures(self) -> BookFigures:
        """What it earned, paid and held."""
        days, held = self.days.iloc[1:], self.weights.abs()
        mean, total = days.mean(), held.sum(axis=1)
        # On the dates on which anything is held.
        # Dates in cash would make the book look spread, or concentrated, by nothing.
        shares = held[total > 0].div(total[total > 0], axis=0)
        net, universe = days["net"].to_numpy(), days["universe"].to_numpy()
        # No tries and no forecasts here: only alpha and beta are asked for.
        record = TrackRecord(net, universe, self.bars_per_year, {"": (net, universe)})
        intervals = figures_of(record, resamples=self.resamples).intervals
        participation, capacity = self._capacity()
        # Borrow is due whatever a trade costs.
        left = mean["gross"] - mean["borrow"]
        return BookFigures(
            gross=float(mean["gross"]),
            costs=float(mean["costs"]),
            borrow=float(mean["borrow"]),
            net=float(mean["net"]),
            turnover=float(mean["turnover"]),
            break_even=float(1e4 * left / mean["turnover"]) if mean["turnover"] else None,
            alpha=intervals["alpha"],
            beta=intervals["beta"],
            long=float(mean["long"]),
            short=float(mean["short"]),
            exposed=float((total > 0).mean()),
            names=float((shares > 0).sum(axis=1).mean()) if len(shares) else 0.0,
            largest=float(shares.max(axis=1).mean()) if len(shares) else 0.0,
            effective_names=float((1 / (shares**2).sum(axis=1)).mean()) if len(shares) else 0.0,
            participation=participation,
            capacity=capacity,
        )

    def _capacity(self) -> tuple[float | None, float | None]:
        fills = self.simulation.fills
        fills = fills[(fills["volume"] > 0) & ~fills["settled"].astype(bool)]
        if not len(fills):
            return None, None
        taken = fills["size"].abs() / fills["volume"]
        # Of an account that grows the orders grow as well: per unit of its money.
        equity = self.simulation.equity.reindex(pd.DatetimeIndex(fills["date"])).to_numpy()
        usual = float((taken / equity).quantile(FILLS_WITHIN))
        return float(taken.median()), MOST_OF_VOLUME / usual

    @property
    def cost_grid(self) -> pd.DataFrame:
        """The same positions at other costs: a row for each cost per side and borrow a year."""
        days, rows = self.days.iloc[1:], []
        charged = self.costs.per_side
        # A book without shorts borrows nothing.
        for borrow in sorted({*BORROW_GRID, self.book.borrow} if self.book.short else {0.0}):
            for cost in sorted({*COST_GRID, charged}):
                net = days["gross"] - cost * BASIS_POINT * days["turnover"] - borrow * days["owed"]
                rows.append(
                    {
                        "cost": cost,
                        "borrow": borrow,
                        "charged": cost == charged and borrow == self.book.borrow,
                        "net": float(net.mean()),
                        "sharpe": sharpe(net.to_numpy(), self.bars_per_year),
                    }
                )
        return pd.DataFrame(rows)

    @property
    def names(self) -> pd.DataFrame:
        """What each name earned in all: a row for each that was traded, the best first."""
        trades = self.simulation.trades
        table = trades.groupby("instrument").agg(
            trades=("net", "size"),
            gross=("gross", "sum"),
            costs=("costs", "sum"),
            net=("net", "sum"),
        )
        for side in ("long", "short"):
            own = trades[trades["direction"] == side].groupby("instrument")["net"].sum()
            table[side] = own.reindex(table.index).fillna(0.0)
        return table.sort_values(["net", "trades"], ascending=False).reset_index()

    def record(self, paper: TrackRecord, panel: Panel) -> TrackRecord:
        """Return the track record of the account in the place of that of the paper book.

        paper: on the panel's dates, with all else that was tried, and the forecasts. From one of
        these dates to the next the account earns what it gained by its closes.
        """
        growth = self.curves.reindex(panel.dates)[["equity", "buy_and_hold"]]
        returns, universe = growth.pct_change().fillna(0.0).to_numpy(float).T
        benchmark = np.zeros_like(universe) if self.book.neutral else universe
        weights = self.decided_weights.reindex(panel.dates, columns=list(panel.names)).fillna(0.0)
        return replace(
            paper,
            returns=returns,
            benchmark=benchmark,
            tried={**paper.tried, STRATEGY: (returns, benchmark)},
            timing={
                fill: book_timing(weights.to_numpy(), moves) for fill, moves in panel.moves.items()
            },
        )

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables of the account by the names of their files."""
        return {
            "book": self.days.reset_index(),
            "costs": self.cost_grid,
            "names": self.names,
            "positions": self.positions,
            "trades": self.simulation.trades,
            "weights": self.simulation.rankings,
        }

    @property
    def positions(self) -> pd.DataFrame:
        """A row per date and name held at its close."""
        made = self.simulation
        rows, columns = np.nonzero(made.units.to_numpy())
        place = rows, columns
        return pd.DataFrame(
            {
                "date": made.units.index[rows],
                "instrument": made.units.columns[columns],
                "units": made.units.to_numpy()[place],
                "close": self.closes.to_numpy()[place],
                "weight": self.weights.to_numpy()[place],
            }
        )
