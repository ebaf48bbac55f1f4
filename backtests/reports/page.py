"""What all pages share: tables as text, the words of figures, and the page around them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import plotly.offline
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from plotly import graph_objects as go
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from backtests.evidence.alpha import NOTHING_LEFT, Figures
from backtests.evidence.bootstrap import Interval
from backtests.evidence.verdict import p_words
from backtests.reports.terminal import Row, shown
from model.bars.faults import count

if TYPE_CHECKING:
    from backtests.evidence.evidence import SharpeFigures

REPORT = "report.html"
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
GLANCE = (
    ("return", "return", "+.1%"),
    ("return a year", "return_a_year", "+.1%"),
    ("volatility a year", "volatility", ".1%"),
    ("Sharpe ratio, annual", "sharpe", ".2f"),
    ("largest drawdown", "max_drawdown", ".1%"),
    ("longest time under water, bars", "longest_under_water", ",.0f"),
    ("bars in the market", "exposure", ".0%"),
    ("trades", "trades", ",.0f"),
    ("trades that earned", "hit_rate", ".0%"),
    ("mean return of those", "mean_win", "+.1%"),
    ("mean return of the others", "mean_loss", "+.1%"),
    ("bars a trade is held", "holding", ",.1f"),
    ("turnover a year, times the account", "turnover_a_year", ",.1f"),
)
GAIN = "+z.1%"  # no minus before a nought


@dataclass(frozen=True)
class Grid:
    """A table as text: its headers and rows, the first column a name.

    links: where each row's name leads, if anywhere.
    """

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    links: Sequence[str] = ()


def figure_rows(benchmark: str) -> list[tuple[str, str, str, float]]:
    """Return the figures with intervals, as `interval_grid` shows them: name, words, format, scale.

    benchmark: its name, over which alpha is.
    """
    return [
        ("alpha", f"alpha over {benchmark}, bp per bar", "+.2f", 1e4),
        ("beta", "beta", ".2f", 1),
        ("auc", "AUC, pairs within folds", ".3f", 1),
        ("accuracy", "accuracy", ".3f", 1),
        ("mean", "net, bp per bar", "+.2f", 1e4),
        ("gain", f"net less that of {benchmark}, bp per bar", "+.2f", 1e4),
        ("sharpe", "Sharpe ratio", ".2f", 1),
        ("sharpe less benchmark", f"Sharpe ratio less that of {benchmark}", "+.2f", 1),
        ("timing at open", "timing gain, filled at the next open, bp", "+.2f", 1e4),
        ("timing at close", "timing gain, filled at the close decided at, bp", "+.2f", 1e4),
        ("timing at middle", "the same, at the middle of the next bar", "+.2f", 1e4),
        ("timing at later", "the same, one bar later", "+.2f", 1e4),
    ]


def interval_grid(
    intervals: Mapping[str, Interval], figures: Sequence[tuple[str, str, str, float]]
) -> Grid:
    """Return a row for each figure (name, words, format, scale) that there is."""
    rows = []
    for name, words, form, scale in figures:
        # What is not known of a run has no row, rather than a row of dashes.
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


def glance_grid(ours: Row, theirs: Row, benchmark: str) -> Grid:
    """Return what was earned in all beside the benchmark, as far as it is known."""
    rows = [
        [words, shown(ours[name], form), shown(theirs.get(name), form)]
        for words, name, form in GLANCE
        if name in ours
    ]
    return Grid(["", "strategy", benchmark], rows)


def month_grid(months: pd.DataFrame, years: pd.DataFrame, benchmark: str) -> Grid:
    """Return a row per year with what was gained in each month, and beside it the benchmark's."""
    gains = months.set_index(["year", "month"])["return"]
    rows = [
        [
            f"{year:.0f}",
            *(shown(gains.get((year, month)), GAIN) for month in range(1, len(MONTHS) + 1)),
            shown(ours, GAIN),
            shown(theirs, GAIN),
        ]
        for year, ours, theirs in years.to_numpy().tolist()
    ]
    return Grid(["", *MONTHS, "year", benchmark], rows)


def sharpe_rows(figures: "SharpeFigures | None", whose: str = "the Sharpe ratio") -> dict[str, str]:
    """Return how sure a Sharpe ratio is, given all that was tried; no rows where none varies.

    whose: which one, in words.
    """
    if figures is None:
        return {}
    return {
        f"probability that {whose} is above 0": f"{figures.probable:.3f}",
        f"the same above the best luck of {count(figures.trials, 'trial')} on these bars "
        "(deflated Sharpe ratio)": f"{figures.deflated:.3f}",
        "bars that would show it above 0 with 95 % confidence (minimum track record length)": shown(
            figures.bars_needed, ",.0f"
        ),
    }


def grid_table(grid: Grid, title: str | None = None) -> Table:
    """Return a table of a page as the terminal shows it."""
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", collapse_padding=True)
    for header in grid.headers:
        # Folded rather than cut: half of an interval is none.
        table.add_column(header, justify="right" if header else "left", overflow="fold")
    for row in grid.rows:
        # Brackets of an interval would be taken for markup.
        table.add_row(*map(escape, row))
    return table


def power_rows(evidence: Figures) -> dict[str, str]:
    """Return what so many decisions could have shown, with 80 % power."""
    power, years = evidence.power, evidence.periods_per_year

    def a_year(alpha: float | None) -> str:
        return "-" if alpha is None else f"{years * alpha:.1%}"

    rows = {
        "alpha a year that is worth having": a_year(evidence.worth),
        "smallest alpha a year that the whole rule shows": a_year(power.alpha),
        "that its 99 % bound alone shows": a_year(power.alpha_alone),
        "that Hansen's test alone shows": a_year(power.test_alone),
        "decisions that the alpha found would need": (
            "no number would do"
            if power.decisions_for_alpha is None and power.alpha is not None
            else shown(power.decisions_for_alpha, ",")
        ),
    }
    if "auc" in evidence.intervals:
        for_auc = shown(power.decisions_for_auc, ",")
        rows |= {
            "smallest AUC that the whole rule shows": shown(power.auc, ".3f"),
            "that its 99 % bound alone shows (AUC)": shown(power.auc_alone, ".3f"),
            f"decisions that an AUC of {NOTHING_LEFT} would need": for_auc,
        }
    return rows


def length_in_words(n_bars: int, years: float) -> str:
    """Return how long a test is; years: of so many bars, as the calendar counts nights, too."""
    return f"{years:.1f} years of bars" if years >= 1 else count(n_bars, "bar")


def p_shown(p: float | None) -> str:
    """Return a p-value as it stands in a table."""
    return "-" if p is None else p_words(p).removeprefix("= ")


def render_page(template: str, charts: Mapping[str, go.Figure], **content: object) -> str:
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


def pairs_of(content: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
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
