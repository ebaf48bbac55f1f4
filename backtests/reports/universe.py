"""The results of a universe.

A table over its markets and one verdict, as objects, and as files of JSON and CSV.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from backtests.evidence.account_figures import AccountFigures, account_figures
from backtests.evidence.alpha import HOLD
from backtests.evidence.decisions import STRATEGY
from backtests.evidence.pooled import Pool, in_equal_parts, pool
from backtests.evidence.verdict import Verdict, judge_pool
from backtests.reports.results import (
    Results,
    csv_of,
    describe_settings,
    interval_columns,
    machines_of,
    plain_row,
)
from backtests.walk_forward.fingerprint import all_versions
from backtests.walk_forward.folds import Settings
from backtests.walk_forward.trainer import Lost
from model.bars.faults import count
from model.cli import LeftOut
from model.files import write_atomically

# The files that write_universe leaves beside the report and the folder of each market.
UNIVERSE_FILES = ("universe.json", "markets.csv", "equity.csv")
UNIVERSE_VERSION = 2  # of universe.json: raised when an entry changes its name or meaning


@dataclass(frozen=True, eq=False)
class UniverseResults:
    """The results of each market by name, what was lost, and the evidence of all together.

    left_out: files that could not be used, which the user asked to go without.
    """

    results: Mapping[str, Results]
    lost: Sequence[Lost]
    settings: Settings
    pool: Pool
    left_out: Sequence[LeftOut] = ()

    @property
    def architectures(self) -> list[str]:
        """All that were trained on each market, the one first whose figures stand here."""
        found = next(iter(self.results.values()))
        return [found.settings.config.architecture, *found.decisions.variants]

    @property
    def title(self) -> str:
        """One line that says what was run on what."""
        markets = count(len(self.results), "market")
        return (
            f"universe of {markets}: walk-forward of {count(self.settings.plan.folds, 'fold')}, "
            f"costs {self.settings.costs.per_side:g} bp per side"
        )

    @property
    def verdict(self) -> Verdict:
        """The one sentence that matters."""
        return judge_pool(self.pool)

    @cached_property
    def portfolio(self) -> dict[str, AccountFigures]:
        """What all markets in equal parts did, "strategy", and all of them held, "hold"."""
        years = self.pool.periods_per_year
        columns = {"strategy": "strategy", "hold": "buy_and_hold"}
        return {
            # From 1 on: a loss on the first bar is a drawdown, too.
            name: account_figures(np.r_[1.0, self.equity[column]], years)
            for name, column in columns.items()
        }

    @cached_property
    def pooled(self) -> list[Mapping[str, Any]]:
        """What decides on each architecture over all markets; none where there is but one."""
        # With one there is nothing to tell apart that the verdict does not say.
        lead, *others = self.architectures
        if not others:
            return []
        pools = {lead: self.pool} | {
            other: pool(
                {name: found.decisions.variant(other) for name, found in self.results.items()},
                worth=self.settings.account.worth,
            )
            for other in others
        }
        return [pooled_row(name, one) for name, one in pools.items()]

    @cached_property
    def markets(self) -> pd.DataFrame:
        """One row per market; a figure that is undefined is missing."""
        return pd.DataFrame(
            [
                _row(name, results, name in self.pool.outstanding)
                for name, results in self.results.items()
            ]
        )

    @cached_property
    def equity(self) -> pd.DataFrame:
        """The growth of 1 in equal parts, bar by bar.

        The strategy on all markets, and all of them held.
        """
        decisions = {name: results.decisions for name, results in self.results.items()}
        columns = {"strategy": STRATEGY, "buy_and_hold": HOLD}
        return pd.DataFrame(
            {
                column: (1 + in_equal_parts(decisions, rule)).cumprod()
                for column, rule in columns.items()
            }
        )


def gather_universe(
    results: Mapping[str, Results],
    lost: Sequence[Lost],
    settings: Settings,
    left_out: Sequence[LeftOut] = (),
) -> UniverseResults:
    """Weigh the markets' decisions together."""
    pooled = pool(
        {name: found.decisions for name, found in results.items()}, worth=settings.account.worth
    )
    return UniverseResults(results, lost, settings, pooled, left_out)


def write_universe(folder: Path, universe: UniverseResults) -> None:
    """Write every file but the report and the markets' own; each appears whole or not at all."""
    write_atomically(folder / "markets.csv", csv_of(universe.markets))
    write_atomically(
        folder / "equity.csv", csv_of(universe.equity.rename_axis("date").reset_index())
    )
    # Last: where the summary stands, the tables beside it are of the same run.
    text = json.dumps(universe_summary(universe), indent=2, allow_nan=False)
    write_atomically(folder / "universe.json", (text + "\n").encode())


def universe_summary(universe: UniverseResults) -> dict[str, object]:
    """Return the settings and the figures that matter, as JSON has them.

    An undefined figure is null.
    """
    models = [model for results in universe.results.values() for model in results.models]
    return {
        "version": UNIVERSE_VERSION,
        "verdict": {"word": universe.verdict.word, "sentence": universe.verdict.sentence},
        "settings": describe_settings(universe.settings),
        "architectures": universe.architectures,
        "markets": [plain_row(row) for row in universe.markets.to_dict("records")],
        "failed": [{"fold": one.label, "reason": one.reason} for one in universe.lost],
        "left_out": [one._asdict() for one in universe.left_out],
        "evidence": asdict(universe.pool),
        "portfolio": {name: asdict(figures) for name, figures in universe.portfolio.items()},
        "pooled": universe.pooled,
        "versions": all_versions(),
        "mixed_machines": len(machines_of(models)) > 1,
    }


def pooled_row(architecture: str, pooled: Pool) -> Mapping[str, Any]:
    """Return what decides on an architecture, as universe.json has it."""
    alpha, years = pooled.intervals["alpha"], pooled.periods_per_year
    auc = pooled.intervals.get("auc")
    return {
        "architecture": architecture,
        "verdict": judge_pool(pooled).word,
        "alpha": years * alpha.value,
        "alpha_lowest": years * alpha.lowest,
        "alpha_highest": years * alpha.highest,
        "auc": auc.value if auc else None,
        "net": pooled.intervals["mean"].value,
        "sharpe": pooled.intervals["sharpe"].value,
        "correlation": pooled.correlation,
    }


def _row(name: str, results: Results, outstanding: bool) -> dict[str, object]:
    evidence, total = results.evidence, results.folds.iloc[-1]
    gain, hold = evidence.intervals["gain"], evidence.benchmarks[HOLD]
    return {
        "market": name,
        "first_decision": total["first_decision"],
        "last_decision": total["last_decision"],
        "decisions": evidence.decisions,
        **interval_columns("auc", evidence.intervals.get("auc")),
        "accuracy": total["accuracy"],
        "base_rate": total["base_rate"],
        "net": evidence.net,
        "hold": hold.mean,
        **interval_columns("gain", gain),
        "sharpe": evidence.benchmarks[STRATEGY].sharpe,
        "hold_sharpe": hold.sharpe,
        "trades": int(total["trades"]),
        "superiority": evidence.superiority,
        "verdict": results.verdict.word,
        "outstanding": outstanding,
    }
