"""The picture of a walk-forward.

Equity, drawdown and probability over time, with the borders of the folds.
"""

import io
from collections.abc import Sequence

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

OURS, THEIRS, QUIET = "#1f5fa8", "#8a8a8a", "#c8c8c8"


def draw(equity: pd.DataFrame, borders: Sequence[pd.Timestamp], title: str) -> bytes:
    """Return a PNG of the equity, the drawdowns and the probability of `equity_table`.

    borders: the first decision of each fold, drawn as vertical lines.
    """
    # No pyplot: nothing global, no window.
    figure = Figure(figsize=(11, 8), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    money, falls, forecasts = figure.subplots(3, 1, sharex=True, height_ratios=(3, 1, 1.4))
    figure.suptitle(title, fontsize=11)
    dates = equity.index

    money.plot(dates, equity["equity"], color=OURS, linewidth=1.3, label="strategy")
    money.plot(dates, equity["buy_and_hold"], color=THEIRS, linewidth=1.0, label="buy-and-hold")
    # On a log scale equal gains in per cent are equally high, whatever the account has become.
    money.set_yscale("log")
    money.yaxis.set_major_formatter("{x:,.0f}")
    # An account that moves by less than a decade may have no major tick to read.
    money.yaxis.set_minor_formatter("{x:,.0f}")
    money.tick_params(axis="y", which="both", labelsize=8)
    money.set_ylabel("equity, log scale")
    money.legend(loc="upper left", frameon=False)

    for name, colour in (("hold_drawdown", THEIRS), ("drawdown", OURS)):
        falls.plot(dates, 100 * equity[name], color=colour, linewidth=0.9)
    falls.set_ylabel("drawdown")
    falls.yaxis.set_major_formatter("{x:.0f} %")

    forecasts.plot(dates, equity["probability"], color=OURS, linewidth=0.6)
    forecasts.axhline(0.5, color="black", linewidth=0.6)
    forecasts.set_ylabel("probability of up")

    for axes in (money, falls, forecasts):
        for border in borders:
            axes.axvline(border, color=QUIET, linewidth=0.7, zorder=0)
        axes.margins(x=0)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
