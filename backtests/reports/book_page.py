"""The account that trades a book, as it stands on the page: charts and tables."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import pandas as pd
from plotly import graph_objects as go

from backtests.evidence.book_figures import BookAccount, BookFigures
from backtests.evidence.bootstrap import Interval
from backtests.reports.charts import (
    BAD,
    GOOD,
    OURS,
    THEIRS,
    add_line,
    drawdown_chart,
    empty_figure,
    equity_chart,
    thinned,
)
from backtests.reports.page import Grid, glance_grid
from backtests.reports.terminal import shown
from backtests.walk_forward.book import BookChoice
from backtests.walk_forward.plan import Settings
from model.bars.faults import count

UNIVERSE = "all in equal parts"
# What the account does not know; said where it is shown.
ACCOUNT_LEFT_OUT = (
    "All in equal parts: each name alike, weighed anew at each close, at no cost. Left out: cash "
    "earns no interest, whatever is sold short can be borrowed, dividends count only where the "
    "prices hold them, and a list made of today's instruments has lost those that went under."
)
MOST_NAMES = 10  # that earned most, and as many that lost most


@dataclass(frozen=True)
class BookCurves:
    """The account's equity and drawdown beside those of the universe, as charts take them."""

    equity: pd.DataFrame
    borders: Sequence[pd.Timestamp]
    benchmark: str = UNIVERSE


def describe_book(settings: Settings) -> str:
    """Return what the book does, in words; "" where none is traded."""
    book = settings.book
    if book is None:
        return ""
    sides = [
        f"{word} the {_part(side)} names with the {which} forecast"
        for word, side, which in (("long", book.long, "best"), ("short", book.short, "worst"))
        if side
    ]
    weights = "equal" if book.weights == "equal" else "calm names more"
    lost = f" less {book.delisting_loss:.0%}" if book.delisting_loss else ""
    return (
        f"{' and '.join(sides).capitalize()}; {book.gross:.0%} of the equity in all, at most "
        f"{book.cap:.0%} in a name, {weights}, in {'parts of' if book.fractional else 'whole'} "
        f"units. A name without a bar for {count(book.settle_after, 'date')} is settled at its "
        f"last close{lost}; borrowing costs {book.borrow:.1%} a year."
    )


def _part(side: float) -> str:
    return f"{side:.0f}" if side >= 1 else f"{side:.0%} of the"


def book_charts(account: BookAccount, borders: Sequence[pd.Timestamp]) -> dict[str, go.Figure]:
    """Return the charts of the account by name. borders: where a fold begins."""
    curves = BookCurves(account.curves, borders)
    equity = equity_chart(curves)
    # What lies between the two lines is what trading cost.
    before = thinned(account.curves["before_costs"])
    add_line(equity, before, "before costs", GOOD)
    return {
        "equity": equity.update_yaxes(title="growth of 1, log scale"),
        "drawdown": drawdown_chart(curves),
        "exposure": _exposure(account),
        "turnover": _turnover(account),
        "names": _names(account),
    }


def _exposure(account: BookAccount) -> go.Figure:
    figure, days = empty_figure("share of the equity", height=260), thinned(account.days)
    add_line(figure, days["long"], "long", GOOD)
    add_line(figure, -days["short"], "short", BAD)
    add_line(figure, days["long"] - days["short"], "net", THEIRS)
    return figure.update_yaxes(tickformat=".0%")


def _turnover(account: BookAccount) -> go.Figure:
    """Return what is bought and sold in each quarter of a year, over the equity."""
    figure = empty_figure("times the equity, per quarter", height=260)
    # By quarters: with a rebalancing every few bars single days are spikes and noughts.
    quarters = account.days["turnover"].resample("QS").sum()
    figure.add_bar(
        x=[f"{date.year} Q{date.quarter}" for date in quarters.index],
        y=quarters.to_numpy(),
        marker_color=OURS,
        name="turnover",
    )
    # Of a single bar, an axis of time shows fractions of a second.
    return figure.update_layout(showlegend=False).update_xaxes(type="category")


def _names(account: BookAccount) -> go.Figure:
    """Return what the names that earned and lost most came to, the best on top."""
    # Plotly draws the first row at the bottom.
    table = _most(account)[::-1]
    figure = empty_figure("", height=90 + 22 * len(table))
    for side, colour in (("long", GOOD), ("short", BAD)):
        figure.add_bar(
            x=table[side],
            y=table["instrument"],
            orientation="h",
            name=side,
            marker_color=colour,
            opacity=0.8,
        )
    figure.update_layout(barmode="relative", hovermode="y unified")
    return figure.update_xaxes(title="net, in money").update_yaxes(type="category")


def _most(account: BookAccount) -> pd.DataFrame:
    names = account.names
    # So few that the best and the worst would be the same.
    if len(names) <= 2 * MOST_NAMES:
        return names
    return pd.concat([names[:MOST_NAMES], names[-MOST_NAMES:]])


def book_grids(account: BookAccount, choices: Sequence[BookChoice]) -> dict[str, Grid]:
    """Return the tables of the account by name. choices: of the folds, in their order."""
    return {
        "glance": _glance(account),
        "money": _money(account.figures),
        "costs": _costs(account),
        "names": _name_grid(account),
        "choices": Grid(
            ["fold", "keep", "rebalance", "net on validation, bp per bar"],
            [
                [
                    str(number),
                    f"{choice.keep:g}",
                    str(choice.rebalance),
                    "given" if choice.net is None else f"{1e4 * choice.net:+.2f}",
                ]
                for number, choice in enumerate(choices, 1)
            ],
        ),
    }


def _glance(account: BookAccount) -> Grid:
    days, figures = account.days, account.account
    growth = account.curves[["equity", "buy_and_hold"]].iloc[-1] - 1
    ours = {
        "return": growth["equity"],
        **asdict(figures["strategy"]),
        "exposure": float(((days["long"] + days["short"]) > 0).mean()),
        **asdict(account.trading),
    }
    theirs = {"return": growth["buy_and_hold"], **asdict(figures["hold"])}
    return glance_grid(ours, theirs, UNIVERSE)


def _money(figures: BookFigures) -> Grid:
    """Return what the account earned, paid and held."""

    def within(found: Interval, form: str, scale: float = 1.0) -> str:
        value, low, high = (
            format(scale * end, form) for end in (found.value, found.low, found.high)
        )
        return f"{value} [{low}, {high}]"

    basis_points = (
        ("gross, before costs", figures.gross),
        ("trading costs", -figures.costs),
        ("borrow", -figures.borrow),
        ("net", figures.net),
    )
    rows = [[f"{words}, bp per bar", f"{1e4 * value:+z.2f}"] for words, value in basis_points]
    rows += [
        ["turnover per bar, of the equity", f"{figures.turnover:.1%}"],
        ["cost per side that eats all, bp", shown(figures.break_even, ".1f")],
        [f"alpha over {UNIVERSE}, bp per bar [95 %]", within(figures.alpha, "+.2f", 1e4)],
        [f"beta to {UNIVERSE} [95 %]", within(figures.beta, ".2f")],
        ["exposure long", f"{figures.long:.0%}"],
        ["exposure short", f"{figures.short:.0%}"],
        ["names held", f"{figures.names:.1f}"],
        ["as concentrated as so many equal ones", f"{figures.effective_names:.1f}"],
        ["largest position, of all exposure", f"{figures.largest:.1%}"],
        ["share of a bar's volume that a fill took (median)", shown(figures.participation, ".4%")],
        ["money with which 95 % of fills take at most 1 % of it", shown(figures.capacity, ",.0f")],
    ]
    return Grid(["", "value"], rows)


def _costs(account: BookAccount) -> Grid:
    """Return net and Sharpe ratio at other costs, a row for each cost, a column for each borrow."""
    table = account.cost_grid
    borrows = table["borrow"].unique()
    rows = []
    for cost, own in table.groupby("cost"):
        cells = [
            f"{1e4 * row['net']:+.2f} ({shown(row['sharpe'], '.2f')})"
            + ("*" if row["charged"] else "")
            for row in own.to_dict("records")
        ]
        rows.append([f"{cost:g} bp a side", *cells])
    headers = [f"borrow {borrow:.1%}\na year" for borrow in borrows]
    return Grid(["", *headers], rows)


def _name_grid(account: BookAccount) -> Grid:
    return Grid(
        ["", "trades", "gross", "costs", "net", "net, long", "net, short"],
        [
            [
                row["instrument"],
                f"{row['trades']:,}",
                *(f"{row[part]:,.0f}" for part in ("gross", "costs", "net", "long", "short")),
            ]
            for row in _most(account).to_dict("records")
        ],
    )
