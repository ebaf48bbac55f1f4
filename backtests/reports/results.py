"""The results of a walk-forward: everything found, as objects, and as files of JSON and CSV."""

import io
import json
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from plotly import graph_objects as go

from backtests.evidence.account_figures import (
    AccountFigures,
    TradeFigures,
    account_figures,
    trade_figures,
)
from backtests.evidence.alpha import HOLD
from backtests.evidence.baselines import learner_probabilities
from backtests.evidence.bootstrap import Interval
from backtests.evidence.calibration import Reliability, reliability
from backtests.evidence.decisions import STRATEGY, Decisions, decisions_of, positions_of
from backtests.evidence.evidence import Evidence, Trials, evidence_of, sharpe_per_bar
from backtests.evidence.overfitting import Overfitting, overfitting_probability
from backtests.evidence.scores import (
    GIVEN,
    distribution_table,
    equity_table,
    fold_table,
    forecast_scores,
    gain_table,
    member_table,
    rolled_bars,
    spread_table,
)
from backtests.evidence.searched import Searched
from backtests.evidence.verdict import Verdict, judge
from backtests.reports.charts import equity_chart, titled
from backtests.reports.picture import draw
from backtests.simulation.broker import Simulation, simulate_hold
from backtests.walk_forward.fingerprint import all_versions
from backtests.walk_forward.folds import FoldModel, Settings, predictions, trade
from backtests.walk_forward.ledger import Trial, counted, digest_positions
from backtests.walk_forward.registration import NOT_REGISTERED, Registration
from backtests.walk_forward.store import SUMMARY
from model.bars.faults import count
from model.bars.intervals import bar_interval, spoken, yearly_bars
from model.bars.read import digest_bars
from model.files import write_atomically
from model.notebook import card

# The files that write_results leaves, and with them the checkpoints.
FILES = (
    SUMMARY,
    "folds.csv",
    "equity.csv",
    "months.csv",
    "years.csv",
    "distribution.csv",
    "trades.csv",
    "predictions.csv",
    "members.csv",
    "importance.csv",
    "equity.png",
)
COMPARISON = "architectures.csv"
FEWEST_CALIBRATED = 100  # forecasts
# What a column of a figure is called beside its value: the fields of Interval, in their order.
ENDS = ("", "_low", "_high", "_lowest", "_highest")
VERSION = 3  # of summary.json: raised when an entry changes its name or meaning


@dataclass(frozen=True, eq=False, repr=False)
class Results:
    """All that a walk-forward found, and the settings that made it so."""

    bars: pd.DataFrame
    settings: Settings
    models: Sequence[FoldModel]
    predictions: pd.DataFrame
    strategy: Simulation
    hold: Simulation
    decisions: Decisions
    evidence: Evidence
    overfitting: Overfitting
    # Scores of the best forecast there is, where the market is a planted one.
    best: dict[str, float | None] | None = None
    # None where the run was not registered before its test bars were touched.
    registration: Registration | None = None
    # None where the settings were given, rather than searched for.
    searched: Searched | None = None

    def __repr__(self) -> str:
        return f"Results({self.title}: {self.verdict.word})"

    def _repr_html_(self) -> str:
        return card(self.title, self.verdict.sentence, self.folds.set_index("fold"))

    @property
    def trades(self) -> pd.DataFrame:
        """One row per round trip, as trades.csv has them."""
        return self.strategy.trades

    def plot(self) -> go.Figure:
        """Return the chart of the account beside buy-and-hold."""
        return titled(equity_chart(self), self.title)

    @property
    def title(self) -> str:
        """One line that says what was run on what."""
        name = self.bars.attrs.get("instrument") or "bars"
        interval = spoken(bar_interval(pd.DatetimeIndex(self.bars.index)))
        costs = f"costs {self.settings.costs.per_side:g} bp per side"
        folds = count(len(self.models), "fold")
        return f"{name}, bars of {interval}: walk-forward of {folds}, {costs}"

    @property
    def verdict(self) -> Verdict:
        """The one sentence that matters."""
        return judge(self.evidence)

    @property
    def registered(self) -> str:
        """Whether the run was registered first, in words."""
        return self.registration.sentence if self.registration else NOT_REGISTERED

    @property
    def chosen(self) -> str:
        """How a search chose the settings, in words; "" where they were given."""
        return self.searched.sentence if self.searched else ""

    @property
    def benchmark(self) -> str:
        """What the account is held against."""
        return HOLD

    @property
    def positions(self) -> str:
        """The digest by which the ledger knows these positions."""
        return digest_positions(self.bars, self.decisions.decided_at, self.decisions.strategy)

    @property
    def share_found(self) -> float | None:
        """How much of the attainable edge in AUC the model found.

        None where the best forecast is not known.
        """
        # An edge of nothing has no share: on a fair coin the best AUC is exactly one half.
        ours, best = self.folds["auc"].iloc[-1], self.best and self.best["auc"]
        return (ours - 0.5) / (best - 0.5) if best and best != 0.5 and ours is not None else None

    @property
    def borders(self) -> list[pd.Timestamp]:
        """The first decision of each fold."""
        return [self.bars.index[model.fold.test] for model in self.models]

    @cached_property
    def folds(self) -> pd.DataFrame:
        """One row per fold and one in total."""
        table = fold_table(
            self.models, self.predictions, self.strategy, self.hold, yearly_bars(self.bars)
        )
        own = self.settings.account
        # The file shows what was traded by, not what each checkpoint would have chosen.
        if own.enter is not None:  # in force in the place of the checkpoints' own
            trading = table["enter"].notna()
            table.loc[trading, ["enter", "exit", "thresholds"]] = [own.enter, own.exit, GIVEN]
        return table

    @cached_property
    def equity(self) -> pd.DataFrame:
        """The account and buy-and-hold at every close from the first decision on."""
        return equity_table(self.strategy, self.hold, yearly_bars(self.bars))

    @cached_property
    def account(self) -> dict[str, AccountFigures]:
        """What the account did, "strategy", and buy-and-hold's, "hold"."""
        years = yearly_bars(self.bars)
        accounts = {"strategy": self.strategy, "hold": self.hold}
        return {
            name: account_figures(one.equity.to_numpy(), years) for name, one in accounts.items()
        }

    @property
    def trading(self) -> TradeFigures:
        """What the account's trades did."""
        ours = self.strategy
        return trade_figures(
            ours.trades, ours.fills, ours.equity.to_numpy(), yearly_bars(self.bars)
        )

    @property
    def rolling_bars(self) -> int:
        """Over how many bars the rolling Sharpe ratio is taken."""
        return rolled_bars(len(self.equity), yearly_bars(self.bars))

    @property
    def months(self) -> pd.DataFrame:
        """What the account and buy-and-hold gained in each month."""
        return gain_table(self.equity, "year", "month")

    @property
    def years(self) -> pd.DataFrame:
        """What the account and buy-and-hold gained in each year."""
        return gain_table(self.equity, "year")

    @property
    def distribution(self) -> pd.DataFrame:
        """How often which return per bar came."""
        return distribution_table(self.equity)

    @property
    def importance(self) -> pd.DataFrame:
        """How much each fold's log loss on validation grows without a group of features."""
        return importance_table(self.models)

    @cached_property
    def members(self) -> pd.DataFrame:
        """How each member of each fold's model forecast by itself: one row per fold and member."""
        return member_table(self.bars, self.models, self.predictions)

    @property
    def spread(self) -> pd.DataFrame:
        """How far the members of each fold's model lie apart in AUC.

        No rows where each has but one.
        """
        several = len(self.members) > self.members["fold"].nunique()
        return spread_table(self.members if several else self.members[:0], self.folds)

    @cached_property
    def calibration(self) -> Reliability | None:
        """The calibration over all folds; None for too few forecasts."""
        # Folds without a model have no probability.
        known = np.isfinite(self.decisions.probability)
        if known.sum() < FEWEST_CALIBRATED:
            return None
        return reliability(self.decisions.labels[known], self.decisions.probability[known])


@dataclass(frozen=True, eq=False)
class TrainedConfiguration:
    """A configuration that is trained and to be judged.

    Its models, the folder of their checkpoints, its settings, and what else was tried before.
    """

    models: Sequence[FoldModel]
    folder: Path
    settings: Settings
    tried: Sequence[Trial] = ()


def evaluate_all(
    bars: pd.DataFrame,
    configurations: Mapping[str, TrainedConfiguration],
    *,
    jobs: int = 1,
    best: pd.Series | None = None,
) -> dict[str, Results]:
    """Trade each configuration's folder in one run, and judge what came of it.

    It is judged against benchmarks, luck and the other configurations. All have the same folds,
    account and costs. best: the probability that the best possible forecast gives at each bar, on a
    planted market.
    """
    first = next(iter(configurations.values()))
    settings, folds = first.settings, [model.fold for model in first.models]
    # Once for all configurations: they share folds, account and costs.
    hold = simulate_hold(bars, folds[0].test, account=settings.account, costs=settings.costs)
    # Likewise trained once: what a learner forecasts depends on no configuration.
    learners = learner_probabilities(bars, folds, settings.config, jobs)
    runs = {
        name: _run(bars, configuration, learners) for name, configuration in configurations.items()
    }
    # What this run repeats, if at other costs, is not something tried beside it.
    own = {
        digest_positions(bars, run.decisions.decided_at, run.decisions.strategy)
        for run in runs.values()
    }
    found = {}
    for name, run in runs.items():
        # Each configuration counts as something tried beside the others.
        others = {other: beside.decisions for other, beside in runs.items() if other != name}
        nets = [run.decisions.net, *(other.net for other in others.values())]
        tried = counted(configurations[name].tried, pd.DatetimeIndex(nets[0].index), own)
        trials = Trials((*tried.sharpes, *(sharpe_per_bar(net.to_numpy()) for net in nets[1:])))
        decisions = run.decisions.with_variants(others)
        known = (
            None
            if best is None
            else forecast_scores(
                run.forecasts.assign(probability=best.loc[run.forecasts["decided_at"]].to_numpy())
            )
        )
        found[name] = Results(
            bars,
            configurations[name].settings,
            configurations[name].models,
            run.forecasts,
            run.strategy,
            hold,
            decisions,
            evidence_of(decisions, trials, worth=settings.account.worth),
            overfitting_probability([*nets, *tried.returns]),
            known,
        )
    return found


class _Run(NamedTuple):
    """What a configuration forecast and did."""

    forecasts: pd.DataFrame
    strategy: Simulation
    decisions: Decisions


def _run(bars: pd.DataFrame, configuration: TrainedConfiguration, learners: pd.DataFrame) -> _Run:
    settings = configuration.settings
    forecasts = predictions(bars, configuration.models, settings.config)
    strategy = trade(
        bars,
        configuration.models,
        configuration.folder,
        account=settings.account,
        costs=settings.costs,
        traded=settings.traded,
    )
    # The position stands at the bar at whose open it was taken: that of a decision, one bar later.
    held = np.sign(strategy.position.shift(-1).to_numpy())
    positions = positions_of(strategy, bars) if settings.traded else held
    return _Run(forecasts, strategy, decisions_of(bars, forecasts, positions, learners, settings))


def write_results(folder: Path, results: Results) -> None:
    """Write every file but the checkpoints; each appears whole or not at all."""
    tables = {
        "folds": results.folds,
        "predictions": results.predictions,
        "months": results.months,
        "years": results.years,
        "distribution": results.distribution,
        "members": results.members,
        "importance": results.importance.rename_axis("group").reset_index(),
        "trades": results.strategy.trades,
        "equity": results.equity.reset_index(),
    }
    for name, table in tables.items():
        write_atomically(folder / f"{name}.csv", csv_of(table))
    write_atomically(folder / "equity.png", draw(results.equity, results.borders, results.title))
    write_atomically(
        folder / SUMMARY,
        (json.dumps(summary(results), indent=2, allow_nan=False) + "\n").encode(),
    )


def csv_of(frame: pd.DataFrame) -> bytes:
    """Return a table as the bytes of its file."""
    buffer = io.StringIO()
    # One line ending everywhere, so that the same run has the same bytes on every system.
    frame.to_csv(buffer, index=False, lineterminator="\n")
    return buffer.getvalue().encode()


def summary(results: Results) -> dict[str, object]:
    """Return the settings and the figures that matter, as JSON has them.

    An undefined figure is null.
    """
    table = results.folds
    rows = [plain_row(row) for row in table.to_dict("records")]
    return {
        "version": VERSION,
        "verdict": {"word": results.verdict.word, "sentence": results.verdict.sentence},
        "data": describe_data(results.bars),
        "settings": describe_settings(results.settings),
        "total": rows[-1],
        "account": {name: asdict(figures) for name, figures in results.account.items()},
        "trading": asdict(results.trading),
        "refused": results.strategy.refused,
        "best_possible": results.best,
        "share_found": results.share_found,
        "folds": rows[:-1],
        "spread": [plain_row(row) for row in results.spread.to_dict("records")],
        "evidence": asdict(results.evidence),
        "overfitting": asdict(results.overfitting),
        "registration": asdict(results.registration) if results.registration else None,
        "search": asdict(results.searched) if results.searched else None,
        "calibration": asdict(results.calibration) if results.calibration else None,
        "importance": {
            str(group): float(mean) for group, mean in results.importance.mean(axis=1).items()
        },
        "versions": all_versions(),
        # Folds of different processors may differ in their last bits; the reader is told.
        "mixed_machines": len(machines_of(results.models)) > 1,
    }


def machines_of(models: Sequence[FoldModel]) -> set[tuple[tuple[str, str], ...]]:
    """Return the different libraries and processors that trained the models."""
    return {tuple(sorted(model.machine.items())) for model in models}


def describe_settings(settings: Settings) -> dict[str, Mapping[str, object]]:
    """Return the settings by the name of what they set."""
    return {
        "folds": asdict(settings.plan),
        "training": settings.config.described(),
        "account": asdict(settings.account),
        "costs_in_basis_points_per_side": asdict(settings.costs),
        **({"book": asdict(settings.book)} if settings.book else {}),
    }


def describe_data(bars: pd.DataFrame) -> dict[str, object]:
    """Return what the bars are, with a digest that tells whether two runs had the same."""
    timestamps = pd.DatetimeIndex(bars.index)
    return {
        "instrument": bars.attrs.get("instrument"),
        "bars": len(bars),
        "first": str(timestamps[0]),
        "last": str(timestamps[-1]),
        "bar_interval": spoken(bar_interval(timestamps)),
        "bars_per_year": yearly_bars(bars),
        "sha256": digest_bars(bars),
    }


def plain_row(row: Mapping[Hashable, object]) -> dict[str, object]:
    """Return a row as JSON has it: timestamps as text, null for what is undefined."""
    plain: dict[str, object] = {}
    for name, value in row.items():
        # JSON has no NaN, and the writers refuse it (allow_nan=False).
        undefined = isinstance(value, float) and math.isnan(value)
        plain[str(name)] = (
            str(value) if isinstance(value, pd.Timestamp) else None if undefined else value
        )
    return plain


def importance_table(models: Sequence[FoldModel]) -> pd.DataFrame:
    """Return how much the log loss on validation grows without a group of features.

    A row per group, a column per fold that has a model.
    """
    return pd.DataFrame(
        {str(model.fold.number): dict(model.importance) for model in models if model.importance}
    )


def comparison_table(results: Mapping[str, Results]) -> pd.DataFrame:
    """Return one row per architecture, the first the one that the others are held against.

    What is undefined is missing.

    auc_less, gain_less: the first's AUC and mean net return per bar less this one's, with the 95 %
    interval, paired. loss_statistic, loss_p: Diebold and Mariano's of the first's log loss against
    this one's, below 0 where the first's is lower.
    """
    first = next(iter(results.values()))
    return pd.DataFrame([_row(name, found, first) for name, found in results.items()])


def write_comparison(folder: Path, results: Mapping[str, Results]) -> None:
    """Write the table."""
    write_atomically(folder / COMPARISON, csv_of(comparison_table(results)))


def _row(name: str, found: Results, first: Results) -> dict[str, object]:
    total, evidence = found.folds.iloc[-1], first.evidence
    statistic, p = evidence.losses.get(name) or (None, None)
    return {
        "architecture": name,
        **{score: total[score] for score in ("windows", "auc", "log_loss", "accuracy")},
        "net": found.evidence.net,
        "sharpe": found.evidence.benchmarks[STRATEGY].sharpe,
        "verdict": found.verdict.word,
        **interval_columns("auc_less", evidence.intervals.get(f"auc less {name}"), ENDS[:3]),
        **interval_columns("gain_less", evidence.intervals.get(f"less {name}"), ENDS[:3]),
        "loss_statistic": statistic,
        "loss_p": p,
    }


def interval_columns(
    name: str, interval: Interval | None, ends: Sequence[str] = ENDS
) -> dict[str, float | None]:
    """Return a figure and the ends of its intervals as columns; None where there is none."""
    # A file may show the first ends alone, in the order of the interval's fields.
    values = astuple(interval) if interval else (None,) * len(ends)
    return {f"{name}{end}": value for end, value in zip(ends, values, strict=False)}
