"""The picture of a walk-forward: equity, drawdown and probability over time, with the borders of the folds."""

import io
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from model.metrics import drawdown

PICTURE_OURS, PICTURE_THEIRS, PICTURE_QUIET = "#1f5fa8", "#8a8a8a", "#c8c8c8"


def draw(equity: pd.DataFrame, borders: Sequence[pd.Timestamp], title: str) -> bytes:
    """Return a PNG of the columns equity, buy_and_hold and probability over the index."""
    figure = Figure(
        figsize=(11, 8), dpi=110, layout="constrained"
    )  # no pyplot: nothing global, no window
    FigureCanvasAgg(figure)
    money, falls, forecasts = figure.subplots(3, 1, sharex=True, height_ratios=(3, 1, 1.4))
    figure.suptitle(title, fontsize=11)
    _draw_money(money, equity)
    _draw_falls(falls, equity)
    _draw_forecasts(forecasts, equity["probability"])
    for axes in (money, falls, forecasts):
        for border in borders:
            axes.axvline(border, color=PICTURE_QUIET, linewidth=0.7, zorder=0)
        axes.margins(x=0)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _draw_money(axes: Axes, equity: pd.DataFrame) -> None:
    axes.plot(equity.index, equity["equity"], color=PICTURE_OURS, linewidth=1.3, label="strategy")
    axes.plot(
        equity.index,
        equity["buy_and_hold"],
        color=PICTURE_THEIRS,
        linewidth=1.0,
        label="buy and hold",
    )
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_minor_formatter("{x:,.0f}")
    axes.tick_params(axis="y", which="both", labelsize=8)
    axes.set_ylabel("equity, log scale")
    axes.legend(loc="upper left", frameon=False)


def _draw_falls(axes: Axes, equity: pd.DataFrame) -> None:
    for name, colour in (("buy_and_hold", PICTURE_THEIRS), ("equity", PICTURE_OURS)):
        axes.plot(
            equity.index, 100 * drawdown(equity[name].to_numpy()), color=colour, linewidth=0.9
        )
    axes.set_ylabel("drawdown")
    axes.yaxis.set_major_formatter("{x:.0f} %")


def _draw_forecasts(axes: Axes, probability: pd.Series) -> None:
    axes.plot(probability.index, probability, color=PICTURE_OURS, linewidth=0.6)
    axes.axhline(0.5, color="black", linewidth=0.6)
    axes.set_ylabel("probability of up")
