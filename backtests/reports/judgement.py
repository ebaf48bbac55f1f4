"""The judgement on any strategy: its evidence as JSON, and a page of the same look as all reports.

It needs no model, no folds and no forecasts, and loads nothing that trains or serves one.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from backtests.evidence.account_figures import account_figures
from backtests.evidence.alpha import WORTH, Figures, figures_of
from backtests.evidence.returns import DatedReturns
from backtests.evidence.scores import account_table
from backtests.evidence.verdict import Verdict, judge_returns
from backtests.reports.charts import drawdown_chart, equity_chart
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
)
from backtests.simulation.vectorised import Array
from model.bars.faults import count
from model.bars.intervals import bar_interval, day, spoken
from model.files import write_atomically
from model.metrics import total_return

EVIDENCE = "evidence.json"
JUDGES = ("backtrader-bilstm", "arch", "backtrader", "numpy", "pandas", "plotly", "scipy")
EVIDENCE_VERSION = 1  # of evidence.json: raised when an entry changes its name or meaning


@dataclass(frozen=True, eq=False)
class Judgement:
    """The evidence on returns, and the verdict.

    Parameters
    ----------
    record
        The returns beside those of their benchmark.
    worth
        The alpha a year that is worth having, a fraction.
    """

    record: DatedReturns
    worth: float = WORTH

    @property
    def title(self) -> str:
        """One line that says what is judged."""
        interval = spoken(bar_interval(self.record.dates))
        of = f" on {', '.join(self.record.instruments)}" if self.record.instruments else ""
        return f"{self.record.name}{of}: {count(len(self.record.dates), 'return')} of {interval}"

    @property
    def benchmark(self) -> str:
        """What the strategy is held against."""
        return self.record.benchmark_name

    @property
    def borders(self) -> Sequence[pd.Timestamp]:
        """None: no model gives way to another within these returns."""
        return ()

    @cached_property
    def figures(self) -> Figures:
        """All figures on chance."""
        return figures_of(self.record.record, worth=self.worth)

    @property
    def verdict(self) -> Verdict:
        """The one sentence that matters."""
        return judge_returns(self.figures, self.benchmark, self.record.unseen)

    @cached_property
    def equity(self) -> pd.DataFrame:
        """The growth of 1 by the strategy and by its benchmark."""
        # The start has no return: from there on 1 grows.
        dates = pd.DatetimeIndex([self.record.start, *self.record.dates], name="date")
        ours, theirs = (
            pd.Series(np.cumprod(np.r_[1.0, 1 + returns]), index=dates)
            for returns in (self.record.returns, self.record.benchmark)
        )
        return account_table(ours, theirs, self.record.periods_per_year)

    def gains(self, *periods: str) -> pd.DataFrame:
        """Return what both gained in each "year", or in each "year" and "month"."""
        growth = pd.DataFrame(
            {"return": 1 + self.record.returns, "hold_return": 1 + self.record.benchmark}
        )
        groups = [pd.Index(getattr(self.record.dates, period), name=period) for period in periods]
        # Returns of a month multiply: their sum would be what nobody had.
        return (growth.groupby(groups).prod() - 1).reset_index()

    def totals(self, ours: bool) -> dict[str, float | None]:
        """Return what the strategy did in all, or what its benchmark did."""
        column = "equity" if ours else "buy_and_hold"
        equity: Array = self.equity[column].to_numpy()
        totals = {"return": total_return(equity)} | asdict(
            account_figures(equity, self.record.periods_per_year)
        )
        if ours and self.record.exposed is not None:
            totals["exposure"] = float(self.record.exposed.mean())
        return totals


def judgement_summary(judgement: Judgement) -> dict[str, object]:
    """Return the evidence as JSON has it, the entries of `reports.schema.EvidenceFile`."""
    record, verdict = judgement.record, judgement.verdict
    return {
        "version": EVIDENCE_VERSION,
        "verdict": {"word": verdict.word, "sentence": verdict.sentence},
        "not_looked_at": list(record.unseen),
        "record": describe_record(record),
        "strategy": {"exposure": None} | judgement.totals(ours=True),
        "benchmark": {"name": record.benchmark_name} | judgement.totals(ours=False),
        "years": [
            {"year": int(year), "return": ours, "benchmark_return": theirs}
            for year, ours, theirs in judgement.gains("year").itertuples(index=False)
        ],
        "evidence": asdict(judgement.figures),
        "versions": versions(),
    }


def describe_record(record: DatedReturns) -> dict[str, object]:
    """Return what was judged."""
    return {
        "name": record.name,
        "instruments": list(record.instruments),
        "returns": len(record.dates),
        "start": str(record.start),
        "first": str(record.dates[0]),
        "last": str(record.dates[-1]),
        "bar_interval": spoken(bar_interval(record.dates)),
        "bars_per_year": record.periods_per_year,
    }


def versions() -> dict[str, str]:
    """Return the versions of the libraries that judged."""
    return {name: version(name) for name in JUDGES}


def write_judgement(folder: Path, judgement: Judgement) -> None:
    """Write report.html and evidence.json into the folder, which is made where it is missing."""
    # A caller names a folder of its own, which need not be there.
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / REPORT, render_judgement(judgement).encode())
    write_atomically(folder / EVIDENCE, evidence_json(judgement).encode())


def evidence_json(judgement: Judgement) -> str:
    """Return the evidence as the text of its file."""
    return json.dumps(judgement_summary(judgement), indent=2, allow_nan=False) + "\n"


def render_judgement(judgement: Judgement) -> str:
    """Return the page."""
    record, figures = judgement.record, judgement.figures
    years = len(record.dates) / record.periods_per_year
    length = length_in_words(len(record.dates), years)
    theirs = judgement.totals(ours=False)
    return render_page(
        "judgement.html",
        {"equity": equity_chart(judgement), "drawdown": drawdown_chart(judgement)},
        title=judgement.title,
        verdict=judgement.verdict,
        period=f"{day(record.dates[0])} to {day(record.dates[-1])}, {length}.",
        glance=glance_grid(judgement.totals(ours=True), theirs, judgement.benchmark),
        figures=interval_grid(figures.intervals, figure_rows(judgement.benchmark)),
        tests=Grid(["", "value"], list(_tests(judgement).items())),
        months=month_grid(judgement.gains("year", "month"), judgement.gains("year"), "benchmark"),
        benchmark=judgement.benchmark,
        data=pairs_of(describe_record(record)),
        versions=pairs_of(versions()),
    )


def _tests(judgement: Judgement) -> dict[str, str]:
    figures = judgement.figures
    return power_rows(figures) | {
        f"p: no alpha over {judgement.benchmark} (Hansen's test)": p_shown(figures.superiority),
        "p: earns no more than cash (Hansen's test)": p_shown(figures.superiority_to_cash),
    }
