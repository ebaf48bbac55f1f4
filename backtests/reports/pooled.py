"""The results of one network for a universe: everything found, as objects, JSON and CSV."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from plotly import graph_objects as go

from backtests.evidence.alpha import Figures, figures_of
from backtests.evidence.baselines import pooled_probabilities
from backtests.evidence.book_figures import BookAccount
from backtests.evidence.books import Books, equity_of
from backtests.evidence.bootstrap import Array, area_within_rows
from backtests.evidence.by_date import ByDate, by_date, mean_known, rank_correlations
from backtests.evidence.decisions import STRATEGY
from backtests.evidence.evidence import SharpeFigures, Trials, sharpe_figures, sharpe_per_bar
from backtests.evidence.overfitting import Overfitting, overfitting_probability
from backtests.evidence.panel import Panel, panel_of
from backtests.evidence.scores import BEST, NO_MODEL, TOTAL
from backtests.evidence.thirds import thirds
from backtests.evidence.verdict import NO_COST, Verdict, judge_account, judge_book
from backtests.reports.charts import book_chart, titled
from backtests.reports.results import (
    csv_of,
    describe_settings,
    importance_table,
    machines_of,
    plain_row,
)
from backtests.simulation.account import BASIS_POINT
from backtests.walk_forward.book import BookChoice, choose_books, trade_book
from backtests.walk_forward.fingerprint import all_versions
from backtests.walk_forward.folds import FoldModel
from backtests.walk_forward.ledger import POSITION, Counted, Trial, counted, digest_weights
from backtests.walk_forward.plan import Settings
from backtests.walk_forward.registration import NOT_REGISTERED, Registration
from backtests.walk_forward.universe import DatedFolds, dated_probabilities
from model.bars.faults import count
from model.bars.intervals import bar_interval, spoken
from model.bars.read import digest_bars
from model.bars.universe import Universe
from model.cli import LeftOut
from model.files import write_atomically
from model.notebook import card
from strategy_plugin.decision import NEUTRAL

POOLED = "pooled.json"
# The files that write_pooled leaves beside the report and the checkpoints.
POOLED_FILES = (
    POOLED,
    "folds.csv",
    "forecasters.csv",
    "decay.csv",
    "tenths.csv",
    "years.csv",
    "thirds.csv",
    "equity.csv",
    "predictions.csv",
    "importance.csv",
)
# And those of the account, where names are ranked.
BOOK_FILES = (
    "book.csv",
    "costs.csv",
    "names.csv",
    "positions.csv",
    "trades.csv",
    "weights.csv",
)
POOLED_VERSION = 2  # of pooled.json: raised when an entry changes its name or meaning


class BookTrial(NamedTuple):
    """What the ledger notes of a book. positions: the digest of its weights.

    held: its weights, a column for each instrument, by date; net: what it earned, (dates,).
    """

    positions: str
    held: pd.DataFrame
    net: Array


@dataclass(frozen=True, eq=False, repr=False)
class PooledResults:
    """All that one network for a universe found, and the settings that made it so.

    models: of the architecture that leads. architectures: all that were trained. left_out: files
    that could not be used, which the user asked to go without. tried: the ledger's other trials on
    such a universe. registration: of this run, None where it was not registered. account: that of
    the book, None where no names are ranked; choices: by which each fold traded it.
    """

    dated: DatedFolds
    settings: Settings
    models: Sequence[FoldModel]
    panel: Panel
    architectures: Sequence[str]
    left_out: Sequence[LeftOut] = ()
    tried: Sequence[Trial] = ()
    registration: Registration | None = None
    account: BookAccount | None = None
    choices: Sequence[BookChoice] = ()

    def __repr__(self) -> str:
        return f"PooledResults({self.title}: {self.verdict.word})"

    def _repr_html_(self) -> str:
        forecasters = self.by_date.forecasters.set_index("forecaster")
        tables = self.folds.set_index("fold"), forecasters
        return card(self.title, self.verdict.sentence, *tables)

    def plot(self) -> go.Figure:
        """Return the chart of the money beside its benchmark."""
        return titled(book_chart(self.equity, self.benchmark), self.title)

    @property
    def title(self) -> str:
        """One line that says what was run on what."""
        return (
            f"one network for {count(len(self.dated.universe), 'instrument')}: walk-forward of "
            f"{count(len(self.models), 'fold')}, outcome {self.panel.outcome}, "
            f"costs {self.settings.costs.per_side:g} bp per side"
        )

    @property
    def files(self) -> tuple[str, ...]:
        """The files that `write_pooled` leaves."""
        return POOLED_FILES + (BOOK_FILES if self.account else ())

    @property
    def cost(self) -> float:
        """What a trade costs per side, a fraction."""
        return self.settings.costs.per_side * BASIS_POINT

    @property
    def benchmark(self) -> str:
        """What the money is held against."""
        return "cash" if self.panel.ranked and self._neutral else "holding all"

    @property
    def paper_benchmark(self) -> str:
        """What the paper book is held against, whatever the account trades."""
        return "cash" if self.panel.ranked else "holding all"

    @property
    def _neutral(self) -> bool:
        return self.settings.book is None or self.settings.book.neutral

    @property
    def borders(self) -> list[pd.Timestamp]:
        """The first decision of each fold."""
        return [self.dated.dates[model.fold.test] for model in self.models]

    @cached_property
    def books(self) -> Books:
        return Books(self.panel)

    @cached_property
    def figures(self) -> Figures:
        """The figures on chance at the stated cost: of the account, where there is one."""
        record = self.books.record(self.cost)
        if self.account is not None:
            # The account knows drift, borrow and settlements, of which the paper book knows
            # nothing.
            record = self.account.record(record, self.panel)
        return figures_of(record)

    @cached_property
    def figures_at_no_cost(self) -> Figures:
        return self.books.figures(0.0)

    @property
    def verdict(self) -> Verdict:
        """The one sentence that matters, at the stated cost."""
        if self.account is not None:
            return judge_account(self.figures, self.benchmark)
        return judge_book(self.figures, self.panel.ranked)

    @property
    def verdict_at_no_cost(self) -> Verdict:
        """What would be said if trading cost nothing: whether the forecasts are worth anything."""
        return judge_book(self.figures_at_no_cost, self.panel.ranked, NO_COST)

    @cached_property
    def trials(self) -> dict[str, BookTrial]:
        """What each architecture held and earned, by its name, the one that leads first."""
        panel, returns = self.panel, self.books.returns(self.cost)
        interval = str(describe_universe_data(self.dated.universe)["bar_interval"])
        columns = [f"{POSITION} {name}" for name in panel.names]
        found = {}
        for place, one in enumerate(self.architectures):
            # In the panel the one that leads is called the strategy.
            name = one if place else STRATEGY
            weights = self.books.weights[name]
            found[one] = BookTrial(
                digest_weights(panel.names, interval, panel.dates, weights),
                pd.DataFrame(weights, panel.dates, columns),
                returns[name],
            )
        return found

    @cached_property
    def counted(self) -> Counted:
        """The ledger's trials that count beside this run."""
        # The ledger may hold them from an earlier run of the same command: they are no other tries.
        own = {trial.positions for trial in self.trials.values()}
        return counted(self.tried, self.panel.dates, own)

    @property
    def sharpe(self) -> SharpeFigures | None:
        """The Sharpe ratio of the strategy's book, deflated for all that was tried."""
        # Whatever was trained beside the one that leads was tried as well.
        ours, *others = (trial.net for trial in self.trials.values())
        beside = (*self.counted.sharpes, *map(sharpe_per_bar, others))
        return sharpe_figures(ours, Trials(beside))

    @cached_property
    def overfitting(self) -> Overfitting:
        """The probability that the best of all that was tried was but luck."""
        nets = [pd.Series(trial.net, self.panel.dates) for trial in self.trials.values()]
        return overfitting_probability([*nets, *self.counted.returns])

    @property
    def registered(self) -> str:
        """Whether the run was registered first, in words."""
        return self.registration.sentence if self.registration else NOT_REGISTERED

    @cached_property
    def by_date(self) -> ByDate:
        """The evidence by date of all that forecast."""
        return by_date(self.panel, self.books, self.cost)

    @cached_property
    def thirds(self) -> pd.DataFrame:
        """The verdicts on each third of the dates by itself, of the paper book."""
        return thirds(self.panel, self.cost)

    @cached_property
    def equity(self) -> pd.DataFrame:
        """The growth of 1 before and after costs, and of the benchmark."""
        if self.account is None:
            return equity_of(self.books, self.cost)
        curves = self.account.curves
        return pd.DataFrame(
            {
                "strategy": curves["equity"],
                "before_costs": curves["before_costs"],
                "benchmark": 1.0 if self._neutral else curves["buy_and_hold"],
            }
        )

    @property
    def share_found(self) -> float | None:
        """How much of the attainable edge in AUC was found; None where it is not known."""
        areas = self.by_date.forecasters.set_index("forecaster")["auc"]
        best = areas.get(BEST)
        # Where not even the best forecast has an edge there is none to find a share of.
        if best is None or best == NEUTRAL:
            return None
        return float((areas[STRATEGY] - NEUTRAL) / (best - NEUTRAL))

    @cached_property
    def folds(self) -> pd.DataFrame:
        """One row per fold and one in total."""
        rows = []
        for model in self.models:
            # A rank is held against no threshold.
            trading = model.checkpoint is not None and not self.panel.ranked
            row = {
                "fold": str(model.fold.number),
                "model": model.name if model.checkpoint else NO_MODEL,
                "instruments": len(self.dated.past(model.fold)),
                "enter": model.checkpoint.enter if model.checkpoint and trading else None,
                "exit": model.checkpoint.exit if model.checkpoint and trading else None,
            }
            rows.append(row | self._scores(self.panel.folds == model.fold.number))
        total = {"fold": TOTAL, "model": "", "instruments": len(self.dated.universe)}
        every = np.ones(len(self.panel.dates), dtype=bool)
        return pd.DataFrame([*rows, total | self._scores(every)])

    def _scores(self, dates: NDArray[np.bool_]) -> dict[str, object]:
        """Return what the strategy forecast and earned on some of the dates."""
        panel, scores = self.panel, self.panel.scores[STRATEGY][dates]
        area = area_within_rows(panel.labels[dates], scores)
        # Pair by pair, so that a date with few names says little.
        wins, pairs = area.numerators.sum(), area.denominators.sum()
        gross, net = (self.books.returns(cost)[STRATEGY][dates] for cost in (0.0, self.cost))
        decided = panel.dates[dates]
        return {
            "first_decision": decided[0] if len(decided) else None,
            "last_decision": decided[-1] if len(decided) else None,
            "dates": len(decided),
            "forecasts": int(np.isfinite(scores).sum()),
            "auc": float(wins / pairs) if pairs else None,
            "ic": mean_known(rank_correlations(scores, panel.moves["open"][dates])),
            "gross": float(gross.mean()) if len(decided) else None,
            "net": float(net.mean()) if len(decided) else None,
        }

    @property
    def importance(self) -> pd.DataFrame:
        """How much each fold's log loss on validation grows without a group of features."""
        return importance_table(self.models)

    @property
    def predictions(self) -> pd.DataFrame:
        """One row per decision: date, instrument, fold, the forecast, and what came of it."""
        panel = self.panel
        rows, names = np.nonzero(np.isfinite(panel.scores[STRATEGY]))
        place = rows, names
        return pd.DataFrame(
            {
                "decided_at": panel.dates[rows],
                "instrument": np.array(panel.names)[names],
                "fold": panel.folds[rows],
                "probability": panel.scores[STRATEGY][place],
                "label": panel.labels[place],
                "move": panel.moves["open"][place],
            }
        )


def evaluate_pooled(
    dated: DatedFolds,
    models: Mapping[str, Sequence[FoldModel]],
    settings: Settings,
    *,
    jobs: int = 1,
    best: Mapping[str, pd.Series] | None = None,
    left_out: Sequence[LeftOut] = (),
    tried: Sequence[Trial] = (),
    checkpoints: Path | None = None,
) -> PooledResults:
    """Hold the forecasts of each architecture against what came, and against cheap learners.

    models: by architecture, the first one leads. best: by instrument of a planted market, the
    probability that the best possible forecast gives at each bar. tried: the ledger's other trials.
    checkpoints: the folder of the first one's, which the book trades; None trades its forecasts.
    """
    first, *others = models
    # The order is that of the tables: the strategy first, then what it is held against.
    forecasts = dated_probabilities(dated, models[first])
    probabilities = {STRATEGY: forecasts.to_numpy()}
    probabilities |= {one: dated_probabilities(dated, models[one]).to_numpy() for one in others}
    probabilities |= pooled_probabilities(dated, jobs)
    if best is not None:
        tested = dated.dates[dated.folds[0].test : dated.folds[-1].stop]
        known = pd.DataFrame({name: best[name] for name in dated.universe})
        probabilities[BEST] = known.reindex(tested).to_numpy()
    thresholds = {
        name: _thresholds(models[one], settings)
        for name, one in zip((STRATEGY, *others), models, strict=True)
    }
    panel = panel_of(
        dated,
        probabilities,
        None if settings.book else thresholds,
        settings.account.allow_short,
    )
    results = PooledResults(dated, settings, models[first], panel, list(models), left_out, tried)
    if settings.book is None:
        return results
    source: Path | pd.DataFrame | None = checkpoints
    # Of a folder the model before would go on deciding where a fold has none.
    if source is None or any(model.checkpoint is None for model in models[first]):
        source = forecasts
    choices = choose_books(dated, models[first], settings, jobs)
    made = trade_book(dated, models[first], source, settings, choices)
    account = BookAccount(made, settings.book, settings.costs, panel.bars_per_year)
    return replace(results, account=account, choices=choices)


def _thresholds(models: Sequence[FoldModel], settings: Settings) -> tuple[Array, Array]:
    """Return enter and exit in force on each test date of all folds: (dates,), (dates,)."""
    own = settings.account
    levels = []
    for model in models:
        pair = (own.enter, own.exit)
        if own.enter is None and model.checkpoint:
            pair = (model.checkpoint.enter, model.checkpoint.exit)
        # A fold without a model forecasts nothing, and one of ranks has no thresholds.
        given = [NEUTRAL if level is None else level for level in pair]
        levels.append(np.tile(given, (model.fold.stop - model.fold.test, 1)))
    enter, exit = np.concatenate(levels).T
    return enter, exit


def write_pooled(folder: Path, results: PooledResults) -> None:
    """Write every file but report and checkpoints; each appears whole or not at all."""
    tables = {
        "folds": results.folds,
        "forecasters": results.by_date.forecasters,
        "decay": results.by_date.decay,
        "tenths": results.by_date.tenths,
        "years": results.by_date.years,
        "thirds": results.thirds,
        "equity": results.equity.reset_index(),
        "predictions": results.predictions,
        "importance": results.importance.rename_axis("group").reset_index(),
    }
    if results.account is not None:
        tables |= results.account.tables
    for name in BOOK_FILES:
        # Those of an earlier run with a book would be taken for this run's.
        (folder / name).unlink(missing_ok=True)
    for name, table in tables.items():
        write_atomically(folder / f"{name}.csv", csv_of(table))
    # Last: where the summary stands, every table beside it is of the same run.
    text = json.dumps(pooled_summary(results), indent=2, allow_nan=False)
    write_atomically(folder / POOLED, (text + "\n").encode())


def pooled_summary(results: PooledResults) -> dict[str, object]:
    """Return the settings and the figures that matter, as JSON has them.

    An undefined figure is null.
    """
    verdicts = {"verdict": results.verdict, "verdict_at_no_cost": results.verdict_at_no_cost}
    tables = {
        name: [plain_row(row) for row in getattr(results.by_date, name).to_dict("records")]
        for name in ("forecasters", "decay", "tenths", "years")
    }
    folds = [plain_row(row) for row in results.folds.to_dict("records")]
    return {
        "version": POOLED_VERSION,
        **{
            name: {"word": verdict.word, "sentence": verdict.sentence}
            for name, verdict in verdicts.items()
        },
        "data": describe_universe_data(results.dated.universe),
        "settings": describe_settings(results.settings),
        "architectures": list(results.architectures),
        "left_out": [one._asdict() for one in results.left_out],
        "total": folds[-1],
        "folds": folds[:-1],
        **tables,
        "thirds": [plain_row(row) for row in results.thirds.to_dict("records")],
        "halves": results.by_date.halves._asdict(),
        "book": _book_summary(results),
        "share_found": results.share_found,
        "unknown_moves": results.panel.unknown_moves,
        "evidence": asdict(results.figures),
        "evidence_at_no_cost": asdict(results.figures_at_no_cost),
        "sharpe": asdict(results.sharpe) if results.sharpe else None,
        "overfitting": asdict(results.overfitting),
        "registration": asdict(results.registration) if results.registration else None,
        "importance": {
            str(group): float(mean) for group, mean in results.importance.mean(axis=1).items()
        },
        "versions": all_versions(),
        "mixed_machines": len(machines_of(results.models)) > 1,
    }


def _book_summary(results: PooledResults) -> dict[str, object] | None:
    account = results.account
    if account is None:
        return None
    return {
        "account": {name: asdict(figures) for name, figures in account.account.items()},
        "trading": asdict(account.trading),
        "figures": asdict(account.figures),
        "folds": [asdict(choice) for choice in results.choices],
        "costs": [plain_row(row) for row in account.cost_grid.to_dict("records")],
        "refused": account.simulation.refused,
    }


def describe_universe_data(universe: Universe) -> dict[str, object]:
    """Return what the bars of all instruments are, each with the digest of its own."""
    indexes = [pd.DatetimeIndex(bars.index) for bars in universe.values()]
    return {
        "bars": sum(map(len, indexes)),
        "first": str(min(index[0] for index in indexes)),
        "last": str(max(index[-1] for index in indexes)),
        "bar_interval": spoken(bar_interval(indexes[0])),
        "instruments": {name: digest_bars(bars) for name, bars in universe.items()},
    }
