"""Returns from a file: a column of dates, one of returns, maybe one of a benchmark.

Nothing is guessed: which column is which is said or can only be so, and whether the numbers are
fractions is proven by them or refused.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from backtests.evidence.bootstrap import NOUGHT
from backtests.evidence.returns import (
    CASH,
    COSTS,
    FILLS,
    FORECASTS,
    TRIALS,
    DatedReturns,
    report_few,
    report_missing,
    returns_per_year,
)
from backtests.simulation.vectorised import Array
from model.bars.artefacts import FlagRecord
from model.bars.columns import counts_rows
from model.bars.csv_layout import csv_table
from model.bars.faults import Findings, count
from model.bars.intervals import YEAR, bar_interval, day
from model.bars.names import meaning_of, plain_name
from model.bars.numbers import is_missing, read_numbers, text
from model.bars.sources import frame_table, load
from model.bars.table import Table
from model.bars.timestamps import read_timestamps
from model.bars.zones import without_zone
from model.errors import Part, Setting, did_you_mean

RETURNS, BENCHMARK = "returns", "benchmark"
RETURN_NAMES = (RETURNS, "return")
# A name that says percent; pandas' own pct_change gives fractions.
PERCENT = re.compile(r"%|percent|pct(?!.?ch)", re.IGNORECASE)
MOST_USUAL = 0.2  # of half the returns: where they move by more, they are no fractions
MOST_VOLATILE = 1.0  # a year: few accounts are, but a quiet one in percent is
# Share by which the number of returns in a year may differ from what their dates come to.
MOST_APART = 0.25
NO_MARKET = (
    "so that alpha holds all that mere exposure to a market earned, and is never an "
    '"edge": give a column of the market\'s returns, or declare the book neutral.'
)


def read_returns(
    path: str | Path,
    *,
    returns: str | None = None,
    benchmark: str | None = None,
    neutral: bool = False,
    date_format: str | None = None,
    timezone: str | None = None,
    bars_per_year: float | None = None,
) -> DatedReturns:
    """Read the returns of a strategy and of its benchmark, in time order.

    Parameters
    ----------
    path
        A CSV or Parquet file. Returns are fractions, .01 is 1 %, or each bears a percent sign.
    returns, benchmark
        The names of their columns. By default the benchmark is the column of that name, if there is
        one, and the returns are the column that is left beside it and the dates.
    neutral
        The book is declared neutral: it is held against cash.
    date_format
        How dates are written, where that is not plain, for instance "%d/%m/%Y".
    timezone
        In which zone the dates are to be, of timestamps that state their offset from UTC.
    bars_per_year
        How many returns a year has; by default as their dates show.

    Raises
    ------
    BarsError
        They cannot be judged; the message lists every kind of problem.

    Examples
    --------
    >>> dates = pd.date_range("2024-01-01", periods=60, freq="B", name="date")
    >>> table = pd.DataFrame({"fund": np.sin(range(60)) / 100, "SPX": 0.001}, index=dates)
    >>> table.to_csv("fund.csv")
    >>> read_returns("fund.csv", benchmark="SPX").periods_per_year
    252.0
    """
    if neutral and benchmark:
        raise ValueError(
            "`neutral` and `benchmark` exclude each other: a neutral book is held against cash. "
            "Give one of them."
        )
    table, findings = _table_of(path, [name for name in (returns, benchmark) if name])
    columns = _columns_of(table, returns, benchmark, findings)
    if neutral:
        # A column of that name may stand in the file: who declares the book neutral does not mean
        # it.
        columns.pop(BENCHMARK, None)
    index, values = _values_of(table, columns, date_format, timezone, findings)
    _judge_dates(index, pd.Series(table.places), findings)
    _judge_returns(values, index, findings)
    findings.raise_faults()
    periods = returns_per_year(index, bars_per_year, findings)
    findings.raise_faults()
    _note_what_is_odd(values, index, periods, findings)
    findings.warn_notes()
    given = BENCHMARK in values
    # One that does not vary is no market, but cash: nothing tells exposure to one from skill.
    is_market = given and float(np.ptp(values[BENCHMARK])) > NOUGHT
    what = "The benchmark does not vary" if given else "No benchmark is given"
    no_market = FlagRecord(
        name=BENCHMARK, sentence=f"{what}, {NO_MARKET}", identity=True, accepted=False
    )
    return DatedReturns(
        name=Path(path).name,
        # The first return is of the interval that ends with its date.
        start=index[0] - bar_interval(index),
        dates=index,
        returns=values[RETURNS],
        benchmark=values.get(BENCHMARK, np.zeros(len(index))),
        benchmark_name=_benchmark_name(table, columns.get(BENCHMARK)),
        periods_per_year=periods,
        unseen=(FORECASTS, FILLS, f"{COSTS}, which the returns are taken to be net of", TRIALS),
        flags=() if is_market or neutral else (no_market,),
    )


def _benchmark_name(table: Table, column: int | None) -> str:
    if column is None:
        return CASH
    name = _names(table)[column]
    return f"the {BENCHMARK}" if plain_name(name) == BENCHMARK else name


def _table_of(path: str | Path, named: list[str]) -> tuple[Table, Findings]:
    content, findings = load(path, named)
    if isinstance(content, str):
        return csv_table(content, named, findings), findings
    return frame_table(content, findings), findings


def _names(table: Table) -> list[str]:
    return [" ".join(filter(None, levels)) for levels in table.names]


def _columns_of(
    table: Table, returns: str | None, benchmark: str | None, findings: Findings
) -> dict[str, int]:
    """Return which column is what: date, returns, maybe benchmark. What is not clear is refused."""
    names = _names(table)
    # What pandas writes in front without being asked is no date, and no return either.
    numbers = [at for at, name in enumerate(names) if counts_rows(name, table.columns[at])]
    rest = {at: name for at, name in enumerate(names) if at not in numbers}
    date = next(
        (at for at, name in rest.items() if meaning_of(name) == "date"), min(rest, default=0)
    )
    beside = {at: name for at, name in rest.items() if at != date}
    chosen = _named_columns(beside, {RETURNS: returns, BENCHMARK: benchmark}, findings)
    left = {number: name for number, name in beside.items() if number not in chosen.values()}
    called = [number for number, name in left.items() if plain_name(name) == BENCHMARK]
    if BENCHMARK not in chosen and called:
        if len(called) > 1:
            findings.refuse(
                f"one column must be called {BENCHMARK}, got "
                f"{_listed(left[at] for at in called)}. ",
                *_which(left, {BENCHMARK: left[called[0]]}),
            )
        chosen[BENCHMARK] = called[0]
        del left[called[0]]
    if RETURNS not in chosen:
        called = [number for number, name in left.items() if plain_name(name) in RETURN_NAMES]
        # A column that is called so goes before the only one that is left.
        candidates = called if len(called) == 1 else list(left)
        if len(candidates) != 1:
            examples = list(left.values()) or ["fund", "market"]
            findings.refuse(
                f"one column beside the dates, taken from {names[date]!r}, must hold the returns, "
                f"got {_listed(left.values())}. ",
                *_which(left, {RETURNS: examples[0], BENCHMARK: examples[-1]}),
            )
        chosen[RETURNS] = candidates[0]
    return {"date": date, **{role: chosen[role] for role in (RETURNS, BENCHMARK) if role in chosen}}


def _which(left: Mapping[int, str], examples: Mapping[str, str]) -> list[Part]:
    """Return how to say which column is meant; of two with one name none can be."""
    if len(set(left.values())) < len(left):
        return ["Give each column a name of its own."]
    named: list[Part] = ["Name it, as ", *(Setting(*one) for one in examples.items()), "."]
    if len(examples) > 1:
        named.insert(2, ", and that of a benchmark, if there is one, as ")
    return named


def _named_columns(
    beside: Mapping[int, str], asked: Mapping[str, str | None], findings: Findings
) -> dict[str, int]:
    """Return the columns beside the dates that were asked for by name: one for each, or refused."""
    chosen: dict[str, int] = {}
    for role, name in asked.items():
        found = [number for number, own in beside.items() if own == name]
        if len(found) == 1:
            chosen[role] = found[0]
        elif name is not None:
            findings.fault(
                Setting(role, name),
                f" must name one column, got {len(found)} of that name. Beside the dates there "
                f"are: {_listed(beside.values())}.{did_you_mean(name, beside.values())}",
            )
    # Both names may be the same by mistake.
    if len(chosen) > len(set(chosen.values())):
        findings.fault(
            Setting(BENCHMARK, asked[BENCHMARK]),
            " must name another column than that of the returns: held against itself, nothing has "
            f"an alpha. Beside the dates there are: {_listed(beside.values())}.",
        )
    findings.raise_faults()
    return chosen


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names)) or "none"


def _values_of(
    table: Table,
    columns: dict[str, int],
    date_format: str | None,
    timezone: str | None,
    findings: Findings,
) -> tuple[pd.DatetimeIndex, dict[str, Array]]:
    """Return the dates, and the returns by their role; what cannot be read is refused."""
    places, names = pd.Series(table.places), _names(table)
    cells = {role: table.columns[at].rename(names[at]) for role, at in columns.items()}
    stamps = read_timestamps(cells.pop("date"), None, places, date_format, findings)
    wall, _ = without_zone(stamps, timezone, places, findings)
    percent = {role: _are_percent(column, places, findings) for role, column in cells.items()}
    findings.raise_faults()
    bare = {
        role: text(column).str.removesuffix("%").str.strip() if percent[role] else column
        for role, column in cells.items()
    }
    numbers, _ = read_numbers(bare, places, None, findings)
    findings.raise_faults()
    scaled = {role: values / 100 if percent[role] else values for role, values in numbers.items()}
    return pd.DatetimeIndex(wall, name="date"), scaled


def _are_percent(cells: pd.Series, places: pd.Series, findings: Findings) -> bool:
    """Return whether every number of a column bears a percent sign; report where only some do."""
    words = text(cells)
    signed = words.str.endswith("%").to_numpy(dtype=bool)
    if not signed.any() and PERCENT.search(str(cells.name)):
        findings.fault(
            f"column {cells.name!r} must hold fractions, .01 for 1 %, or bear percent signs, but "
            "its name says percent and its cells have no sign. Divide them by 100 if they are, and "
            "name it otherwise."
        )
    bare = ~signed & ~is_missing(words)
    # Half in percent and half in fractions: a hundredfold error in one of them.
    if signed.any() and bare.any():
        findings.fault(
            f"{signed.sum():,} cells of column {cells.name!r} bear a percent sign and "
            f"{bare.sum():,} do not (first: {findings.first(places, signed)} and "
            f"{findings.first(places, bare)}). Write all as fractions, .01 for 1 %."
        )
    return bool(signed.any())


def _note_what_is_odd(
    values: Mapping[str, Array], index: pd.DatetimeIndex, periods: float, findings: Findings
) -> None:
    """Note what may well be misread: a quiet account in percent, and dates that are left out."""
    for role, found in values.items():
        volatility = float(found.std()) * periods**0.5
        if volatility > MOST_VOLATILE:
            findings.note(
                f"the {role} vary by {volatility:.0%} a year. If they are percent, divide them by "
                "100."
            )
    years = (index[-1] - index[0]) / YEAR
    # Of less than a year seasons and holidays are not known.
    if years >= 1 and abs(len(index) / years / periods - 1) > MOST_APART:
        findings.note(
            f"{len(index):,} returns within {years:.1f} years are {len(index) / years:,.0f} a "
            f"year, and {periods:,g} are counted. If some are left out, write them, as 0 where "
            "nothing was held; else state their number, as ",
            Setting("bars_per_year", round(len(index) / years)),
            ".",
        )


def _judge_dates(index: pd.DatetimeIndex, places: pd.Series, findings: Findings) -> None:
    """Report dates that stand twice or are not in their order."""
    repeated = index.duplicated()
    if repeated.any():
        findings.fault(
            f"dates must be unique, got {count(int(repeated.sum()), 'date')} again (first: "
            f"{day(index[int(repeated.argmax())])}, {findings.first(places, repeated)}). Keep one "
            "return of each."
        )
    back = np.r_[False, np.diff(index.asi8) < 0]
    if back.any():
        at = int(back.argmax())
        findings.fault(
            f"dates must ascend, got {day(index[at])} after {day(index[at - 1])} "
            f"({findings.first(places, back)}). Sort the rows by date."
        )


def _judge_returns(values: dict[str, Array], index: pd.DatetimeIndex, findings: Findings) -> None:
    """Report what no returns can be, and a benchmark that is of other dates."""
    report_few(len(index), findings)
    for role, found in values.items():
        ours = role == RETURNS
        report_missing(
            found,
            index,
            "the returns are no numbers" if ours else "the benchmark has no return",
            "Leave these rows out, or write what was earned."
            if ours
            else "It must be of the same dates: give both where both are known.",
            findings,
        )
        known = found[np.isfinite(found)]
        # Before the median is asked: one lost account is told by its date.
        if (known <= -1).any():
            first = int((found <= -1).argmax())
            findings.fault(
                f"the {role} must lie above -1, got {found[first]:g} on {day(index[first])}: "
                "nobody loses more than all. If they are percent, divide them by 100."
            )
        elif len(known) and float(np.median(np.abs(known))) > MOST_USUAL:
            findings.fault(
                f"half of the {role} move by more than {MOST_USUAL:.0%}, in the median "
                f"{np.median(np.abs(known)):.3g}. If they are percent, divide them by 100; of "
                "prices or an account's worth take the change as a fraction."
            )
        elif ours and len(known) and np.ptp(known) <= NOUGHT:
            findings.fault(
                f"the returns must vary, got {known[0]:g} on all {len(known):,} dates. Is it the "
                "right column?"
            )
