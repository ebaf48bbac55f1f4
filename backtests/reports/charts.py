"""The charts of the report: plotly figures in colours that read on light and dark alike."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import pandas as pd
from plotly import graph_objects as go
from plotly.subplots import make_subplots

from backtests.evidence.bootstrap import Interval

if TYPE_CHECKING:
    from backtests.evidence.calibration import Reliability
    from backtests.evidence.evidence import Evidence
    from backtests.simulation.broker import Simulation

OURS, THEIRS, GOOD, BAD = "#3b7dd8", "#9a9a9a", "#2a9d5c", "#d0573f"
GRID, BORDER, SHADE = "rgba(128,128,128,.22)", "rgba(128,128,128,.55)", "rgba(128,128,128,.25)"
Rows = TypeVar("Rows", pd.Series, pd.DataFrame)
LONGEST_NAME = 17  # of a row, in letters
LEAST_MONEY = 100  # of an account; what begins with less is a growth
MANY_TRADES = 80  # drawn smaller
MOST_POINTS = 2_500  # of a line: more than a screen has, and the file stays small


def thinned(series: Rows, most: int = MOST_POINTS) -> Rows:
    """Return at most so many rows, evenly spread, the first and the last among them."""
    if len(series) <= most:
        return series
    # Evenly spread rather than the largest moves: a line thinned by size would look wilder than it
    # was.
    return series.iloc[np.linspace(0, len(series) - 1, most).round().astype(int)]


def empty_figure(title: str, height: int) -> go.Figure:
    """Return a figure without marks, with the title of its vertical axis."""
    return styled(go.Figure(), height).update_yaxes(title=title)


def titled(figure: go.Figure, title: str) -> go.Figure:
    """Return a figure that stands alone, as in a notebook, with its title above the legend."""
    return figure.update_layout(title={"text": title, "x": 0, "font": {"size": 14}}, margin_t=72)


def styled(figure: go.Figure, height: int) -> go.Figure:
    """Return the figure in the look of all."""
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 28, "b": 8},
        hovermode="x unified",
        template="none",
        # No background of its own: the page's colour, light or dark, shows through.
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "size": 12},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
    )
    # Grey that is half transparent reads on a light page and on a dark one.
    axis = {"gridcolor": GRID, "zeroline": False, "linecolor": BORDER, "automargin": True}
    return figure.update_xaxes(**axis).update_yaxes(**axis)


def add_line(
    figure: go.Figure,
    values: pd.Series,
    name: str,
    colour: str,
    *,
    width: float = 1.3,
    row: int | None = None,
    shape: str = "linear",
) -> None:
    """Add a line over dates."""
    place = {} if row is None else {"row": row, "col": 1}
    figure.add_scatter(
        x=written(values.index),
        y=values.to_numpy(),
        mode="lines",
        name=name,
        **place,
        line={"color": colour, "width": width, "shape": shape},
    )


def written(timestamps: pd.Index | pd.Series) -> list[str]:
    """Return timestamps as short as they can be.

    Written out to the nanosecond they would be a large part of the page.
    """
    # Daily bars need no time of day, and a page of 2,500 points a line has many dates.
    moments = pd.DatetimeIndex(timestamps)
    return moments.strftime(
        "%Y-%m-%d" if (moments == moments.normalize()).all() else "%Y-%m-%d %H:%M:%S"
    ).tolist()


def interval_figure(
    found: Mapping[str, Interval], *, scale: float = 1.0, neutral: float = 0.0, title: str
) -> go.Figure:
    """Return a figure with a dot and its 95 % interval for each name, the first on top.

    neutral: where a vertical line stands, for no difference. scale: what values are multiplied by.
    """
    figure = empty_figure("", height=90 + 42 * len(found))
    # Reversed, since plotly draws the first row at the bottom.
    names, ends = list(found)[::-1], list(found.values())[::-1]
    figure.add_scatter(
        x=[scale * end.value for end in ends],
        y=names,
        mode="markers",
        marker={"color": OURS, "size": 10},
        hovertemplate="%{y}: %{x:.3g}<extra></extra>",
        error_x={
            "type": "data",
            "symmetric": False,
            "color": OURS,
            "array": [scale * (end.high - end.value) for end in ends],
            "arrayminus": [scale * (end.value - end.low) for end in ends],
        },
    )
    figure.add_vline(x=neutral, line={"color": BORDER})
    # Long names would leave no room for the chart on a narrow screen.
    short = [
        name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…" for name in names
    ]
    figure.update_xaxes(title=title).update_yaxes(tickvals=names, ticktext=short)
    return figure.update_layout(hovermode="closest", showlegend=False)


class Curves(Protocol):
    """An account beside a benchmark.

    equity: of `account_table`. benchmark: its name. borders: where something new begins, as a fold.
    """

    @property
    def equity(self) -> pd.DataFrame: ...
    @property
    def benchmark(self) -> str: ...
    @property
    def borders(self) -> Sequence[pd.Timestamp]: ...


class Weighed(Protocol):
    """Results that say what each group of features is worth, a column for each fold."""

    @property
    def importance(self) -> pd.DataFrame: ...


class Charted(Curves, Weighed, Protocol):
    """What the charts of a walk-forward show, by the names that `Results` has for it."""

    @property
    def bars(self) -> pd.DataFrame: ...
    @property
    def strategy(self) -> "Simulation": ...
    @property
    def evidence(self) -> "Evidence": ...
    @property
    def folds(self) -> pd.DataFrame: ...
    @property
    def distribution(self) -> pd.DataFrame: ...
    @property
    def rolling_bars(self) -> int: ...
    @property
    def calibration(self) -> "Reliability | None": ...


def equity_chart(results: Curves) -> go.Figure:
    """Equity on a log scale beside the benchmark, with the borders of the folds."""
    figure = empty_figure("equity, log scale", height=420)
    equity = thinned(results.equity)
    add_line(figure, equity["buy_and_hold"], results.benchmark, THEIRS)
    add_line(figure, equity["equity"], "strategy", OURS, width=2)
    # On a log scale equal shares of gain have equal heights, early and late. Money is written 120k;
    # of the growth of 1 that would be 800m for .8.
    form = "~s" if equity["equity"].iloc[0] >= LEAST_MONEY else "~g"
    figure.update_yaxes(type="log", tickformat=form)
    return _with_borders(figure, results)


def book_chart(equity: pd.DataFrame, benchmark: str) -> go.Figure:
    """A paper book before and after costs beside its benchmark: the growth of 1 on a log scale."""
    figure, equity = empty_figure("growth of 1, log scale", height=420), thinned(equity)
    add_line(figure, equity["benchmark"], benchmark, THEIRS)
    add_line(figure, equity["before_costs"], "at no cost", GOOD)
    add_line(figure, equity["strategy"], "after costs", OURS, width=2)
    return figure.update_yaxes(type="log", tickformat="~g")


def drawdown_chart(results: Curves) -> go.Figure:
    """How far both lie below their highest value."""
    figure = empty_figure("drawdown", height=260)
    for name, column, colour in (
        (results.benchmark, "hold_drawdown", THEIRS),
        ("strategy", "drawdown", OURS),
    ):
        add_line(figure, thinned(results.equity[column]), name, colour)
    figure.update_yaxes(tickformat=".2~%")
    return _with_borders(figure, results)


def forecast_chart(results: Charted) -> go.Figure:
    """The price with every entry and exit, over the probability with the thresholds in force."""
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, row_heights=[0.6, 0.4], vertical_spacing=0.05
    )
    close = results.bars["close"].loc[results.equity.index]
    add_line(figure, thinned(close), "close", THEIRS, row=1)
    trades = thinned(results.strategy.trades)
    # Many marks of full size would hide the price.
    size = 8 if len(trades) <= MANY_TRADES else 5
    for name, timestamps, prices, symbol, colour in (
        ("entry", trades["opened_at"], trades["entry_price"], "triangle-up", GOOD),
        ("exit", trades["closed_at"], trades["exit_price"], "triangle-down", BAD),
    ):
        # A trip that is still open has no exit to draw.
        done = timestamps.notna()
        figure.add_scatter(
            x=written(timestamps[done]),
            y=prices[done],
            mode="markers",
            name=name,
            marker={"symbol": symbol, "size": size, "color": colour},
            row=1,
            col=1,
        )
    add_line(figure, thinned(results.equity["probability"]), "probability of up", OURS, row=2)
    for column, colour in (("enter", GOOD), ("exit", BAD)):
        # In force from each fold's first decision; the last one to the end.
        levels = results.folds[column].iloc[:-1].astype(float)
        steps = pd.Series(
            [*levels, levels.iloc[-1]], index=[*results.borders, results.bars.index[-1]]
        )
        add_line(figure, steps, f"{column} threshold", colour, row=2, shape="hv")
    # As wide as the other charts: markers would add a margin.
    figure.update_xaxes(range=written(results.equity.index[[0, -1]]))
    figure.update_yaxes(title="price", row=1)
    figure.update_yaxes(title="probability", row=2)
    return _with_borders(styled(figure, height=520), results)


def distribution_chart(results: Charted) -> go.Figure:
    """How often which return per bar came."""
    figure, table = empty_figure("share", height=300), results.distribution
    for name, column, colour in (
        (results.benchmark, "buy_and_hold", THEIRS),
        ("strategy, while it holds", "strategy", OURS),
    ):
        figure.add_bar(
            x=(table["from"] + table["to"]) / 2,
            y=table[column],
            name=name,
            marker_color=colour,
            opacity=0.65,
        )
    figure.update_layout(barmode="overlay", bargap=0, hovermode="x")
    figure.update_xaxes(tickformat=".2~%", title="return per bar")
    figure.update_yaxes(tickformat=".0%")
    return figure


def rolling_chart(results: Charted) -> go.Figure:
    """The annual Sharpe ratio of the last bars, as it would have been known at each."""
    figure, equity = (
        empty_figure(f"Sharpe ratio of {results.rolling_bars} bars", height=300),
        results.equity,
    )
    for name, column, colour in (
        (results.benchmark, "hold_rolling_sharpe", THEIRS),
        ("strategy", "rolling_sharpe", OURS),
    ):
        add_line(figure, thinned(equity[column].iloc[results.rolling_bars :]), name, colour)
    return _with_borders(figure, results)


def calibration_chart(results: Charted) -> go.Figure:
    """How often "up" was observed where it was forecast.

    The band is where exact probabilities would lie in 95 of 100 cases.
    """
    figure = empty_figure("observed share of up", height=380)
    found = results.calibration
    if found is None:
        return figure
    probability = [part.probability for part in found.bins]
    figure.add_scatter(
        # There along the upper ends and back along the lower ones: a closed band.
        x=probability + probability[::-1],
        y=[part.high for part in found.bins] + [part.low for part in found.bins][::-1],
        fill="toself",
        mode="none",
        fillcolor=SHADE,
        name="95 % band of exact probabilities",
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=probability,
        y=probability,
        mode="lines",
        name="exact",
        line={"color": THEIRS, "dash": "dot"},
    )
    figure.add_scatter(
        x=probability,
        y=[part.frequency for part in found.bins],
        mode="lines+markers",
        name="observed",
        line={"color": OURS},
        customdata=[part.windows for part in found.bins],
        hovertemplate="%{y:.1%} of %{customdata} decisions",
    )
    figure.update_xaxes(title="forecast: probability of up", tickformat=".1~%")
    figure.update_yaxes(tickformat=".0%")
    return figure


def benchmarks_chart(results: Charted) -> go.Figure:
    """What the strategy earns more than each benchmark, with its interval."""
    # Differences to each benchmark stand among the other intervals, by this prefix.
    intervals = {
        name.removeprefix("less "): found
        for name, found in results.evidence.intervals.items()
        if name.startswith("less ")
    }
    return interval_figure(intervals, scale=1e4, title="basis points per bar, net")


def importance_chart(results: Weighed) -> go.Figure:
    """How much the log loss on validation grows without each group of features.

    Bars are means over the folds, dots the folds.
    """
    table = results.importance
    # The strongest group on top: plotly draws the first row at the bottom.
    table = table.loc[table.mean(axis=1).sort_values().index]
    order = list(table.index)
    figure = empty_figure("", height=90 + 30 * len(order))
    figure.add_bar(
        x=table.mean(axis=1), y=order, orientation="h", name="mean", marker_color=OURS, opacity=0.65
    )
    for fold in table:
        figure.add_scatter(
            x=table[fold],
            y=order,
            mode="markers",
            name=f"fold {fold}",
            showlegend=False,
            marker={"color": THEIRS, "size": 5},
        )
    # Plotly's own prefixes would read "-250µ" for a growth of -.00025.
    figure.update_xaxes(title="growth of the log loss", tickformat="~g", exponentformat="none")
    return figure.update_layout(hovermode="closest", showlegend=False)


def _with_borders(figure: go.Figure, results: Curves) -> go.Figure:
    for border in results.borders:
        figure.add_shape(
            type="line",
            x0=border,
            x1=border,
            y0=0,
            y1=1,
            yref="paper",
            line={"color": BORDER, "width": 1, "dash": "dot"},
        )
    return figure


CHARTS: dict[str, Callable[[Charted], go.Figure]] = {
    "equity": equity_chart,
    "drawdown": drawdown_chart,
    "forecasts": forecast_chart,
    "benchmarks": benchmarks_chart,
    "distribution": distribution_chart,
    "rolling": rolling_chart,
    "calibration": calibration_chart,
    "importance": importance_chart,
}
