"""The charts of the report: each a plotly figure made of plain results, with colours that read on light and dark alike."""
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import pandas as pd
from plotly import graph_objects as go
from plotly.subplots import make_subplots

from backtests.bootstrap import Interval
from backtests.results import Results
from backtests.rivals import HOLD
from model.metrics import bar_returns, drawdown

OURS, THEIRS, GOOD, BAD = "#3b7dd8", "#9a9a9a", "#2a9d5c", "#d0573f"
GRID, BORDER, BAND = "rgba(128,128,128,.22)", "rgba(128,128,128,.55)", "rgba(128,128,128,.25)"
Rows = TypeVar("Rows", pd.Series, pd.DataFrame)
MOST_POINTS = 2_500  # of a line: more than a screen has, and the file stays small


def equity_chart(results: Results) -> go.Figure:
    """Equity on a log scale beside buy-and-hold, with the borders of the folds."""
    figure = _figure("equity, log scale", height=420)
    equity = thinned(results.equity)
    _line(figure, equity["buy_and_hold"], HOLD, THEIRS)
    _line(figure, equity["equity"], "strategy", OURS, width=2)
    figure.update_yaxes(type="log", tickformat="~s")
    return _with_borders(figure, results)


def drawdown_chart(results: Results) -> go.Figure:
    """How far both lie below their highest value."""
    figure = _figure("drawdown", height=260)
    for name, column, colour in ((HOLD, "buy_and_hold", THEIRS), ("strategy", "equity", OURS)):
        falls = pd.Series(drawdown(results.equity[column].to_numpy()), index=results.equity.index)
        _line(figure, thinned(falls), name, colour)
    figure.update_yaxes(tickformat=".0%")
    return _with_borders(figure, results)


def forecast_chart(results: Results) -> go.Figure:
    """The price with every entry and exit, over the probability with the thresholds in force."""
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.6, 0.4], vertical_spacing=0.05)
    close = results.bars["close"].loc[results.equity.index]
    _line(figure, thinned(close), "close", THEIRS, row=1)
    trades = thinned(results.strategy.trades)
    for name, stamps, prices, symbol, colour in (
            ("entry", trades["opened_at"], trades["entry_price"], "triangle-up", GOOD),
            ("exit", trades["closed_at"], trades["exit_price"], "triangle-down", BAD)):
        done = stamps.notna()
        figure.add_scatter(x=_written(stamps[done]), y=prices[done], mode="markers", name=name,
                           marker={"symbol": symbol, "size": 8, "color": colour}, row=1, col=1)
    _line(figure, thinned(results.equity["probability"]), "probability of up", OURS, row=2)
    for column, colour in (("enter", GOOD), ("exit", BAD)):
        _line(figure, _in_force(results, column), f"{column} threshold", colour, row=2, shape="hv")
    figure.update_yaxes(title="price", row=1)
    figure.update_yaxes(title="probability", row=2)
    return _with_borders(_styled(figure, height=520), results)


def _in_force(results: Results, column: str) -> pd.Series:
    """Return the threshold from each fold's first decision to the last of all."""
    folds = results.folds.iloc[:-1]
    own = getattr(results.settings.account, column)
    levels = folds[column].astype(float) if own is None else pd.Series(own, index=folds.index)
    return pd.Series([*levels, levels.iloc[-1]], index=[*results.borders, results.bars.index[-1]])


def distribution_chart(results: Results) -> go.Figure:
    """How often which return per bar came."""
    figure = _figure("share of bars", height=300)
    for name, column, colour in ((HOLD, "buy_and_hold", THEIRS), ("strategy", "equity", OURS)):
        returns = bar_returns(results.equity[column].to_numpy())
        shares, edges = np.histogram(returns, bins=61, range=_middle(bar_returns(results.equity["buy_and_hold"].to_numpy())))
        figure.add_bar(x=(edges[1:] + edges[:-1]) / 2, y=shares / len(returns), name=name, marker_color=colour, opacity=0.65)
    figure.update_layout(barmode="overlay", bargap=0, hovermode="x")
    figure.update_xaxes(tickformat=".2%", title="return per bar; what lies outside the middle 99.8 % is not drawn")
    figure.update_yaxes(tickformat=".0%")
    return figure


def _middle(returns: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(returns, (0.001, 0.999))
    return (float(low), float(high)) if high > low else (-0.01, 0.01)


def rolling_chart(results: Results) -> go.Figure:
    """The annual Sharpe ratio of the last bars, as it would have been known at each."""
    per_year = results.decisions.bars_per_year
    window = max(20, min(round(per_year / 2), len(results.equity) // 4))
    figure = _figure(f"Sharpe ratio of the last {window} bars", height=300)
    for name, column, colour in ((HOLD, "buy_and_hold", THEIRS), ("strategy", "equity", OURS)):
        returns = results.equity[column].pct_change().rolling(window)
        ratio = (returns.mean() / returns.std().replace(0.0, np.nan) * np.sqrt(per_year)).iloc[window:]
        _line(figure, thinned(ratio), name, colour)
    return _with_borders(figure, results)


def calibration_chart(results: Results) -> go.Figure:
    """How often "up" came true where it was said, with the band in which exact probabilities would lie."""
    figure = _figure('"up" came true', height=380)
    found = results.calibration
    if found is None:
        return figure
    said = [part.probability for part in found.bins]
    figure.add_scatter(x=said + said[::-1], y=[part.high for part in found.bins] + [part.low for part in found.bins][::-1],
                       fill="toself", mode="none", fillcolor=BAND, name="95 % band of exact probabilities", hoverinfo="skip")
    figure.add_scatter(x=said, y=said, mode="lines", name="exact", line={"color": THEIRS, "dash": "dot"})
    figure.add_scatter(x=said, y=[part.frequency for part in found.bins], mode="lines+markers", name="found", line={"color": OURS},
                       customdata=[part.windows for part in found.bins], hovertemplate="%{y:.1%} of %{customdata} decisions")
    figure.update_xaxes(title="said: probability of up, in bins of equal mass", tickformat=".1%")
    figure.update_yaxes(tickformat=".0%")
    return figure


def rivals_chart(results: Results) -> go.Figure:
    """What the strategy earns more than each rival, with its interval."""
    intervals = {name.removeprefix("less "): found for name, found in results.evidence.intervals.items()
                 if name.startswith("less ")}
    figure = _figure("", height=90 + 42 * len(intervals))
    names, found = list(intervals)[::-1], list(intervals.values())[::-1]
    figure.add_scatter(x=_points(found, lambda each: each.value), y=names, mode="markers", name="strategy less rival",
                       marker={"color": OURS, "size": 10},
                       error_x={"type": "data", "symmetric": False, "color": OURS,
                                "array": _points(found, lambda each: each.high - each.value),
                                "arrayminus": _points(found, lambda each: each.value - each.low)})
    figure.add_vline(x=0, line={"color": BORDER})
    figure.update_xaxes(title="basis points per bar, net, with the 95 % interval")
    return figure.update_layout(hovermode="closest", showlegend=False)


def _points(found: Sequence[Interval], figure_of: Callable[[Interval], float]) -> list[float]:
    return [1e4 * figure_of(each) for each in found]


def importance_chart(results: Results) -> go.Figure:
    """How much the log loss on validation grows without each group of features, the mean and each fold."""
    table = results.importance
    table = table.loc[table.mean(axis=1).sort_values().index]
    order = list(table.index)
    figure = _figure("", height=90 + 30 * len(order))
    figure.add_bar(x=table.mean(axis=1), y=order, orientation="h", name="mean", marker_color=OURS, opacity=0.65)
    for fold in table:
        figure.add_scatter(x=table[fold], y=order, mode="markers", name=f"fold {fold}", showlegend=False,
                           marker={"color": THEIRS, "size": 5})
    figure.update_xaxes(title="growth of the log loss on validation; dots: folds")
    return figure.update_layout(hovermode="closest", showlegend=False)


CHARTS: dict[str, Callable[[Results], go.Figure]] = {
    "equity": equity_chart, "drawdown": drawdown_chart, "forecasts": forecast_chart, "rivals": rivals_chart,
    "distribution": distribution_chart, "rolling": rolling_chart, "calibration": calibration_chart, "importance": importance_chart,
}


def thinned(series: Rows) -> Rows:
    """Return at most MOST_POINTS rows, evenly spread, the first and the last among them."""
    if len(series) <= MOST_POINTS:
        return series
    return series.iloc[np.linspace(0, len(series) - 1, MOST_POINTS).round().astype(int)]


def _figure(title: str, height: int) -> go.Figure:
    return _styled(go.Figure(), height).update_yaxes(title=title)


def _styled(figure: go.Figure, height: int) -> go.Figure:
    figure.update_layout(
        height=height, margin={"l": 8, "r": 8, "t": 28, "b": 8}, hovermode="x unified", template="none",
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", font={"family": "system-ui, sans-serif", "size": 12},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0})
    axis = {"gridcolor": GRID, "zeroline": False, "linecolor": BORDER, "automargin": True}
    return figure.update_xaxes(**axis).update_yaxes(**axis)


def _line(figure: go.Figure, values: pd.Series, name: str, colour: str, *, width: float = 1.3, row: int | None = None,
          shape: str = "linear") -> None:
    place = {} if row is None else {"row": row, "col": 1}
    figure.add_scatter(x=_written(values.index), y=values.to_numpy(), mode="lines", name=name, **place,
                       line={"color": colour, "width": width, "shape": shape})


def _written(stamps: pd.Index | pd.Series) -> list[str]:
    """Return stamps as short as they can be: written out to the nanosecond they would be a large part of the page."""
    moments = pd.DatetimeIndex(stamps)
    return moments.strftime("%Y-%m-%d" if (moments == moments.normalize()).all() else "%Y-%m-%d %H:%M:%S").tolist()


def _with_borders(figure: go.Figure, results: Results) -> go.Figure:
    for border in results.borders:
        figure.add_shape(type="line", x0=border, x1=border, y0=0, y1=1, yref="paper",
                         line={"color": BORDER, "width": 1, "dash": "dot"})
    return figure
