"""Runs beside each other: their tables, for terminal and page, and their equity in a chart."""

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from plotly import graph_objects as go
from plotly.colors import sample_colorscale

from backtests.evidence.bootstrap import Interval
from backtests.evidence.verdict import p_words
from backtests.reports.charts import MOST_POINTS, add_line, empty_figure, thinned
from backtests.reports.page import REPORT, Grid, render_page
from backtests.reports.runs import Pair, Run, bar_labels, differing, paired
from backtests.reports.terminal import shown
from model.bars.faults import count
from model.bars.intervals import day
from model.files import write_atomically

FEWEST_POINTS = 250  # of a line, however many lines there are
MOST_TOLD = 20  # names in the legend: of more no two hues can be told apart


def runs_grid(runs: Sequence[Run], page: Path | None = None) -> Grid:
    """Return a row for each run with its verdict and the figures that decide it.

    page: where the table will stand, from which each name leads to the run's own report.
    """
    rows = []
    for run, bars in zip(runs, bar_labels(runs), strict=True):
        evidence = run.summary.evidence
        years, intervals = evidence.periods_per_year, evidence.intervals
        rows.append(
            [
                run.name,
                bars,
                f"{evidence.decisions:,}",
                run.summary.verdict.word,
                _ranged(intervals.get("alpha"), "+.1%", years),
                _ranged(intervals.get("auc"), ".3f"),
                _ranged(intervals.get("gain"), "+.2f", 1e4),
                shown(run.sharpe, ".2f"),
                f"{run.equity.iloc[-1] - 1:+.1%}",
            ]
        )
    headers = ["", "bars", "decisions", "verdict", "alpha a year", "AUC"]
    headers += ["gain, bp\nper bar", "Sharpe", "return"]
    links = []
    if page:
        place = page.resolve().parent
        links = [quote(f"{os.path.relpath(run.folder.resolve(), place)}/{REPORT}") for run in runs]
    return Grid(headers, rows, links)


def settings_grid(runs: Sequence[Run]) -> Grid:
    """Return a row for each run with the settings in which they differ; none where in none."""
    names = differing(runs)
    if not names:
        return Grid([], [])
    rows = [[run.name, *(_plain(run.settings.get(name)) for name in names)] for run in runs]
    return Grid(["", *(name.replace("_", "\n") for name in names)], rows)


def pairs_grid(pairs: Sequence[Pair]) -> Grid:
    """Return a row for each run less the first one on its bars and folds."""
    return Grid(
        ["", "less", "bp more per bar", "AUC", "log loss"],
        [
            [
                pair.run.name,
                pair.first.name,
                _ranged(pair.gain, "+.2f", 1e4),
                _ranged(pair.auc, "+.3f"),
                "-"
                if pair.loss is None
                else f"{'lower' if pair.loss[0] < 0 else 'higher'}, p {p_words(pair.loss[1])}",
            ]
            for pair in pairs
        ],
    )


def equity_of_all(runs: Sequence[Run]) -> go.Figure:
    """The growth of 1 of each run on a log scale."""
    figure = empty_figure("growth of 1, log scale", height=460)
    # As many points as a screen has for one line would be too many for fifty.
    most = max(FEWEST_POINTS, MOST_POINTS * MOST_TOLD // (MOST_TOLD + len(runs)))
    places = [number / len(runs) for number in range(len(runs))]
    # Round a circle of hues of one lightness, which read on a light page and on a dark one.
    colours = sample_colorscale("Phase", places)
    for run, colour in zip(runs, colours, strict=True):
        add_line(figure, thinned(run.equity, most), run.name, colour)
    figure.update_layout(hovermode="closest", showlegend=len(runs) <= MOST_TOLD)
    return figure.update_yaxes(type="log", tickformat="~g")


def write_runs(path: Path, runs: Sequence[Run], pairs: Sequence[Pair]) -> None:
    """Write the page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, render_runs(runs, pairs, path).encode())


def render_runs(runs: Sequence[Run], pairs: Sequence[Pair], path: Path) -> str:
    """Return the page that is to lie at the path."""
    first = min(run.equity.index[0] for run in runs)
    last = max(run.equity.index[-1] for run in runs)
    return render_page(
        "runs.html",
        {"equity": equity_of_all(runs)},
        title=f"{count(len(runs), 'run')} from {day(first)} to {day(last)}",
        runs=runs_grid(runs, path),
        settings=settings_grid(runs),
        pairs=pairs_grid(pairs),
        sentences=[(run.name, run.summary.verdict.sentence) for run in runs],
    )


def compare_runs(runs: Sequence[Run], page: Path) -> list[tuple[str, Grid]]:
    """Write the page, and return its tables by their titles, as the terminal shows them."""
    pairs = paired(runs)
    write_runs(page, runs, pairs)
    tables = [
        ("runs, with 95 % intervals", runs_grid(runs)),
        ("settings that differ", settings_grid(runs)),
        ("on the same bars and folds, paired, with 95 % intervals", pairs_grid(pairs)),
    ]
    return [(title, grid) for title, grid in tables if grid.rows]


def _ranged(found: Interval | None, form: str, scale: float = 1.0) -> str:
    if found is None:
        return "-"
    value, low, high = (format(scale * end, form) for end in (found.value, found.low, found.high))
    return f"{value} [{low}, {high}]"


def _plain(value: object) -> str:
    return "-" if value is None else format(value, "g") if isinstance(value, float) else str(value)
