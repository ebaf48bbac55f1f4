"""Drawing: what all charts of the reports share, a plotly figure with colours that read on light and dark alike."""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import pandas as pd
from plotly import graph_objects as go

from backtests.bootstrap import Interval

OURS, THEIRS, GOOD, BAD = "#3b7dd8", "#9a9a9a", "#2a9d5c", "#d0573f"
GRID, BORDER, SHADE = "rgba(128,128,128,.22)", "rgba(128,128,128,.55)", "rgba(128,128,128,.25)"
Rows = TypeVar("Rows", pd.Series, pd.DataFrame)
LONGEST_NAME = 17  # of a row, in letters
MOST_POINTS = 2_500  # of a line: more than a screen has, and the file stays small


def thinned(series: Rows) -> Rows:
    """Return at most MOST_POINTS rows, evenly spread, the first and the last among them."""
    if len(series) <= MOST_POINTS:
        return series
    return series.iloc[np.linspace(0, len(series) - 1, MOST_POINTS).round().astype(int)]


def empty_figure(title: str, height: int) -> go.Figure:
    """Return a figure without marks, with the title of its vertical axis."""
    return styled(go.Figure(), height).update_yaxes(title=title)


def styled(figure: go.Figure, height: int) -> go.Figure:
    """Return the figure in the look of all."""
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 28, "b": 8},
        hovermode="x unified",
        template="none",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "size": 12},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
    )
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


def written(stamps: pd.Index | pd.Series) -> list[str]:
    """Return stamps as short as they can be: written out to the nanosecond they would be a large part of the page."""
    moments = pd.DatetimeIndex(stamps)
    return moments.strftime(
        "%Y-%m-%d" if (moments == moments.normalize()).all() else "%Y-%m-%d %H:%M:%S"
    ).tolist()


def _shortened(name: str) -> str:
    """Return a name that leaves room for the chart on a narrow screen."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def interval_figure(
    found: Mapping[str, Interval], *, scale: float = 1.0, neutral: float = 0.0, title: str
) -> go.Figure:
    """Return a figure with a dot and its 95 % interval for each name, the first on top, and a line where nothing is."""
    figure = empty_figure("", height=90 + 42 * len(found))
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
    figure.update_xaxes(title=title).update_yaxes(
        tickvals=names, ticktext=[_shortened(name) for name in names]
    )
    return figure.update_layout(hovermode="closest", showlegend=False)
