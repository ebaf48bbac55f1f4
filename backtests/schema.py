"""What summary.json and universe.json hold, as types: the document of the formats, and what a test checks every file against."""

from typing import Literal

from backtests.evidence import Evidence
from backtests.pooled import Pool
from backtests.reliability import Reliability
from backtests.rows import Entry, FoldRow, MarketRow, Scores
from backtests.simulation import Account, Costs
from backtests.walk_forward import FoldPlan
from model.settings import TrainConfig


class VerdictRecord(Entry):
    """The verdict: its word, and the sentence with the numbers that decided it."""

    word: Literal["edge", "no edge", "cannot tell"]
    sentence: str


class DataRecord(Entry):
    """What the bars are. sha256: over stamps and values, the same for the same bars."""

    instrument: str | None
    bars: int
    first: str
    last: str
    bar_interval: str
    bars_per_year: float
    sha256: str


class SettingsRecord(Entry):
    """All that decides the run over these bars, by the names of the command's flags."""

    folds: FoldPlan
    training: TrainConfig
    account: Account
    costs_in_basis_points_per_side: Costs


class SpreadRow(Entry):
    """How far the members of a fold's model lie apart in AUC: of each by itself; together: of their mean logit."""

    fold: str
    count: int
    mean: float | None
    std: float | None
    min: float | None
    max: float | None
    together: float | None


class Summary(Entry):
    """summary.json. version: raised when an entry changes its name or meaning. refused: what the strategy did not decide, order
    or get filled, by reason, with counts. best_possible: scores of the best forecast
    there is, on a planted market; share_found: (AUC - .5) / (its AUC - .5). spread: of the members of each fold's model, empty
    where it has but one. calibration: null for too few forecasts. importance: by group of features, how much the log
    loss on validation grows without it, the mean over folds. versions: of the libraries, and the processor's instructions.
    mixed_machines: whether the folds were trained with different ones; then the same command may give other bits elsewhere."""

    version: Literal[1]
    verdict: VerdictRecord
    data: DataRecord
    settings: SettingsRecord
    total: FoldRow
    refused: dict[str, int]
    best_possible: Scores | None
    share_found: float | None
    folds: list[FoldRow]
    spread: list[SpreadRow]
    evidence: Evidence
    calibration: Reliability | None
    importance: dict[str, float]
    versions: dict[str, str]
    mixed_machines: bool


class FailedRecord(Entry):
    """A fold that could not be trained, and why; its market is in no table and no test."""

    fold: str
    reason: str


class Universe(Entry):
    """universe.json. version: raised when an entry changes its name or meaning. settings: of every market's walk.
    architectures: all that were trained; the figures here are those of the first, the others' lie in the markets' folders."""

    version: Literal[1]
    verdict: VerdictRecord
    settings: SettingsRecord
    architectures: list[str]
    markets: list[MarketRow]
    failed: list[FailedRecord]
    evidence: Pool
    versions: dict[str, str]
    mixed_machines: bool
