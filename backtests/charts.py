"""The charts of the report: each a plotly figure made of plain results."""

from collections.abc import Callable

import pandas as pd
from plotly import graph_objects as go
from plotly.subplots import make_subplots

from backtests.drawing import (
    BAD,
    BORDER,
    GOOD,
    OURS,
    SHADE,
    THEIRS,
    add_line,
    empty_figure,
    interval_figure,
    styled,
    thinned,
    written,
)
from backtests.results import Results
from backtests.rivals import HOLD

MANY_TRADES = 80  # drawn smaller


def equity_chart(results: Results) -> go.Figure:
    """Equity on a log scale beside buy-and-hold, with the borders of the folds."""
    figure = empty_figure("equity, log scale", height=420)
    equity = thinned(results.equity)
    add_line(figure, equity["buy_and_hold"], HOLD, THEIRS)
    add_line(figure, equity["equity"], "strategy", OURS, width=2)
    figure.update_yaxes(type="log", tickformat="~s")
    return _with_borders(figure, results)


def drawdown_chart(results: Results) -> go.Figure:
    """How far both lie below their highest value."""
    figure = empty_figure("drawdown", height=260)
    for name, column, colour in ((HOLD, "hold_drawdown", THEIRS), ("strategy", "drawdown", OURS)):
        add_line(figure, thinned(results.equity[column]), name, colour)
    figure.update_yaxes(tickformat=".0%")
    return _with_borders(figure, results)


def forecast_chart(results: Results) -> go.Figure:
    """The price with every entry and exit, over the probability with the thresholds in force."""
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, row_heights=[0.6, 0.4], vertical_spacing=0.05
    )
    close = results.bars["close"].loc[results.equity.index]
    add_line(figure, thinned(close), "close", THEIRS, row=1)
    trades = thinned(results.strategy.trades)
    size = 8 if len(trades) <= MANY_TRADES else 5
    for name, stamps, prices, symbol, colour in (
        ("entry", trades["opened_at"], trades["entry_price"], "triangle-up", GOOD),
        ("exit", trades["closed_at"], trades["exit_price"], "triangle-down", BAD),
    ):
        done = stamps.notna()
        figure.add_scatter(
            x=written(stamps[done]),
            y=prices[done],
            mode="markers",
            name=name,
            marker={"symbol": symbol, "size": size, "color": colour},
            row=1,
            col=1,
        )
    add_line(figure, thinned(results.equity["probability"]), "probability of up", OURS, row=2)
    for column, colour in (("enter", GOOD), ("exit", BAD)):
        add_line(
            figure, _in_force(results, column), f"{column} threshold", colour, row=2, shape="hv"
        )
    figure.update_xaxes(
        range=written(results.equity.index[[0, -1]])
    )  # as wide as the other charts: markers would add a margin
    figure.update_yaxes(title="price", row=1)
    figure.update_yaxes(title="probability", row=2)
    return _with_borders(styled(figure, height=520), results)


def _in_force(results: Results, column: str) -> pd.Series:
    """Return the threshold from each fold's first decision to the last of all."""
    levels = results.folds[column].iloc[:-1].astype(float)
    return pd.Series([*levels, levels.iloc[-1]], index=[*results.borders, results.bars.index[-1]])


def distribution_chart(results: Results) -> go.Figure:
    """How often which return per bar came."""
    figure, table = empty_figure("share", height=300), results.distribution
    for name, column, colour in (
        (HOLD, "buy_and_hold", THEIRS),
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


def rolling_chart(results: Results) -> go.Figure:
    """The annual Sharpe ratio of the last bars, as it would have been known at each."""
    figure, equity = (
        empty_figure(f"Sharpe ratio of {results.rolling_bars} bars", height=300),
        results.equity,
    )
    for name, column, colour in (
        (HOLD, "hold_rolling_sharpe", THEIRS),
        ("strategy", "rolling_sharpe", OURS),
    ):
        add_line(figure, thinned(equity[column].iloc[results.rolling_bars :]), name, colour)
    return _with_borders(figure, results)


def calibration_chart(results: Results) -> go.Figure:
    """How often "up" came true where it was said, with the band in which exact probabilities would lie."""
    figure = empty_figure('"up" came true', height=380)
    found = results.calibration
    if found is None:
        return figure
    said = [part.probability for part in found.bins]
    figure.add_scatter(
        x=said + said[::-1],
        y=[part.high for part in found.bins] + [part.low for part in found.bins][::-1],
        fill="toself",
        mode="none",
        fillcolor=SHADE,
        name="95 % band of exact probabilities",
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=said, y=said, mode="lines", name="exact", line={"color": THEIRS, "dash": "dot"}
    )
    figure.add_scatter(
        x=said,
        y=[part.frequency for part in found.bins],
        mode="lines+markers",
        name="found",
        line={"color": OURS},
        customdata=[part.windows for part in found.bins],
        hovertemplate="%{y:.1%} of %{customdata} decisions",
    )
    figure.update_xaxes(title="said: probability of up", tickformat=".1~%")
    figure.update_yaxes(tickformat=".0%")
    return figure


def rivals_chart(results: Results) -> go.Figure:
    """What the strategy earns more than each rival, with its interval."""
    intervals = {
        name.removeprefix("less "): found
        for name, found in results.evidence.intervals.items()
        if name.startswith("less ")
    }
    return interval_figure(intervals, scale=1e4, title="basis points per bar, net")


def importance_chart(results: Results) -> go.Figure:
    """How much the log loss on validation grows without each group of features, the mean and each fold."""
    table = results.importance
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
    figure.update_xaxes(title="growth of the log loss")
    return figure.update_layout(hovermode="closest", showlegend=False)


CHARTS: dict[str, Callable[[Results], go.Figure]] = {
    "equity": equity_chart,
    "drawdown": drawdown_chart,
    "forecasts": forecast_chart,
    "rivals": rivals_chart,
    "distribution": distribution_chart,
    "rolling": rolling_chart,
    "calibration": calibration_chart,
    "importance": importance_chart,
}


def _with_borders(figure: go.Figure, results: Results) -> go.Figure:
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
