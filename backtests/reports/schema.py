"""What a row of each table of CSV holds, as types.

The document of these formats, and what a test checks every file against.
"""

from typing import Literal

import msgspec

from backtests.evidence.account_figures import AccountFigures, TradeFigures
from backtests.evidence.alpha import Figures
from backtests.evidence.calibration import Reliability
from backtests.evidence.evidence import Evidence
from backtests.evidence.overfitting import Overfitting
from backtests.evidence.pooled import Pool
from backtests.evidence.searched import Searched
from backtests.evidence.verdict import Word
from backtests.simulation.account import Account, Costs
from backtests.walk_forward.folds import FoldPlan
from backtests.walk_forward.registration import Registration
from model.training.config import TrainConfig


# Unknown fields are refused, so that a column added to a file without its description here fails.
class Entry(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A part of a file, with exactly these fields."""


class Scores(Entry):
    """Scores of forecasts over windows, decisions with a probability and a known label.

    Null where undefined.
    """

    windows: float
    up_share: float | None
    auc: float | None
    log_loss: float | None
    brier: float | None
    accuracy: float | None
    base_rate: float | None
    balanced_accuracy: float | None
    mcc: float | None


# One type for folds and total: a table whose rows differ is read wrongly.
class FoldRow(Scores):
    """One fold, or all of them together as fold "total": also a row of folds.csv.

    model: the checkpoint's file, "no model", or "" in total. enter, exit: the thresholds in force;
    thresholds: whether validation chose them, or did though even the best pair lost there, could
    not (.50/.50) or they were given. trades: those opened here. return, sharpe (annual),
    max_drawdown, exposure (share of bars in the market): of the account; with hold_: of buy-and-
    hold.
    """

    fold: str
    model: str
    enter: float | None
    exit: float | None
    thresholds: Literal["validation", "validation, at a loss", "too few trades", "given"] | None
    first_decision: str
    last_decision: str
    trades: int
    gain: float = msgspec.field(name="return")  # a word of Python's own
    sharpe: float | None
    max_drawdown: float
    exposure: float
    hold_return: float
    hold_sharpe: float | None
    hold_max_drawdown: float
    hold_exposure: float


class EquityRow(Entry):
    """equity.csv: a bar from the first decision on.

    Values at its close; position: units held after its open; probability: forecast at its close.
    drawdown, and that of buy-and-hold: below the highest value so far. rolling_sharpe: annual, of
    the last half year, of a short run less.
    """

    date: str
    equity: float
    drawdown: float
    buy_and_hold: float
    position: float
    probability: float | None
    hold_drawdown: float
    rolling_sharpe: float | None
    hold_rolling_sharpe: float | None


class YearRow(Entry):
    """years.csv: what the account and buy-and-hold gained in a calendar year.

    A year that was traded in part counts with that part.
    """

    year: int
    gain: float = msgspec.field(name="return")
    hold_return: float


class MonthRow(Entry):
    """months.csv: what they gained in a month."""

    year: int
    month: int
    gain: float = msgspec.field(name="return")
    hold_return: float


class DistributionRow(Entry):
    """distribution.csv: how often a bar's return lay from one end to the other.

    The share of all bars of buy-and-hold, and the share of those bars on which the strategy held a
    position.
    """

    start: float = msgspec.field(name="from")
    end: float = msgspec.field(name="to")
    buy_and_hold: float
    strategy: float


class TradeRow(Entry):
    """trades.csv: a round trip. bars: how long it was held.

    gross: at the quoted prices; costs: commission, spread and slippage; net = gross - costs;
    return: net over what was put in. One still open has no closed_at and is valued at the last
    close.
    """

    direction: Literal["long", "short"]
    decided_at: str
    opened_at: str
    closed_at: str | None
    bars: int
    size: float
    entry_price: float
    exit_price: float | None
    gross: float
    costs: float
    net: float
    gain: float = msgspec.field(name="return")


class PredictionRow(Entry):
    """predictions.csv: a decision, its forecast and its outcome.

    It is made at decided_at's close for the position opened at opens_at's open, whose outcome,
    label, is known at known_at. probability: of up, missing where there was no model; checkpoint:
    the model.
    """

    fold: int
    decided_at: str
    opens_at: str | None
    known_at: str | None
    probability: float | None
    label: float | None
    checkpoint: str | None


class MemberRow(Scores):
    """members.csv: how a network of a fold's model forecast the fold by itself."""

    fold: str
    member: str


class ArchitectureRow(Entry):
    """architectures.csv: an architecture on the same folds; the others are held against the first.

    net: mean net return per bar; sharpe: annual, by decision. auc_less, gain_less: the first's AUC
    and net less this one's, with the 95 % interval, paired. loss_statistic, loss_p: Diebold and
    Mariano's, below 0 where the first's log loss is lower.
    """

    architecture: str
    windows: float
    auc: float | None
    log_loss: float | None
    accuracy: float | None
    net: float
    sharpe: float | None
    verdict: Word
    auc_less: float | None
    auc_less_low: float | None
    auc_less_high: float | None
    gain_less: float | None
    gain_less_low: float | None
    gain_less_high: float | None
    loss_statistic: float | None
    loss_p: float | None


class MarketRow(Entry):
    """One market of a universe: also a row of markets.csv.

    Figures by decision, net of costs, null where undefined.

    auc (of pairs within folds), gain (net less hold): with _low to _high, the 95 % interval, and
    _lowest, _highest, the one-sided 99 % bounds. net, hold: mean per bar, a fraction. sharpe:
    annual. superiority: p of "nothing tried here has an alpha over holding". verdict: that of the
    market by itself. outstanding: whether it stands out though so many were tried.
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
    sharpe: float | None
    hold_sharpe: float | None
    trades: int
    superiority: float | None
    verdict: Word
    outstanding: bool


class PooledEquityRow(Entry):
    """equity.csv of a universe.

    The growth of 1 in equal parts of all markets that decide at a bar, by decision.
    """

    date: str
    strategy: float
    buy_and_hold: float


# The rows of each table in a market's folder. importance.csv has a row for each group of features
# and a column for each fold: how much the log loss on validation grows without the group.
TABLES: dict[str, type[Entry]] = {
    "folds.csv": FoldRow,
    "equity.csv": EquityRow,
    "months.csv": MonthRow,
    "years.csv": YearRow,
    "distribution.csv": DistributionRow,
    "trades.csv": TradeRow,
    "predictions.csv": PredictionRow,
    "members.csv": MemberRow,
    "architectures.csv": ArchitectureRow,
}
# The rows of each table of a universe.
UNIVERSE_TABLES: dict[str, type[Entry]] = {"markets.csv": MarketRow, "equity.csv": PooledEquityRow}


class VerdictRecord(Entry):
    """The verdict: its word, and the sentence with the numbers that decided it."""

    word: Word
    sentence: str


class DataRecord(Entry):
    """What the bars are. sha256: over timestamps and values, the same for the same bars."""

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
    """How far the members of a fold's model lie apart in AUC: of each by itself.

    together: of their mean logit.
    """

    fold: str
    count: int
    mean: float | None
    std: float | None
    min: float | None
    max: float | None
    together: float | None


class AccountRecord(Entry):
    """What an account did, and that of buy-and-hold (all held, in a universe)."""

    strategy: AccountFigures
    hold: AccountFigures


class Summary(Entry):
    """summary.json. version: raised when an entry changes its name or meaning.

    account, trading: of the account by close, and of its round trips. refused: what the strategy
    did not decide, order or get filled, by reason, with counts.
    best_possible: scores of the best forecast there is, on a planted market; share_found: (AUC -
    .5) / (its AUC - .5). spread: of the members of each fold's model, empty where it has but one.
    overfitting: of the ledger's trials that count beside this run; it does not decide the verdict.
    registration: null where the run was not registered before its test bars were touched. search:
    null where the settings were given, rather than searched for.
    calibration: null for too few forecasts. importance: by group of features, how much the log loss
    on validation grows without it, the mean over folds. versions: of the libraries, and the
    processor's instructions. mixed_machines: whether the folds were trained with different ones;
    then the same command may give other bits elsewhere.
    """

    version: Literal[3]
    verdict: VerdictRecord
    data: DataRecord
    settings: SettingsRecord
    total: FoldRow
    account: AccountRecord
    trading: TradeFigures
    refused: dict[str, int]
    best_possible: Scores | None
    share_found: float | None
    folds: list[FoldRow]
    spread: list[SpreadRow]
    evidence: Evidence
    overfitting: Overfitting
    registration: Registration | None
    search: Searched | None
    calibration: Reliability | None
    importance: dict[str, float]
    versions: dict[str, str]
    mixed_machines: bool


class FailedRecord(Entry):
    """A fold that could not be trained, and why; its market is in no table and no test."""

    fold: str
    reason: str


class LeftOutRecord(Entry):
    """A file that could not be used and was left out on request."""

    file: str
    reason: str


class PooledRow(Entry):
    """One architecture over all markets. alpha and its 99 % bounds: a year, fractions.

    correlation: of two markets' gains, in the mean.
    """

    architecture: str
    verdict: Word
    alpha: float
    alpha_lowest: float
    alpha_highest: float
    auc: float | None
    net: float
    sharpe: float
    correlation: float | None


class Universe(Entry):
    """universe.json. version: raised when an entry changes its name or meaning.

    settings: of every market's walk. architectures: all that were trained; the figures here are
    those of the first, the others' lie in the markets' folders. portfolio: of all markets in equal
    parts, by decision. pooled: of each architecture what decides, where there are several.
    """

    version: Literal[2]
    verdict: VerdictRecord
    settings: SettingsRecord
    architectures: list[str]
    markets: list[MarketRow]
    failed: list[FailedRecord]
    left_out: list[LeftOutRecord]
    evidence: Pool
    portfolio: AccountRecord
    pooled: list[PooledRow]
    versions: dict[str, str]
    mixed_machines: bool


class ReturnsRecord(Entry):
    """The returns that are judged.

    name: of the strategy's class, or of the file. instruments: those that were traded, none where a
    file does not say. returns: how many. start: from when the first counts; first, last: when those
    ended.
    """

    name: str
    instruments: list[str]
    returns: int
    start: str
    first: str
    last: str
    bar_interval: str
    bars_per_year: float


class TotalRecord(Entry):
    """What returns came to in all. sharpe: annual, null where they do not vary.

    return_a_year: null where it passes every number. longest_under_water: returns in the longest
    time below the highest value so far.
    """

    gain: float = msgspec.field(name="return")
    return_a_year: float | None
    volatility: float
    sharpe: float | None
    max_drawdown: float
    longest_under_water: int


class StrategyTotal(TotalRecord):
    """The strategy. exposure: share of bars with a position, null where that is not known."""

    exposure: float | None


class BenchmarkTotal(TotalRecord):
    """What it is held against, by its name."""

    name: str


class ReturnsYearRow(Entry):
    """What strategy and benchmark gained in a calendar year, of which a part counts as that."""

    year: int
    gain: float = msgspec.field(name="return")
    benchmark_return: float


class EvidenceFile(Entry):
    """evidence.json: any strategy's. version: raised when an entry changes its name or meaning.

    Returns are net, by bar, time-weighted around what was paid in and out. not_looked_at: what the
    verdict knows nothing of. evidence: as of summary.json, without what needs forecasts.
    """

    version: Literal[1]
    verdict: VerdictRecord
    not_looked_at: list[str]
    record: ReturnsRecord
    strategy: StrategyTotal
    benchmark: BenchmarkTotal
    years: list[ReturnsYearRow]
    evidence: Figures
    versions: dict[str, str]
