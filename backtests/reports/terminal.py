"""The tables on the terminal.

Forecasts, money and benchmarks of a walk-forward, and the markets of a universe.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table

from backtests.evidence.scores import BEST, TOTAL
from model.bars.faults import count
from model.bars.intervals import day
from strategy_plugin.decision import TOO_EARLY

if TYPE_CHECKING:
    from backtests.evidence.account_figures import AccountFigures
    from backtests.evidence.book_figures import BookFigures
    from backtests.evidence.by_date import Halves, Together
    from backtests.evidence.evidence import Evidence
    from backtests.reports.pooled import PooledResults
    from backtests.reports.results import Results
    from backtests.reports.universe import UniverseResults
    from backtests.walk_forward.book import BookChoice
    from backtests.walk_forward.folds import Outcome
    from backtests.walk_forward.trainer import Origin

Row = Mapping[Any, Any]  # of a table: pandas names columns by whatever can be hashed

# What the terminal's tables show: (header, column of the fold table, format).
FORECASTS = (
    ("first decision", "first_decision", ""),
    ("windows", "windows", ".0f"),
    ("AUC", "auc", ".3f"),
    ("accuracy", "accuracy", ".3f"),
    ("base rate", "base_rate", ".3f"),
    ("model", "model", ""),
)
MONEY = (
    ("trades", "trades", ""),
    ("return", "return", "+.1%"),
    ("Sharpe", "sharpe", ".2f"),
    ("max\ndrawdown", "max_drawdown", ".1%"),
    ("in\nmarket", "exposure", ".0%"),
    ("hold:\nreturn", "hold_return", "+.1%"),
    ("hold:\nSharpe", "hold_sharpe", ".2f"),
    ("hold:\ndrawdown", "hold_max_drawdown", ".1%"),
)

SPREAD = (
    ("members", "count", ""),
    ("lowest", "min", ".3f"),
    ("mean", "mean", ".3f"),
    ("highest", "max", ".3f"),
    ("standard\ndeviation", "std", ".3f"),
    ("together", "together", ".3f"),
)


# Of one network for a universe: header, column, format, and what a fraction is multiplied by.
FOLDS_OF_POOLED = (
    ("first decision", "first_decision", "", 0),
    ("names", "instruments", "", 0),
    ("forecasts", "forecasts", ",", 0),
    ("AUC", "auc", ".3f", 1),
    ("IC", "ic", "+.3f", 1),
    ("gross,\nbp", "gross", "+.1f", 1e4),
    ("net,\nbp", "net", "+.1f", 1e4),
)
FORECASTERS = (
    ("AUC", "auc", ".3f", 1),
    ("IC", "ic", "+.3f", 1),
    ("t", "ic_t", ".1f", 1),
    ("gross,\nbp", "gross", "+.1f", 1e4),
    ("net,\nbp", "net", "+.1f", 1e4),
    ("Sharpe\ngross", "gross_sharpe", ".2f", 1),
    ("Sharpe\nnet", "sharpe", ".2f", 1),
    ("break-\neven", "break_even", ".1f", 1),
)
# Of each third of the dates: header, column, format.
THIRDS = (
    ("IC", "ic", "+.3f"),
    ("t", "ic_t", ".1f"),
    ("Sharpe\ngross", "gross_sharpe", ".2f"),
    ("Sharpe\nnet", "sharpe", ".2f"),
    ("at no cost", "verdict_at_no_cost", ""),
    ("net of costs", "verdict", ""),
)


def tables(results: "Results") -> Group:
    """Return the tables that the terminal shows."""
    rows, spread = results.folds.to_dict("records"), results.spread.to_dict("records")
    members = (
        [_table("AUC of the members, each by itself, and of their mean logit", SPREAD, spread)]
        if spread
        else []
    )
    return Group(
        _table("forecasts", FORECASTS, rows),
        *members,
        _table("money, after costs, beside buy-and-hold", MONEY, rows),
        _benchmark_table(results.evidence),
    )


def _benchmark_table(evidence: "Evidence") -> Table:
    title = "net of costs, by decision, with 95 % intervals"
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", collapse_padding=True)
    for header in ("", "mean, bp per bar", "Sharpe", "difference, bp per bar"):
        table.add_column(header, justify="right" if header else "left", no_wrap=True)
    for name, figures in evidence.benchmarks.items():
        # The strategy has none: it is what all others are held against.
        less = evidence.intervals.get(f"less {name}")
        difference = (
            f"{1e4 * less.value:+.2f} [{1e4 * less.low:+.2f}, {1e4 * less.high:+.2f}]"
            if less
            else ""
        )
        table.add_row(name, f"{1e4 * figures.mean:+.2f}", shown(figures.sharpe, ".2f"), difference)
    return table


def architecture_table(compared: pd.DataFrame) -> Table:
    """Return a row for each architecture with the paired differences of the first to it."""
    first = compared["architecture"].iloc[0]
    table = Table(
        title=f"architectures on the same folds: {first} less each, with 95 % intervals",
        box=SIMPLE_HEAD,
        title_justify="left",
        collapse_padding=True,
    )
    for header in ("", "AUC", "difference in AUC", "difference in\nbp per bar", "log\nloss, p"):
        table.add_column(header, justify="right" if header else "left", no_wrap=True)
    for row in compared.to_dict("records"):
        table.add_row(
            row["architecture"],
            shown(row["auc"], ".3f"),
            ranged(row, "auc_less", "+.3f"),
            ranged(row, "gain_less", "+.2f", 1e4),
            shown(row["loss_p"], ".3f"),
        )
    return table


def universe_table(universe: "UniverseResults") -> Table:
    """Return a row for each market.

    Its forecasts, what it earned, its own verdict, and whether it stands out.
    """
    title = "markets, net of costs by decision, with 95 % intervals"
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", collapse_padding=True)
    for header in ("market", "AUC", "bp per bar more\nthan holding", "Sharpe", "verdict"):
        table.add_column(
            header,
            justify="right" if header not in ("market", "verdict") else "left",
            # A long name may break; a figure that breaks is misread.
            no_wrap=header != "market",
        )
    for row in universe.markets.to_dict("records"):
        table.add_row(
            row["market"],
            ranged(row, "auc", ".3f"),
            ranged(row, "gain", "+.2f", 1e4),
            shown(row["sharpe"], ".2f"),
            row["verdict"] + (", stands out" if row["outstanding"] else ""),
        )
    return table


def pooled_tables(results: "PooledResults") -> Group:
    """Return the tables of one network for a universe: by fold, by forecaster and by year."""
    evidence = results.by_date
    # Of what else was tried, and of the best possible forecast, the files and the page tell.
    shown_by_year = [
        name for name in results.panel.scores if name not in (*results.architectures, BEST)
    ]
    years = evidence.years.pivot(index="year", columns="forecaster", values="ic")
    by_year = _table(
        "information coefficient by year",
        [(name.replace(" ", "\n"), name, "+.3f") for name in shown_by_year],
        years.reset_index().to_dict("records"),
        "year",
    )
    return Group(
        _scaled_table(
            "forecasts: pairs and ranks within dates, basis points per bar",
            FOLDS_OF_POOLED,
            results.folds,
        ),
        _scaled_table(
            "beside all that forecast; IC: mean rank correlation of a date",
            FORECASTERS,
            evidence.forecasters,
            "forecaster",
        ),
        by_year,
        *([_thirds_table(results.thirds)] if len(results.thirds) else []),
        *(
            [_book_table(results.account.account, results.account.figures)]
            if results.account
            else []
        ),
    )


def _thirds_table(thirds: pd.DataFrame) -> Table:
    """Return the verdicts on each third of the dates: whether an edge is still there."""
    return _table(
        "does the edge last? each third of the dates, of the paper book",
        THIRDS,
        [row | {"from": shown(row["first_decision"], "")} for row in thirds.to_dict("records")],
        "from",
    )


def _book_table(account: Mapping[str, "AccountFigures"], figures: "BookFigures") -> Table:
    """Return what the account of a book earned, beside all names of the universe in equal parts."""
    table = Table(
        title="the book, in one account over all folds, beside all names in equal parts",
        box=SIMPLE_HEAD,
        title_justify="left",
        collapse_padding=True,
    )
    for header in ("", "strategy", "all"):
        table.add_column(header, justify="right" if header else "left", no_wrap=True)
    for words, name, form in (
        ("return a year", "return_a_year", "+.1%"),
        ("volatility a year", "volatility", ".1%"),
        ("Sharpe ratio", "sharpe", ".2f"),
        ("largest drawdown", "max_drawdown", ".1%"),
    ):
        ours, theirs = (getattr(account[who], name) for who in ("strategy", "hold"))
        table.add_row(words, shown(ours, form), shown(theirs, form))
    table.add_section()
    basis_points = {"gross": figures.gross, "costs": -figures.costs, "borrow": -figures.borrow}
    for words, value in {**basis_points, "net": figures.net, "alpha": figures.alpha.value}.items():
        table.add_row(f"{words}, bp per bar", f"{1e4 * value:+z.2f}")
    table.add_row("beta", f"{figures.beta.value:.2f}")
    table.add_row("turnover per bar", f"{figures.turnover:.1%}")
    table.add_row("cost that eats all, bp per side", shown(figures.break_even, ".1f"))
    return table


def describe_choices(choices: Sequence["BookChoice"]) -> str:
    """Return one line on how long the book of each fold holds; "" without a book."""
    told = "; ".join(f"fold {number}: {choice}" for number, choice in enumerate(choices, 1))
    return f"The book, {told}." if told else ""


def describe_refused(refused: Mapping[str, Mapping[str, int]]) -> str:
    """Return one line on what of a book's decisions did not come about; "" where all did.

    refused: by name, how often for each reason.
    """
    total = Counter[str]()
    for counts in refused.values():
        total.update(counts)
    # The dates that only warm up, which nobody meant to trade.
    total.pop(TOO_EARLY, None)
    words = ", ".join(f"{number:,} {reason}" for reason, number in total.most_common())
    return f"Orders and refusals of all names: {words}." if words else ""


def describe_best(results: "Results") -> str:
    """Return one line on the best forecast that this market allows, beside ours.

    On a synthetic market the truth is known: how far training is from it says more than a profit.
    """
    best, ours = results.best or {}, results.folds.iloc[-1]
    return (
        f"the best forecast there is: AUC {best['auc']:.3f}, accuracy {best['accuracy']:.3f}, "
        f"log loss {best['log_loss']:.3f}; ours: {ours['auc']:.3f}, {ours['accuracy']:.3f}, "
        f"{ours['log_loss']:.3f}, {results.share_found:.0%} of the edge"
    )


def describe_entered(entered: Mapping[Path, int]) -> str:
    """Return a line that says where trials were counted. entered: how many, by ledger."""
    first, new = next(iter(entered)), sum(entered.values())
    # Mostly there is a ledger for each instrument, all in one folder.
    place = str(first) if len(entered) == 1 else f"{len(entered)} ledgers of {first.parent}"
    if not new:
        return f"no new trial: the same positions stand in {place}"
    return f"{count(new, 'new trial')} in {place}"


def describe_outcome(
    label: str, outcome: "Outcome", origin: "Origin" = "trained", *, ranked: bool = False
) -> str:
    """Return one line on what came of training a fold or a member.

    ranked: whether its forecasts are traded by rank, for which no thresholds are chosen.
    """
    label = label if origin == "trained" else f"{label}, {origin}"
    if outcome.member is not None:
        return f"{label}: {outcome.member.members[0].summary}"
    model = outcome.model
    if model is None:
        return f"{label}: no model"
    if model.checkpoint is None:
        return f"{label}: no model, {model.reason}"
    members = model.checkpoint.members
    training = members[0].summary if len(members) == 1 else f"{len(members)} members"
    until = day(model.checkpoint.trained_until)
    return f"{label}: trained until {until}, {training}" + ("" if ranked else f"; {model.choice}")


def scaled(columns: Sequence[tuple[str, str, str, float]], table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with its fractions in the units shown; 0 leaves a column as it is."""
    # A fraction of 1e-4 would be shown as .00.
    units = {name: scale for _, name, _, scale in columns if scale}
    return table.assign(**{name: table[name].astype(float) * by for name, by in units.items()})


def _scaled_table(
    title: str,
    columns: Sequence[tuple[str, str, str, float]],
    table: pd.DataFrame,
    first: str = "fold",
) -> Table:
    plain = [(header, name, form) for header, name, form, _ in columns]
    return _table(title, plain, scaled(columns, table).to_dict("records"), first)


def describe_halves(halves: "Halves") -> str:
    """Return a sentence where the later half of the dates says otherwise than the earlier."""
    if not halves.turned:
        return ""
    return (
        f"The mean rank correlation was {halves.earlier:+.3f} in the earlier half of the dates and "
        f"{halves.later:+.3f} in the later."
    )


def describe_together(together: "Together | None") -> str:
    """Return a sentence on the mean of the ranks of strategy and boosting, if there is one."""
    if together is None:
        return ""
    alone = " and ".join(
        f"{less:+.3f} [{low:+.3f}, {high:+.3f}] (t {t:.1f}) beside {name} alone"
        for name, (less, low, high, t) in together.over.items()
    )
    return (
        "The mean of the ranks of strategy and boosting has an information coefficient of "
        f"{together.ic:+.3f} (t {together.ic_t:.1f}): {alone}, paired by date."
    )


def ranged(row: Row, name: str, form: str, scale: float = 1.0) -> str:
    """Return a figure of a row with its interval; a dash where it is undefined."""
    if shown(row[name], form) == "-":
        return "-"
    value, low, high = (format(scale * row[f"{name}{end}"], form) for end in ("", "_low", "_high"))
    return f"{value} [{low}, {high}]"


def _table(
    title: str,
    columns: Sequence[tuple[str, str, str]],
    rows: Sequence[Row],
    first: str = "fold",
) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", collapse_padding=True)
    table.add_column(first, no_wrap=True)
    for header, _, _ in columns:
        table.add_column(header, justify="right", no_wrap=True)
    for row in rows:
        # A rule above the total, lest it be read as one more fold.
        if row[first] == TOTAL:
            table.add_section()
        table.add_row(str(row[first]), *(shown(row[column], form) for _, column, form in columns))
    return table


def shown(value: object, form: str) -> str:
    """Return a figure as text, a dash where it is undefined, a daily timestamp as its date."""
    if isinstance(value, pd.Timestamp):
        # Seconds say nothing of a bar, and midnight nothing of a day.
        return day(value).removesuffix(":00")
    # NaN is how pandas spells what a row does not have.
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    return "-" if missing else format(value, form)
