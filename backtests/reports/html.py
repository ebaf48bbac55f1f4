"""The report of a walk-forward: one self-contained HTML page, and what all pages share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plotly.offline
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from plotly import graph_objects as go

from backtests.evidence.alpha import NOTHING_LEFT
from backtests.evidence.baselines import HOLD
from backtests.evidence.bootstrap import Interval
from backtests.evidence.evidence import Evidence
from backtests.evidence.scores import GIVEN, LOST, NONE_QUALIFIED
from backtests.evidence.verdict import p_words
from backtests.reports.charts import CHARTS, MOST_POINTS
from backtests.reports.results import (
    Results,
    comparison_table,
    describe_data,
    describe_settings,
    machines_of,
)
from backtests.reports.terminal import FORECASTS, MONEY, SPREAD, ranged, shown
from backtests.walk_forward.fingerprint import all_versions
from model.files import write_atomically

REPORT = "report.html"
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
THRESHOLDS = (
    ("enter", "enter", ".3f"),
    ("exit", "exit", ".3f"),
    ("thresholds\nby", "thresholds", ""),
)
GLANCE = (
    ("return", "return", "+.1%"),
    ("Sharpe ratio, annual", "sharpe", ".2f"),
    ("largest drawdown", "max_drawdown", ".1%"),
    ("bars in the market", "exposure", ".0%"),
)
BEST = (("AUC", "auc", ".3f"), ("accuracy", "accuracy", ".3f"), ("log loss", "log_loss", ".4f"))
GAIN = "+z.1%"  # no minus before a nought
FIGURES = (  # with intervals: name, words, format, scale
    ("alpha", "alpha over buy-and-hold, bp per bar", "+.2f", 1e4),
    ("beta", "beta", ".2f", 1),
    ("auc", "AUC, pairs within folds", ".3f", 1),
    ("accuracy", "accuracy", ".3f", 1),
    ("mean", "net, bp per bar", "+.2f", 1e4),
    ("gain", "net less buy-and-hold's, bp per bar", "+.2f", 1e4),
    ("sharpe", "Sharpe ratio", ".2f", 1),
    ("sharpe less benchmark", "Sharpe ratio less buy-and-hold's", "+.2f", 1),
    ("timing at open", "timing gain, filled at the next open, bp", "+.2f", 1e4),
    ("timing at close", "the same at the close decided at", "+.2f", 1e4),
    ("timing at middle", "the same at the middle of the next bar", "+.2f", 1e4),
    ("timing at later", "the same one bar later", "+.2f", 1e4),
)
EMPTY: Mapping[str, Results] = {}


@dataclass(frozen=True)
class Grid:
    """A table as text: its headers and rows, the first column a name.

    links: where each row's name leads, if anywhere.
    """

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    links: Sequence[str] = ()


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
        "figures": interval_grid(results.evidence.intervals, FIGURES),
        "tests": Grid(["", "value"], list(_tests(results).items())),
        "benchmarks": _benchmark_grid(results),
        "forecasts": _fold_grid((*FORECASTS, *THRESHOLDS), folds),
        "money": _fold_grid(MONEY, folds),
        "spread": _fold_grid(SPREAD, results.spread.to_dict("records")),
        "members": _member_grid(results),
        "costs": Grid(["cost\nper side", "net,\nbp per bar", "in all", "Sharpe"], costs),
        "months": _month_grid(results),
    }


def _words(results: Results) -> dict[str, str]:
    """Return the sentences of the page by the names that the template knows."""
    total = results.folds.iloc[-1]
    first, last = shown(total["first_decision"], ""), shown(total["last_decision"], "")
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
        "period": f"{first} to {last}, {years:.1f} years of bars.",
        "thresholds": thresholds,
        "refused": f" Orders and refusals: {refused}." if refused else "",
        "in_market": shown(total["exposure"], ".0%"),
        "calibration": calibration,
        "overfitting": results.overfitting.sentence,
    }


def _glance_grid(results: Results) -> Grid:
    """Return what was earned in all, beside buy-and-hold."""
    total = results.folds.iloc[-1]
    rows = [
        [words, shown(total[name], form), shown(total[f"hold_{name}"], form)]
        for words, name, form in GLANCE
    ]
    return Grid(
        ["", "strategy", HOLD],
        [*rows, ["trades", str(total["trades"]), str(len(results.hold.trades))]],
    )


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


def _fold_grid(columns: tuple[tuple[str, str, str], ...], rows: list[dict[Any, Any]]) -> Grid:
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


def _month_grid(results: Results) -> Grid:
    gains = results.months.set_index(["year", "month"])["return"]
    rows = [
        [
            f"{year:.0f}",
            *(shown(gains.get((year, month)), GAIN) for month in range(1, len(MONTHS) + 1)),
            shown(ours, GAIN),
            shown(theirs, GAIN),
        ]
        for year, ours, theirs in results.years.to_numpy().tolist()
    ]
    return Grid(["", *MONTHS, "year", "hold"], rows)


def interval_grid(
    intervals: Mapping[str, Interval], figures: Sequence[tuple[str, str, str, float]]
) -> Grid:
    """Return a row for each figure (name, words, format, scale) that there is."""
    rows = []
    for name, words, form, scale in figures:
        if found := intervals.get(name):
            low, high, lowest, highest = (
                format(scale * end, form)
                for end in (found.low, found.high, found.lowest, found.highest)
            )
            rows.append(
                [
                    words,
                    format(scale * found.value, form),
                    f"{low} to {high}",
                    f"{lowest} and {highest}",
                ]
            )
    return Grid(["", "estimate", "95 % interval", "99 % bounds"], rows)


def _tests(results: Results) -> dict[str, str]:
    evidence = results.evidence
    # Undefined where all forecasts lie on one side of the thresholds.
    independent = p_shown(evidence.direction and evidence.direction[1])
    found = {
        "base rate: the accuracy of always naming the more frequent direction": shown(
            results.folds.iloc[-1]["base_rate"], ".3f"
        ),
        "decisions whose price did not move, and that count in no AUC": f"{evidence.ties:.1%}",
        **_power_rows(evidence),
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
    if sharpe := evidence.sharpe:
        trials = f"{sharpe.trials} trial{'s' if sharpe.trials > 1 else ''}"
        found |= {
            "probability that the Sharpe ratio is above 0": f"{sharpe.probable:.3f}",
            f"the same above the best luck of {trials} on these bars "
            "(deflated Sharpe ratio)": f"{sharpe.deflated:.3f}",
            "bars that would show it above 0 with 95 % confidence "
            "(minimum track record length)": shown(sharpe.bars_needed, ",.0f"),
        }
    return found


def _power_rows(evidence: Evidence) -> dict[str, str]:
    """Return what so many decisions could have shown, with 80 % power."""
    power, years = evidence.power, evidence.periods_per_year

    def a_year(alpha: float | None) -> str:
        return "-" if alpha is None else f"{years * alpha:.1%}"

    return {
        "smallest alpha a year that the whole rule shows": a_year(power.alpha),
        "that its 99 % bound alone shows": a_year(power.alpha_alone),
        "that Hansen's test alone shows": a_year(power.test_alone),
        "smallest AUC that the whole rule shows": shown(power.auc, ".3f"),
        "that its 99 % bound alone shows (AUC)": shown(power.auc_alone, ".3f"),
        "decisions that the alpha found would need": (
            "none would do"
            if power.decisions_for_alpha is None and power.alpha is not None
            else shown(power.decisions_for_alpha, ",")
        ),
        f"decisions that an AUC of {NOTHING_LEFT} would need": shown(power.decisions_for_auc, ","),
    }


def p_shown(p: float | None) -> str:
    """Return a p-value as it stands in a table."""
    return "-" if p is None else p_words(p).removeprefix("= ")


def render_page(template: str, charts: Mapping[str, go.Figure], **content: Any) -> str:
    """Return the page. It loads nothing: its charts' library and data are inside."""
    # StrictUndefined: a name that a template misspells is an error, not an empty place on the page.
    pages = Environment(
        loader=PackageLoader("backtests.reports"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters["sign"] = sign_of
    drawn = {
        # Markup: plotly's HTML is taken as it is, all other text of the page is escaped.
        name: Markup(
            chart.to_html(
                full_html=False,
                include_plotlyjs=False,  # once for all charts, in the page's head
                div_id=f"chart-{name}",
                config={"responsive": True, "displayModeBar": False},
            )
        )
        for name, chart in charts.items()
    }
    # Inside the page, large as it is: a report opens years later without a network.
    library = Markup(plotly.offline.get_plotlyjs())
    return pages.get_template(template).render(library=library, charts=drawn, **content)


def sign_of(text: str) -> str:
    """Return "gain" or "loss" for a figure with its sign, "" for nought and what is no figure."""
    if not text.strip("+-0.%"):
        return ""
    return {"+": "gain", "-": "loss"}.get(text[:1], "")


def pairs_of(content: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested settings as pairs of text."""
    pairs: list[tuple[str, str]] = []
    for name, value in content.items():
        if isinstance(value, Mapping):
            pairs += pairs_of(value, f"{name}: ")
        else:
            pairs.append((f"{prefix}{name}".replace("_", " "), _plain(value)))
    return pairs


def _plain(value: object) -> str:
    """Return a setting as a reader who knows no Python writes it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        # Commas make large numbers of settings, such as the cash, readable.
        short = f"{value:,g}"
        # Six digits where they are all there is, else every digit.
        return short if float(short.replace(",", "")) == value else str(value)
    return str(value).removesuffix(" 00:00:00")
