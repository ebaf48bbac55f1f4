"""What summary.json and universe.json hold, as types: the document of the formats, and what a test checks every file against."""
from typing import Any, Literal

import msgspec

from backtests.evidence import Evidence
from backtests.pooled import Pool
from backtests.reliability import Reliability
from backtests.simulation import Account, Costs
from backtests.walk_forward import FoldPlan
from model.settings import TrainConfig


class Record(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A part of the summary, with exactly these entries."""


class VerdictRecord(Record):
    """The verdict: its word, and the sentence with the numbers that decided it."""

    word: Literal["edge", "no edge", "cannot tell"]
    sentence: str


class DataRecord(Record):
    """What the bars are. sha256: over stamps and values, the same for the same bars."""

    instrument: str | None
    bars: int
    first: str
    last: str
    bar_interval: str
    bars_per_year: float
    sha256: str


class SettingsRecord(Record):
    """All that decides the run over these bars, by the names of the command's flags."""

    folds: FoldPlan
    training: TrainConfig
    account: Account
    costs_in_basis_points_per_side: Costs


class Scores(Record):
    """Scores of forecasts over windows, decisions with a probability and a known label; null where undefined."""

    windows: float
    up_share: float | None
    auc: float | None
    log_loss: float | None
    brier: float | None
    accuracy: float | None
    base_rate: float | None
    balanced_accuracy: float | None
    mcc: float | None


class FoldRow(Scores):
    """One fold, or all of them together as fold "total": also a row of folds.csv.

    model: the checkpoint's file, "no model", or "" in total. enter, exit: its thresholds. trades: those opened here. return,
    sharpe (annual), max_drawdown, exposure (share of bars in the market): of the account; with hold_: of buy-and-hold.
    """

    fold: str
    model: str
    enter: float | None
    exit: float | None
    first_decision: str
    last_decision: str
    trades: int
    gain: float = msgspec.field(name="return")
    sharpe: float | None
    max_drawdown: float
    exposure: float
    hold_return: float
    hold_sharpe: float | None
    hold_max_drawdown: float
    hold_exposure: float


class Summary(Record):
    """summary.json. version: raised when an entry changes its name or meaning. best_possible: scores of the best forecast
    there is, on a planted market. calibration: null for too few forecasts. importance: by group of features, how much the log
    loss on validation grows without it, the mean over folds. versions: of the libraries, and the processor's instructions.
    mixed_machines: whether the folds were trained with different ones; then the same command may give other bits elsewhere."""

    version: Literal[1]
    verdict: VerdictRecord
    data: DataRecord
    settings: SettingsRecord
    total: FoldRow
    best_possible: Scores | None
    folds: list[FoldRow]
    evidence: Evidence
    calibration: Reliability | None
    importance: dict[str, float]
    versions: dict[str, str]
    mixed_machines: bool


class MarketRow(Record):
    """One market of a universe: also a row of markets.csv. Figures by decision, net of costs, null where undefined.

    auc, gain (net less hold): with _low to _high, the 95 % interval, and _lowest, _highest, the one-sided 99 % bounds. net,
    hold: mean per bar, a fraction. sharpe: annual. superiority: p of "nothing tried here earns more than holding". verdict:
    that of the market by itself. outstanding: whether it stands out though so many were tried.
    """

    market: str
    first_decision: str
    last_decision: str
    decisions: int
    auc: float | None
    auc_low: float | None
    auc_high: float | None
    auc_lowest: float | None
    auc_highest: float | None
    accuracy: float | None
    base_rate: float | None
    net: float
    hold: float
    gain: float
    gain_low: float
    gain_high: float
    gain_lowest: float
    gain_highest: float
    sharpe: float
    hold_sharpe: float
    trades: int
    superiority: float | None
    verdict: Literal["edge", "no edge", "cannot tell"]
    outstanding: bool


class FailedRecord(Record):
    """A fold that could not be trained, and why; its market is in no table and no test."""

    fold: str
    reason: str


class Universe(Record):
    """universe.json. version: raised when an entry changes its name or meaning. settings: of every market's walk."""

    version: Literal[1]
    verdict: VerdictRecord
    settings: SettingsRecord
    markets: list[MarketRow]
    failed: list[FailedRecord]
    evidence: Pool
    versions: dict[str, str]
    mixed_machines: bool


def universe_schema() -> dict[str, Any]:
    """Return the JSON Schema of universe.json."""
    return msgspec.json.schema(Universe)


def summary_schema() -> dict[str, Any]:
    """Return the JSON Schema of summary.json."""
    return msgspec.json.schema(Summary)
