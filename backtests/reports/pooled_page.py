"""The report of one network for a universe: one self-contained HTML page."""

import re
from pathlib import Path

import pandas as pd
from plotly import graph_objects as go

from backtests.evidence.alpha import Figures
from backtests.evidence.decisions import STRATEGY
from backtests.evidence.scores import BEST
from backtests.reports.book_page import ACCOUNT_LEFT_OUT, book_charts, book_grids, describe_book
from backtests.reports.charts import empty_figure, importance_chart
from backtests.reports.page import (
    REPORT,
    Grid,
    figure_rows,
    interval_grid,
    p_shown,
    pairs_of,
    power_rows,
    render_page,
    sharpe_rows,
)
from backtests.reports.pooled import PooledResults, describe_universe_data
from backtests.reports.results import describe_settings
from backtests.reports.terminal import (
    FOLDS_OF_POOLED,
    FORECASTERS,
    THIRDS,
    describe_halves,
    describe_refused,
    describe_together,
    ranged,
    scaled,
    shown,
)
from backtests.walk_forward.fingerprint import all_versions
from model.files import write_atomically

COLOURS = (
    *("#3b7dd8", "#9a9a9a", "#2a9d5c", "#d0573f", "#8a63c9", "#c79a2e", "#4aa3a8"),
    *("#d86ba6", "#7a8f3c", "#b0785a", "#5b6fb5"),
)
PARTS = (
    "All instruments in equal parts, each long while its probability is above its thresholds, "
    "beside all of them held: a paper book, without whole units."
)


def write_pooled_report(folder: Path, results: PooledResults) -> None:
    """Write the page into the folder."""
    write_atomically(folder / REPORT, render_pooled(results).encode())


def render_pooled(results: PooledResults) -> str:
    """Return the page."""
    return render_page(
        "pooled.html",
        {
            **(
                book_charts(results.account, results.borders)
                if results.account
                else {"equity": results.plot()}
            ),
            "years": _years(results),
            "tenths": _tenths(results),
            "decay": _decay(results),
            "importance": importance_chart(results),
        },
        title=results.title,
        verdict=results.verdict,
        at_no_cost=results.verdict_at_no_cost,
        turned=describe_halves(results.by_date.halves),
        together=describe_together(results.by_date.together),
        left_out=results.left_out,
        architectures=results.architectures,
        planted=BEST in results.panel.scores,
        parts=PARTS,
        book=describe_book(results.settings),
        account=book_grids(results.account, results.choices) if results.account else None,
        account_left_out=ACCOUNT_LEFT_OUT,
        refused=describe_refused(results.account.simulation.refused) if results.account else "",
        cash=results.settings.account.cash,
        costs_now=str(results.settings.costs),
        figures=_figures(results, results.figures, "net", results.benchmark),
        figures_at_no_cost=_figures(
            results, results.figures_at_no_cost, "gross", results.paper_benchmark
        ),
        tests=_tests(results),
        overfitting=results.overfitting.sentence,
        registered=results.registered,
        forecasters=_forecaster_grid(results),
        differences=_difference_grid(results),
        years=_year_grid(results),
        thirds=_thirds_grid(results) if len(results.thirds) else None,
        folds=_fold_grid(results),
        data=pairs_of(describe_universe_data(results.dated.universe)),
        settings=pairs_of(describe_settings(results.settings)),
        versions=pairs_of(all_versions()),
    )


def _years(results: PooledResults) -> go.Figure:
    """Return the information coefficient of each year, a line for each that forecasts."""
    figure = empty_figure("information coefficient", height=320)
    coefficients = results.by_date.years.pivot(index="year", columns="forecaster", values="ic")
    for place, name in enumerate(results.panel.scores):
        figure.add_scatter(
            x=coefficients.index.to_numpy(),
            y=coefficients[name].to_numpy(float),
            mode="lines+markers",
            name=name,
            # The strategy's line stands out: a reader looks for it among seven.
            line={"color": COLOURS[place % len(COLOURS)], "width": 1.2 + (name == STRATEGY)},
        )
    return figure.update_xaxes(dtick=1 if len(coefficients) < 12 else 2)


def _tenths(results: PooledResults) -> go.Figure:
    figure = empty_figure("basis points per bar", height=300)
    for place, (name, rows) in enumerate(results.by_date.tenths.groupby("forecaster", sort=False)):
        # Its tenths would be so much steeper that the others could not be seen.
        if name != BEST:
            figure.add_bar(
                x=rows["tenth"],
                y=1e4 * rows["excess"].astype(float),
                name=name,
                marker_color=COLOURS[place % len(COLOURS)],
                visible=True if name == STRATEGY else "legendonly",
            )
    return figure.update_xaxes(title="tenth of rank, the best forecasts last", dtick=1)


def _decay(results: PooledResults) -> go.Figure:
    figure = empty_figure("information coefficient", height=300)
    for place, (name, rows) in enumerate(results.by_date.decay.groupby("forecaster", sort=False)):
        figure.add_scatter(
            x=rows["bars"].astype(str),
            y=rows["ic"],
            mode="lines+markers",
            name=name,
            line={"color": COLOURS[place % len(COLOURS)]},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": rows["ic_high"] - rows["ic"],
                "arrayminus": rows["ic"] - rows["ic_low"],
            },
            visible=True if name == STRATEGY else "legendonly",
        )
    # As words: 1, 2, 5 and 10 bars stand at equal distances.
    return figure.update_xaxes(title="bars", type="category")


def _figures(results: PooledResults, figures: Figures, earned: str, benchmark: str) -> Grid:
    """Return the figures on chance. earned: "net" or "gross", which they are of."""
    # Of what both forecasts of a pair are that the AUC compares.
    within = "dates" if results.panel.ranked else "folds"
    rows = [
        (
            name,
            # One list of figures serves both verdicts; only what is earned has another name.
            re.sub("^net", earned, words).replace("within folds", f"within {within}"),
            form,
            scale,
        )
        for name, words, form, scale in figure_rows(benchmark)
    ]
    return interval_grid(figures.intervals, rows)


def _tests(results: PooledResults) -> Grid:
    words = "p: nothing that forecasts here has an alpha over {} (Hansen's test)"
    free = f"{words.format(results.paper_benchmark)}, at no cost"
    rows = {
        words.format(results.benchmark): p_shown(results.figures.superiority),
        free: p_shown(results.figures_at_no_cost.superiority),
        **power_rows(results.figures),
        # Trials are told apart, and counted, by the weights of their paper books.
        **sharpe_rows(results.sharpe, "the Sharpe ratio of the paper book, net of costs,"),
        "forecasts of a move that never came": str(results.panel.unknown_moves),
    }
    return Grid(["", "value"], list(map(list, rows.items())))


def _forecaster_grid(results: PooledResults) -> Grid:
    """Return what each forecasts and earns, the figures of chance with their intervals."""
    rows = scaled(FORECASTERS, results.by_date.forecasters).to_dict("records")
    return Grid(
        ["", *(header for header, _, _, _ in FORECASTERS)],
        [
            [
                row["forecaster"],
                *(
                    ranged(row, name, form) if f"{name}_low" in row else shown(row[name], form)
                    for _, name, form, _ in FORECASTERS
                ),
            ]
            for row in rows
        ],
    )


def _difference_grid(results: PooledResults) -> Grid:
    """Return what the strategy is worth more than each other forecast, paired.

    And what it is worth together with boosting.
    """
    return Grid(
        [
            "",
            "AUC, less [95 %]",
            "information coefficient, less [95 %]",
            "t",
            "mean of ranks, less [95 %]",
            "t",
            "log loss, p",
        ],
        [
            [
                row["forecaster"],
                ranged(row, "auc_less", "+.3f"),
                ranged(row, "ic_less", "+.3f"),
                shown(row["ic_less_t"], ".1f"),
                ranged(row, "ic_together_less", "+.3f"),
                shown(row["ic_together_less_t"], ".1f"),
                p_shown(None if pd.isna(row["loss_p"]) else row["loss_p"]),
            ]
            for row in results.by_date.forecasters.to_dict("records")
        ],
    )


def _thirds_grid(results: PooledResults) -> Grid:
    """Return the verdicts on each third of the dates by itself."""
    return Grid(
        ["", *(header for header, _, _ in THIRDS)],
        [
            [
                f"{shown(row['first_decision'], '')} to {shown(row['last_decision'], '')}",
                *(
                    ranged(row, name, form) if f"{name}_low" in row else shown(row[name], form)
                    for _, name, form in THIRDS
                ),
            ]
            for row in results.thirds.to_dict("records")
        ],
    )


def _year_grid(results: PooledResults) -> Grid:
    """Return the strategy's figures of each year, and the coefficients of the others."""
    table = results.by_date.years
    # Of the others the coefficients alone: all figures of all would be a page of numbers.
    coefficients = table.pivot(index="year", columns="forecaster", values="ic")
    others = [name for name in results.panel.scores if name != STRATEGY]
    own = table[table["forecaster"] == STRATEGY].to_dict("records")
    return Grid(
        [
            "",
            "AUC",
            "information\ncoefficient",
            "net,\nbp per bar",
            "Sharpe,\nat no cost",
            "Sharpe",
            *(name.replace(" ", "\n") for name in others),
        ],
        [
            [
                str(row["year"]),
                shown(row["auc"], ".3f"),
                shown(row["ic"], "+.3f"),
                shown(1e4 * row["net"], "+.2f"),
                shown(row["gross_sharpe"], ".2f"),
                shown(row["sharpe"], ".2f"),
                *(shown(coefficients.loc[row["year"], name], "+.3f") for name in others),
            ]
            for row in own
        ],
    )


def _fold_grid(results: PooledResults) -> Grid:
    rows = scaled(FOLDS_OF_POOLED, results.folds).to_dict("records")
    return Grid(
        ["", *(header for header, _, _, _ in FOLDS_OF_POOLED)],
        [
            [row["fold"], *(shown(row[name], form) for _, name, form, _ in FOLDS_OF_POOLED)]
            for row in rows
        ],
    )
