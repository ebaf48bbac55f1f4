"""The report of a walk-forward: one self-contained HTML page."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from backtests.evidence.account_figures import LEFT_OUT
from backtests.evidence.scores import GIVEN, LOST, NONE_QUALIFIED
from backtests.evidence.verdict import p_words
from backtests.reports.charts import CHARTS, MOST_POINTS
from backtests.reports.page import (
    REPORT,
    Grid,
    figure_rows,
    glance_grid,
    interval_grid,
    length_in_words,
    month_grid,
    p_shown,
    pairs_of,
    power_rows,
    render_page,
    sharpe_rows,
)
from backtests.reports.results import (
    Results,
    comparison_table,
    describe_data,
    describe_settings,
    machines_of,
)
from backtests.reports.search_page import searches_grid, trials_grid
from backtests.reports.terminal import FORECASTS, MONEY, SPREAD, Row, ranged, shown
from backtests.walk_forward.fingerprint import all_versions
from model.files import write_atomically

THRESHOLDS = (
    ("enter", "enter", ".3f"),
    ("exit", "exit", ".3f"),
    ("thresholds\nby", "thresholds", ""),
)
BEST = (("AUC", "auc", ".3f"), ("accuracy", "accuracy", ".3f"), ("log loss", "log_loss", ".4f"))
EMPTY: Mapping[str, Results] = {}


def write_report(folder: Path, results: Results, compared: Mapping[str, Results] = EMPTY) -> None:
    """Write the page into the folder.

    compared: the results of each architecture, these among them, where there are several.
    """
    write_atomically(folder / REPORT, render(results, compared).encode())


def render(results: Results, compared: Mapping[str, Results] = EMPTY) -> str:
    """Return the page of results as HTML."""
    return render_page(
        REPORT,
        {name: chart(results) for name, chart in CHARTS.items()},
        **_grids(results),
        **_words(results),
        title=results.title,
        verdict=results.verdict,
        architectures=_architecture_grid(compared),
        settings=pairs_of(describe_settings(results.settings)),
        data=pairs_of(describe_data(results.bars)),
        versions=pairs_of(all_versions()),
        costs_now=str(results.settings.costs),
        left_out=LEFT_OUT,
        cash=results.settings.account.cash,
        most_points=MOST_POINTS,
        rolling_bars=results.rolling_bars,
        mixed=len(machines_of(results.models)) > 1,
    )


def _grids(results: Results) -> dict[str, Grid]:
    """Return the tables of the page by the names that the template knows."""
    folds = results.folds.to_dict("records")
    costs = [
        [
            f"{row.cost:g} bp",
            f"{1e4 * row.mean:+.2f}",
            f"{row.total:+.1%}",
            shown(row.sharpe, ".2f"),
        ]
        for row in results.evidence.costs
    ]
    return {
        "glance": _glance_grid(results),
        "best": _best_grid(results),
        "figures": interval_grid(results.evidence.intervals, figure_rows("buy-and-hold")),
        "tests": Grid(["", "value"], list(_tests(results).items())),
        "benchmarks": _benchmark_grid(results),
        "forecasts": _fold_grid((*FORECASTS, *THRESHOLDS), folds),
        "money": _fold_grid(MONEY, folds),
        "spread": _fold_grid(SPREAD, results.spread.to_dict("records")),
        "members": _member_grid(results),
        "costs": Grid(["cost\nper side", "net,\nbp per bar", "in all", "Sharpe"], costs),
        "months": month_grid(results.months, results.years, "hold"),
        "searches": searches_grid(results.searched),
        "trials": trials_grid(results.searched),
    }


def _words(results: Results) -> dict[str, str]:
    """Return the sentences of the page by the names that the template knows."""
    total = results.folds.iloc[-1]
    first, last = shown(total["first_decision"], ""), shown(total["last_decision"], "")
    # Years of bars: the calendar would count nights and weekends.
    years = len(results.equity) / results.decisions.bars_per_year
    refused = ", ".join(f"{count} {what}" for what, count in results.strategy.refused.items())

    # Without the last row, the total, which has no thresholds of its own.
    sources = results.folds["thresholds"].iloc[:-1].tolist()
    without, lost = sources.count(NONE_QUALIFIED), sources.count(LOST)
    if GIVEN in sources:
        thresholds = "The thresholds were given."
    else:
        thresholds = "Thresholds are chosen on each fold's validation part by the net result there."
        if without:
            thresholds += (
                f" In {without} of {len(sources)} folds no pair made enough trades there, "
                "and both are .50."
            )
        if lost:
            thresholds += (
                f" In {lost} of {len(sources)} folds even the best pair lost there; "
                "it is traded all the same."
            )

    found = results.calibration
    if found is None:
        calibration = "Too few forecasts to judge their calibration."
    else:
        calibration = (
            f"Expected calibration error {found.error:.3f}; exact probabilities would show "
            f"{found.error_by_chance:.3f} by chance, up to {found.error_limit:.3f} in 95 of 100 "
            f"cases. {found.outside} of {len(found.bins)} bins lie outside the band."
        )
    return {
        "period": f"{first} to {last}, {length_in_words(len(results.equity), years)}.",
        "thresholds": thresholds,
        "refused": f" Orders and refusals: {refused}." if refused else "",
        "in_market": shown(total["exposure"], ".0%"),
        "calibration": calibration,
        "overfitting": results.overfitting.sentence,
        "registered": results.registered,
        "chosen": results.chosen,
    }


def _glance_grid(results: Results) -> Grid:
    """Return what was earned in all, beside buy-and-hold."""
    total = results.folds.iloc[-1].to_dict()
    # Figures of a fold have their twin of buy-and-hold beside them, by that name.
    theirs = {name: total.get(f"hold_{name}") for name in total}
    ours = total | asdict(results.account["strategy"]) | asdict(results.trading)
    theirs = theirs | asdict(results.account["hold"]) | {"trades": len(results.hold.trades)}
    return glance_grid(ours, theirs, results.benchmark)


def _best_grid(results: Results) -> Grid:
    """Return our scores beside those of the best forecast there is.

    No rows where that is not known.
    """
    if results.best is None:
        return Grid([], [])
    total = results.folds.iloc[-1]
    rows = [
        [words, shown(total[name], form), shown(results.best[name], form)]
        for words, name, form in BEST
    ]
    share = ["share of the edge in AUC", shown(results.share_found, ".0%"), "100%"]
    return Grid(
        ["", "ours", "best possible"], rows if results.share_found is None else [*rows, share]
    )


def _member_grid(results: Results) -> Grid:
    """Return the AUC of each member in each fold, a column per member."""
    # In the order in which the members were trained, which pivot would sort.
    by_member = results.members.pivot(index="fold", columns="member", values="auc")
    order = list(dict.fromkeys(results.members["member"]))
    rows = [
        [fold, *(shown(by_member.loc[fold, name], ".3f") for name in order)]
        for fold in dict.fromkeys(results.members["fold"])
    ]
    return Grid(["fold", *order], rows)


def _fold_grid(columns: tuple[tuple[str, str, str], ...], rows: Sequence[Row]) -> Grid:
    """Return the columns (header, name, format) of rows by fold."""
    return Grid(
        ["fold", *(header for header, _, _ in columns)],
        [[row["fold"], *(shown(row[name], form) for _, name, form in columns)] for row in rows],
    )


def _architecture_grid(compared: Mapping[str, Results]) -> Grid:
    """Return a row for each architecture with the paired differences of the first to it.

    No rows where there is but one.
    """
    rows = comparison_table(compared).to_dict("records") if compared else []
    first = next(iter(compared), "")
    return Grid(
        [
            "",
            "AUC",
            f"{first}:\ndifference in AUC",
            "log loss",
            f"log loss\nof {first}",
            "net,\nbp per bar",
            f"{first}: bp\nmore per bar",
            "Sharpe",
            "verdict\nby itself",
        ],
        [
            [
                row["architecture"],
                shown(row["auc"], ".3f"),
                ranged(row, "auc_less", "+.3f"),
                shown(row["log_loss"], ".4f"),
                _loss_words(
                    None
                    if shown(row["loss_p"], "") == "-"  # the first itself
                    else (row["loss_statistic"], row["loss_p"])
                ),
                f"{1e4 * row['net']:+.2f}",
                ranged(row, "gain_less", "+.2f", 1e4),
                shown(row["sharpe"], ".2f"),
                row["verdict"],
            ]
            for row in rows
        ],
        # The first's report is the page itself.
        ["" if name == first else f"{name}/{REPORT}" for name in compared],
    )


def _benchmark_grid(results: Results) -> Grid:
    rows = []
    for name, figures in results.evidence.benchmarks.items():
        less = results.evidence.intervals.get(f"less {name}")
        rows.append(
            [
                name,
                f"{1e4 * figures.mean:+.2f}",
                f"{figures.total:+.1%}",
                shown(figures.sharpe, ".2f"),
                f"{1e4 * less.value:+.2f}" if less else "-",
                f"{1e4 * less.low:+.2f} to {1e4 * less.high:+.2f}" if less else "-",
                f"{1e4 * less.lowest:+.2f}" if less else "-",
                _loss_words(results.evidence.losses.get(name)),
            ]
        )
    return Grid(
        [
            "",
            "net,\nbp per bar",
            "in all",
            "Sharpe",
            "strategy: bp\nmore per bar",
            "95 % interval",
            "99 % lower\nbound",
            "our log loss",
        ],
        rows,
    )


def _loss_words(test: tuple[float, float] | None) -> str:
    """Return which way Diebold and Mariano's test points, with its p."""
    return f"{'lower' if test[0] < 0 else 'higher'}, p {p_words(test[1])}" if test else "-"


def _tests(results: Results) -> dict[str, str]:
    evidence = results.evidence
    # Undefined where all forecasts lie on one side of the thresholds.
    independent = p_shown(evidence.direction and evidence.direction[1])
    found = {
        "base rate: the accuracy of always naming the more frequent direction": shown(
            results.folds.iloc[-1]["base_rate"], ".3f"
        ),
        "decisions whose price did not move, and that count in no AUC": f"{evidence.ties:.1%}",
        **power_rows(evidence),
        "gross return, bp per bar": f"{1e4 * evidence.gross:+.2f}",
        "break-even cost per side, bp": (
            "none: it loses before costs"
            if evidence.break_even is not None and evidence.break_even <= 0
            else shown(evidence.break_even, ".2f")
        ),
        "p: nothing tried has an alpha over buy-and-hold (Hansen's test)": p_shown(
            evidence.superiority
        ),
        "p: nothing tried earns more than cash (Hansen's test)": p_shown(
            evidence.superiority_to_cash
        ),
        "p: directions are independent of the forecasts (Pesaran-Timmermann)": independent,
        "p: the same positions, shifted in time, earn as much": f"{evidence.luck:.3f}",
        "log loss against that of always saying one half (Diebold-Mariano)": _loss_words(
            evidence.losses.get("one half")
        ),
    }
    return found | sharpe_rows(evidence.sharpe)
