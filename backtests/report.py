"""The report: one self-contained HTML page, made by a template from the same figures that the files hold."""
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from backtests.charts import CHARTS
from backtests.comparison import comparison_table
from backtests.drawing import MOST_POINTS
from backtests.fingerprint import all_versions
from backtests.pages import Grid, pairs_of, render_page
from backtests.results import Results, describe_data, describe_settings
from backtests.tables import FORECASTS, MONEY, SPREAD, ranged, shown
from backtests.verdict import p_words
from model.files import write_atomically

REPORT = "report.html"
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def write_report(folder: Path, results: Results, compared: Mapping[str, Results] = {}) -> None:
    """Write the page into the folder. compared: the results of each architecture, these among them, where there are several."""
    write_atomically(folder / REPORT, render(results, compared).encode())


def render(results: Results, compared: Mapping[str, Results] = {}) -> str:
    """Return the page."""
    return render_page(
        REPORT, {name: make(results) for name, make in CHARTS.items()},
        title=results.title, verdict=results.verdict,
        folds=_fold_grid(results), rivals=_rival_grid(results), costs=_cost_grid(results), months=_month_grid(results),
        figures=_figures(results), calibration=_calibration_words(results), settings=pairs_of(describe_settings(results.settings)),
        data=pairs_of(describe_data(results.bars)), versions=pairs_of(all_versions()), costs_now=str(results.settings.costs),
        cash=results.settings.account.cash, most_points=MOST_POINTS, members=_member_grid(results),
        spread=_spread_grid(results), architectures=_architecture_grid(compared))


def _member_grid(results: Results) -> Grid:
    """Return the AUC of each member in each fold, a column per member."""
    by_member = results.members.pivot(index="fold", columns="member", values="auc")
    order = list(dict.fromkeys(results.members["member"]))
    return Grid(["fold", *order], [[str(fold), *(shown(row[name], ".3f") for name in order)] for fold, row in by_member.iterrows()])


def _spread_grid(results: Results) -> Grid:
    rows = results.spread.to_dict("records")
    return Grid(["fold", *(header.replace("\n", " ") for header, _, _ in SPREAD)],
                [[row["fold"], *(shown(row[column], form) for _, column, form in SPREAD)] for row in rows])


def _architecture_grid(compared: Mapping[str, Results]) -> Grid:
    """Return a row for each architecture with the paired differences of the first to it; no rows where there is but one."""
    rows = comparison_table(compared).to_dict("records") if compared else []
    first = next(iter(compared), "")
    return Grid(
        ["", "AUC", f"AUC of {first} less it", "log loss", f"log loss of {first}", "net, bp per bar", f"{first} less it, bp",
         "Sharpe", "verdict by itself"],
        [[row["architecture"], shown(row["auc"], ".3f"), ranged(row, "auc_less", "+.3f"), shown(row["log_loss"], ".4f"),
          _loss_words(_test_of(row)), f"{1e4 * row['net']:+.2f}", ranged(row, "gain_less", "+.2f", 1e4),
          shown(row["sharpe"], ".2f"), row["verdict"]] for row in rows],
        ["" if name == first else f"{name}/{REPORT}" for name in compared])


def _fold_grid(results: Results) -> Grid:
    columns = (*FORECASTS, ("enter", "enter", ".3f"), ("exit", "exit", ".3f"), *MONEY)
    rows = results.folds.to_dict("records")
    return Grid(["fold", *(header.replace("\n", " ") for header, _, _ in columns)],
                [[str(row["fold"]), *(shown(row[column], form) for _, column, form in columns)] for row in rows])


def _rival_grid(results: Results) -> Grid:
    rows = []
    for name, figures in results.evidence.rivals.items():
        less = results.evidence.intervals.get(f"less {name}")
        rows.append([
            name, f"{1e4 * figures['mean']:+.2f}", f"{figures['total']:+.1%}", f"{figures['sharpe']:.2f}",
            f"{1e4 * less.value:+.2f}" if less else "-", f"{1e4 * less.low:+.2f} to {1e4 * less.high:+.2f}" if less else "-",
            f"{1e4 * less.lowest:+.2f}" if less else "-", _loss_words(results.evidence.losses.get(name))])
    return Grid(["", "net, bp per bar", "in all", "Sharpe", "strategy less it, bp", "95 % interval", "99 % lower bound",
                 "our log loss"], rows)


def _test_of(row: Mapping[Any, Any]) -> tuple[float, float] | None:
    """Return Diebold and Mariano's test of a row of the comparison; None for the first itself."""
    return None if shown(row["loss_p"], "") == "-" else (row["loss_statistic"], row["loss_p"])


def _loss_words(test: tuple[float, float] | None) -> str:
    """Return which way Diebold and Mariano's test points, with its p."""
    return f"{'lower' if test[0] < 0 else 'higher'}, p {p_words(test[1])}" if test else "-"


def _cost_grid(results: Results) -> Grid:
    rows = [[f"{row.cost:g} bp", f"{1e4 * row.mean:+.2f}", f"{row.total:+.1%}", shown(row.sharpe, ".2f")]
            for row in results.evidence.costs]
    return Grid(["cost per side", "net, bp per bar", "in all", "Sharpe"], rows)


def _month_grid(results: Results) -> Grid:
    rows = []
    for year, months in results.months.groupby("year"):
        gains = dict(zip(months["month"], months["return"]))
        by_month = [shown(gains.get(month), "+.1%") for month in range(1, len(MONTHS) + 1)]
        rows.append([str(year), *by_month, f"{prod(1 + gain for gain in gains.values()) - 1:+.1%}"])
    return Grid(["", *MONTHS, "year"], rows)


def _figures(results: Results) -> Grid:
    """Return the figures on chance that are no comparison with a rival."""
    evidence, rows = results.evidence, []
    for name, words, form, scale in (("auc", "AUC", ".3f", 1), ("accuracy", "accuracy", ".3f", 1),
                                     ("sharpe", "Sharpe ratio, annual", ".2f", 1), ("mean", "net return, bp per bar", "+.2f", 1e4)):
        if found := evidence.intervals.get(name):
            low, high, lowest, highest = (format(scale * end, form) for end in (found.low, found.high, found.lowest, found.highest))
            rows.append([words, format(scale * found.value, form), f"{low} to {high}", f"{lowest} and {highest}"])
    rows += [[words, value, "", ""] for words, value in _tests(results).items()]
    return Grid(["", "found", "95 % interval", "99 % bounds"], rows)


def _tests(results: Results) -> dict[str, str]:
    evidence = results.evidence
    independent = p_shown(evidence.direction and evidence.direction[1])
    found = {
        "p: nothing tried beats buy-and-hold (superior predictive ability)": p_shown(evidence.superiority),
        "p: nothing tried beats cash": p_shown(evidence.superiority_to_cash),
        "p: directions are independent of the forecasts (Pesaran-Timmermann)": independent,
        "p: the same positions, shifted in time, earn as much": f"{evidence.luck:.3f}",
        "gross and net return, bp per bar": f"{1e4 * evidence.gross:+.2f} and {1e4 * evidence.net:+.2f}",
        "break-even cost per side, bp": shown(evidence.break_even, ".2f"),
    }
    if sharpe := evidence.sharpe:
        found |= {"probability that the Sharpe ratio is above 0": f"{sharpe.probable:.3f}",
                  f"the same, deflated by {sharpe.trials} trial(s) on these data": f"{sharpe.deflated:.3f}",
                  "bars that would show it above 0 with 95 % confidence": shown(sharpe.bars_needed, ",.0f")}
    return found


def p_shown(p: float | None) -> str:
    """Return a p-value as it stands in a table."""
    return "-" if p is None else p_words(p).removeprefix("= ")


def _calibration_words(results: Results) -> str:
    found = results.calibration
    if found is None:
        return "Too few forecasts to judge their calibration."
    return (f"Expected calibration error {found.error:.3f}; exact probabilities would show {found.error_by_chance:.3f} by chance, "
            f"up to {found.error_limit:.3f} in 95 of 100 cases. {found.outside} of {len(found.bins)} bins lie outside the band.")
