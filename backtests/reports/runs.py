"""Runs beside each other: read from the files that they left, and compared where they can be.

A run is the folder of a walk-forward: over one instrument (summary.json), over a universe
(universe.json), or of one network for a universe (pooled.json).
"""

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pandas as pd

from backtests.evidence.bootstrap import (
    AreaUnderCurve,
    Array,
    Bootstrap,
    Figure,
    Interval,
    block_length,
    interval,
    means_of,
)
from backtests.evidence.hypothesis_tests import diebold_mariano, log_losses
from backtests.reports.pooled import POOLED, POOLED_VERSION
from backtests.reports.results import VERSION
from backtests.reports.universe import UNIVERSE_FILES, UNIVERSE_VERSION
from backtests.walk_forward.store import SUMMARY
from model.bars.faults import count
from model.metrics import sharpe
from model.settings_file import SETTINGS

Value = str | float | int | bool | None

# By the file that has everything in one: its version, and its column of equity.csv.
FORMATS = {
    SUMMARY: (VERSION, "equity"),
    UNIVERSE_FILES[0]: (UNIVERSE_VERSION, "strategy"),
    POOLED: (POOLED_VERSION, "strategy"),
}
MARKET = ("market", "market_bars", "market_seed")
FEWEST_PAIRED = 50  # returns: fewer have no interval that says anything


class RunsError(ValueError):
    """Runs that cannot be compared; the message says which file, and why."""

    exit_code = 3


class _Verdict(msgspec.Struct):
    word: str
    sentence: str


class _Evidence(msgspec.Struct):
    """Of all figures on chance those that every kind of run has."""

    decisions: int
    periods_per_year: float
    intervals: dict[str, Interval]


class _Total(msgspec.Struct):
    windows: float | None = None  # decisions with a forecast and a label


class _Fold(msgspec.Struct):
    first_decision: str | None = None
    last_decision: str | None = None


class _Data(msgspec.Struct):
    """What the bars are: one instrument and its digest, or the digest of each instrument."""

    first: str
    last: str
    instrument: str | None = None
    sha256: str | None = None
    instruments: dict[str, str] = msgspec.field(default_factory=dict)


class _Past(msgspec.Struct):
    trials: int
    settings: dict[str, Value]


class _Search(msgspec.Struct):
    nested: bool
    pasts: list[_Past]

    def __str__(self) -> str:
        trials = count(sum(past.trials for past in self.pasts), "trial")
        return f"{trials}, in each fold's past" if self.nested else trials


class _Summary(msgspec.Struct):
    """Of summary.json, universe.json and pooled.json what they have in common."""

    version: int
    verdict: _Verdict
    settings: dict[str, dict[str, Value]]
    evidence: _Evidence
    data: _Data | None = None
    folds: list[_Fold] = []
    total: _Total | None = None
    search: _Search | None = None


@dataclass(frozen=True, eq=False)
class Run:
    """A walk-forward as its files tell of it.

    name: its folder's. settings: by name. equity: the growth of 1 at each date. forecasts:
    predictions.csv of one instrument, None of several.
    """

    name: str
    folder: Path
    summary: _Summary
    settings: Mapping[str, Value]
    equity: pd.Series
    forecasts: pd.DataFrame | None

    @property
    def instrument(self) -> str:
        """What it was over, in a word or two."""
        data = self.summary.data
        if data is None:
            return "a universe"
        return f"{len(data.instruments)} instruments" if data.instruments else str(data.instrument)

    @property
    def digest(self) -> str:
        """Of its bars; "" where no file tells."""
        data = self.summary.data
        if data is None or data.sha256:
            return data.sha256 or "" if data else ""
        # One of several instruments, of those of each.
        return hashlib.sha256(str(sorted(data.instruments.items())).encode()).hexdigest()

    @property
    def sharpe(self) -> float | None:
        """Annual, of the returns of its equity; None where they do not vary."""
        growth: Array = self.equity.to_numpy(np.float64)
        return sharpe(np.diff(growth) / growth[:-1], self.summary.evidence.periods_per_year)

    @property
    def alike(self) -> tuple[object, ...] | None:
        """What two runs must share to be paired: bars and folds; None where no file tells."""
        data = self.summary.data
        if data is None or (self.equity <= 0).any():
            return None
        # By dates, not by settings: other plans may cut the same folds.
        folds = [(fold.first_decision, fold.last_decision) for fold in self.summary.folds]
        return (data.sha256, *sorted(data.instruments.items()), *folds, *self.equity.index[[0, -1]])


class Pair(NamedTuple):
    """A run less the first run on the same bars and folds, paired.

    gain: of the mean return per bar; auc: of the area within folds; loss: Diebold and Mariano's
    statistic of the log loss, below 0 where this run's is lower, and p. None where either does not
    forecast, or forecasts something else.
    """

    run: Run
    first: Run
    gain: Interval
    auc: Interval | None
    loss: tuple[float, float] | None


def is_run(folder: Path) -> bool:
    """Return whether a walk-forward left its files there."""
    return any((folder / name).is_file() for name in FORMATS)


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Return the runs of these folders; RunsError for fewer than two, or those that are damaged."""
    if len(folders) < 2:
        raise RunsError(
            "a comparison needs the folders of two runs or more, got "
            f"{', '.join(map(str, folders)) or 'none'}. Name more, as in runs/*."
        )
    names = [folder.resolve().name for folder in folders]
    # Two folders of one name are told apart by their paths.
    unique = len(set(names)) == len(names)
    runs, faults = [], []
    for folder, name in zip(folders, names, strict=True):
        try:
            runs.append(read_run(folder, name if unique else str(folder)))
        except RunsError as error:
            faults.append(str(error))
    # Together: of many runs of another version each would be named in a call of its own.
    if faults:
        raise RunsError("\n".join(faults))
    return runs


def read_run(folder: Path, name: str) -> Run:
    """Return the run of a folder; RunsError for files that cannot be used."""
    file = reading = next(one for one in FORMATS if (folder / one).is_file())
    version, column = FORMATS[file]
    try:
        summary = msgspec.json.decode((folder / file).read_bytes(), type=_Summary)
        # In another version an entry may mean something else.
        if summary.version != version:
            raise ValueError(f"it is of version {summary.version}, this program's is {version}")
        reading = "equity.csv"
        table = pd.read_csv(folder / reading, index_col=0, usecols=["date", column])[column]
        forecasts = None
        if file == SUMMARY:
            reading = "predictions.csv"
            columns = ["fold", "decided_at", "probability", "label"]
            numbers = {"probability": float, "label": float}
            forecasts = pd.read_csv(folder / reading, usecols=columns, dtype=numbers)
            there = int(forecasts[["probability", "label"]].notna().all(axis=1).sum())
            if summary.total is None or there != summary.total.windows:
                raise ValueError(f"{there} decisions have forecast and label, others in {file}")
        reading = "equity.csv"
        if table.empty:
            raise ValueError("it has no row")
        # Accounts of other sizes grow alike.
        equity = table.astype(float) / float(table.iloc[0])
        equity.index = pd.to_datetime(equity.index, errors="coerce")
        if not np.isfinite(equity).all() or equity.index.isna().any():
            raise ValueError("it has rows without a date or an equity, or begins with 0")
        reading = SETTINGS
        of_market = _of_market(folder)
    except (OSError, ValueError) as error:
        raise RunsError(
            f"{folder} must hold the files of a run as this program writes them: {reading}: "
            f"{str(error).rstrip('.')}. "
            "Run it again, or leave it out."
        ) from error
    settings = {name: value for part in summary.settings.values() for name, value in part.items()}
    settings |= of_market
    if summary.search:
        settings["search"] = str(summary.search)
        if summary.search.nested:
            settings |= dict.fromkeys(summary.search.pasts[0].settings, "by fold")
    return Run(name, folder, summary, settings, equity, forecasts)


def _of_market(folder: Path) -> dict[str, Value]:
    """Return the settings of the made-up market that a run was over, as its settings file has them.

    A run that was made in Python, or over bars of a file, has none.
    """
    try:
        found = tomllib.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return {name: found[name] for name in MARKET if name in found} if found.get("market") else {}


def bar_labels(runs: Sequence[Run]) -> list[str]:
    """Return what each run was over, with the digest of its bars where others have its name."""
    bars: dict[str, set[str]] = {}
    for run in runs:
        bars.setdefault(run.instrument, set()).add(run.digest)
    return [
        f"{run.instrument} {run.digest[:8]}" if len(bars[run.instrument]) > 1 else run.instrument
        for run in runs
    ]


def differing(runs: Sequence[Run]) -> list[str]:
    """Return the settings in which the runs differ, in the order of the commands' flags."""
    names = dict.fromkeys(name for run in runs for name in run.settings)
    # As text: JSON may spell one value as 1 and as 1.0.
    return [name for name in names if len({str(run.settings.get(name)) for run in runs}) > 1]


def paired(runs: Sequence[Run]) -> list[Pair]:
    """Return each run beside the first one that has its bars and folds.

    All figures of a group come from the same resamples of the stationary bootstrap, by bar.
    """
    groups: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        # Of a few bars no interval says anything.
        if run.alike and len(run.equity) > FEWEST_PAIRED:
            groups.setdefault(run.alike, []).append(run)
    return [pair for group in groups.values() if len(group) > 1 for pair in _pairs(group)]


def _pairs(group: Sequence[Run]) -> list[Pair]:
    """Compare the runs of one group with its first."""
    first = group[0]
    columns = [run.equity.pct_change().to_numpy(float)[1:] for run in group]
    returns: Array = np.column_stack(columns)
    gains = [returns[:, 0] - returns[:, column] for column in range(1, len(group))]
    # One bootstrap for all: differences of the group can be held against each other.
    bootstrap = Bootstrap(len(returns), block_length(returns[:, 0], *gains))
    areas = _areas(group)
    figures: dict[str, Figure] = {"returns": means_of(returns), **areas}
    draws = bootstrap.draw(figures)
    pairs = []
    for number, run in enumerate(group[1:], 1):
        auc = None
        if str(number) in areas:
            auc = interval(draws[str(number)][0] - draws["0"][0])
        gain = interval(draws["returns"][number] - draws["returns"][0])
        pairs.append(Pair(run, first, gain, auc, _loss(run, first) if auc else None))
    return pairs


def _areas(group: Sequence[Run]) -> dict[str, AreaUnderCurve]:
    """Return the AUC of each run that forecasts what the first does, by its number.

    Over the decisions that all of these forecast, and whose bar lies within the returns.
    """
    tables = {str(number): run.forecasts for number, run in enumerate(group)}
    first = tables["0"]
    same = {
        number: table
        for number, table in tables.items()
        if first is not None
        and table is not None
        and table[["fold", "decided_at", "label"]].equals(first[["fold", "decided_at", "label"]])
    }
    if first is None or len(same) < 2:
        return {}
    scores = np.column_stack([table["probability"] for table in same.values()])
    labels: Array = first["label"].to_numpy(float)
    judged = np.flatnonzero(np.isfinite(scores).all(axis=1) & np.isfinite(labels))
    # The last decisions may have no return yet.
    judged = judged[judged < len(group[0].equity) - 1]
    folds = first["fold"].to_numpy()[judged]
    areas = {
        number: AreaUnderCurve(labels[judged], scores[judged, column], folds, judged)
        for column, number in enumerate(same)
    }
    return areas if areas["0"].defined else {}


def _loss(run: Run, first: Run) -> tuple[float, float] | None:
    """Test whether the run's log loss differs from the first's, over what both forecast."""
    assert run.forecasts is not None and first.forecasts is not None
    ours, theirs = (one["probability"].to_numpy(float) for one in (run.forecasts, first.forecasts))
    labels = first.forecasts["label"].to_numpy(float)
    both = np.isfinite(ours) & np.isfinite(theirs) & np.isfinite(labels)
    horizon = run.settings.get("horizon")
    return diebold_mariano(
        log_losses(labels[both], ours[both]),
        log_losses(labels[both], theirs[both]),
        horizon if isinstance(horizon, int) else 1,
    )
