"""The command that judges any strategy by its returns.

python backtests/judge.py RETURNS.csv [--benchmark COLUMN] [--out FOLDER]
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from rich.console import Console

from backtests import evidence, reports
from backtests.simulation.account import WORTH
from model.bars.intervals import day
from model.cli import VERSION, run
from model.files import write_atomically
from model.settings import number, optional, require
from model.settings_file import SETTINGS

if TYPE_CHECKING:
    from backtests.reports.judgement import Judgement

app = App(version=VERSION, name="backtests/judge.py")
console = Console(highlight=False)


@app.default
def judge_file(
    file: Path,
    *,
    returns: str | None = None,
    benchmark: str | None = None,
    neutral: Annotated[bool, Parameter(negative=())] = False,
    worth: float = WORTH,
    bars_per_year: float | None = None,
    date_format: str | None = None,
    timezone: str | None = None,
    out: Path | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
    settings_file: Annotated[str, Parameter(parse=False)] = "",
) -> None:
    """Judge any strategy by its returns, over a benchmark.

    Parameters
    ----------
    file
        A CSV or Parquet file in time order: a column of dates, one of net returns, as fractions
        (.01 is 1 %), and one of the benchmark's returns, if there is one.
    returns
        The column of the returns; default: the one beside dates and benchmark.
    benchmark
        The column of the benchmark's returns; default: the one called benchmark, else cash, over
        which there is never an "edge".
    neutral
        Declare the book neutral: it is held against cash.
    worth
        The alpha a year that is worth having, as a fraction: below it there is "no edge".
    bars_per_year
        How many returns a year has; default: as their dates show.
    date_format
        How dates are written, where that is not plain, for instance %d/%m/%Y.
    timezone
        In which zone the dates are to be, of timestamps that state their offset from UTC.
    out
        A folder for the page, report.html, the evidence, evidence.json, and these settings.
    json
        Print the evidence as JSON, and nothing else.
    """
    require(
        {"worth": worth, "bars_per_year": bars_per_year},
        {"worth": number(above=0), "bars_per_year": optional(number(above=0))},
    )
    record = evidence.read_returns(
        file,
        returns=returns,
        benchmark=benchmark,
        neutral=neutral,
        date_format=date_format,
        timezone=timezone,
        bars_per_year=bars_per_year,
    )
    # Nothing is drawn yet: page, terminal and JSON share one bootstrap.
    judgement = reports.Judgement(record, worth)
    if out:
        reports.write_judgement(out, judgement)
        write_atomically(out / SETTINGS, settings_file.encode())
    if json:
        # Not by the console, which would wrap what a program is to read.
        print(reports.evidence_json(judgement), end="")
        return
    console.print(describe(judgement), soft_wrap=True, markup=False)
    rows = reports.figure_rows(judgement.benchmark)
    console.print(reports.grid_table(reports.interval_grid(judgement.figures.intervals, rows)))
    console.print(judgement.verdict.sentence, soft_wrap=True, markup=False)
    if out:
        console.print(
            f"written to {out}: {reports.REPORT}, {reports.EVIDENCE}", soft_wrap=True, markup=False
        )


def describe(judgement: Judgement) -> str:
    """Return one line on what is judged."""
    record = judgement.record
    return (
        f"{judgement.title} from {day(record.dates[0])} to {day(record.dates[-1])}, "
        f"{record.periods_per_year:g} a year, beside {record.benchmark_name}"
    )


if __name__ == "__main__":
    run(app)
