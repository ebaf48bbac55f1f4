"""What a row of each table of CSV holds, as types.

The document of these formats, and what a test checks every file against.
"""

from typing import Literal

import msgspec

from backtests.evidence.alpha import Figures
from backtests.evidence.calibration import Reliability
from backtests.evidence.evidence import Evidence
from backtests.evidence.overfitting import Overfitting
from backtests.evidence.pooled import Pool
from backtests.evidence.verdict import Word
from backtests.simulation.account import Account, Costs
from backtests.walk_forward.folds import FoldPlan
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


class Summary(Entry):
    """summary.json. version: raised when an entry changes its name or meaning.

    refused: what the strategy did not decide, order or get filled, by reason, with counts.
    best_possible: scores of the best forecast there is, on a planted market; share_found: (AUC -
    .5) / (its AUC - .5). spread: of the members of each fold's model, empty where it has but one.
    overfitting: of the ledger's trials that count beside this run; it does not decide the verdict.
    calibration: null for too few forecasts. importance: by group of features, how much the log loss
    on validation grows without it, the mean over folds. versions: of the libraries, and the
    processor's instructions. mixed_machines: whether the folds were trained with different ones;
    then the same command may give other bits elsewhere.
    """

    version: Literal[2]
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
    overfitting: Overfitting
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


class Universe(Entry):
    """universe.json. version: raised when an entry changes its name or meaning.

    settings: of every market's walk. architectures: all that were trained; the figures here are
    those of the first, the others' lie in the markets' folders.
    """

    version: Literal[2]
    verdict: VerdictRecord
    settings: SettingsRecord
    architectures: list[str]
    markets: list[MarketRow]
    failed: list[FailedRecord]
    left_out: list[LeftOutRecord]
    evidence: Pool
    versions: dict[str, str]
    mixed_machines: bool


class PooledFoldRow(Entry):
    """One fold of one network for a universe, or all as fold "total": also a row of its folds.csv.

    model: the checkpoint's file, "no model", or "" in total. instruments: that it learnt from.
    enter, exit: the thresholds in force, null where forecasts are traded by rank. dates, forecasts:
    how many are judged. auc: of pairs of one date; ic: the mean rank correlation of a date between
    forecast and next move. gross, net: of the book, mean per bar, a fraction.
    """

    fold: str
    model: str
    instruments: int
    enter: float | None
    exit: float | None
    first_decision: str | None
    last_decision: str | None
    dates: int
    forecasts: int
    auc: float | None
    ic: float | None
    gross: float | None
    net: float | None


class ForecasterRow(Entry):
    """One that forecasts a universe, the strategy first: also a row of forecasters.csv.

    Others are the run's other architectures, cheap learners of all instruments together, the best
    possible forecast of a planted market, and the rules reversal and momentum, on the same dates.

    auc (of pairs of one date), ic (information coefficient: mean rank correlation of a date): with
    _low and _high, the 95 % interval; ic_t: by blocks of dates. gross, net: of its book, mean per
    bar, a fraction; gross_sharpe, sharpe: annual; turnover: share of the money that changes hands
    per bar; break_even: the cost per side, in basis points, that eats all. auc_less, ic_less: the
    strategy's less this one's, over what both forecast. loss_statistic, loss_p: Diebold and
    Mariano's of the mean log loss of a date against this one's, below 0 where the strategy's is
    lower; in the strategy's row against one half. Null where undefined.
    """

    forecaster: str
    dates: int
    forecasts: int
    auc: float | None
    auc_low: float | None
    auc_high: float | None
    ic: float | None
    ic_low: float | None
    ic_high: float | None
    ic_t: float | None
    gross: float
    net: float
    gross_sharpe: float | None
    sharpe: float | None
    turnover: float
    break_even: float | None
    auc_less: float | None
    auc_less_low: float | None
    auc_less_high: float | None
    ic_less: float | None
    ic_less_low: float | None
    ic_less_high: float | None
    loss_statistic: float | None
    loss_p: float | None


class DecayRow(Entry):
    """decay.csv: the rank correlation of a forecast with the move over so many bars.

    The move is from the next open; with the 95 % interval.
    """

    forecaster: str
    bars: int
    ic: float | None
    ic_low: float | None
    ic_high: float | None


class TenthRow(Entry):
    """tenths.csv: what names earned on the next bar by the tenth of rank in which they stood.

    1 is the tenth with the lowest forecasts. dates: on which any name stood there. move: mean, a
    fraction; excess: less the mean of all names ranked on the date.
    """

    forecaster: str
    tenth: int
    dates: int
    move: float | None
    excess: float | None


class ForecasterYearRow(Entry):
    """years.csv of one network for a universe: the figures of a forecaster in a calendar year."""

    forecaster: str
    year: int
    dates: int
    auc: float | None
    ic: float | None
    gross: float
    net: float
    gross_sharpe: float | None
    sharpe: float | None


class BookEquityRow(Entry):
    """equity.csv of one network for a universe: the growth of 1 after each date, by decision.

    strategy: its paper book after costs; before_costs: the same without; benchmark: cash, or all
    instruments held.
    """

    date: str
    strategy: float
    before_costs: float
    benchmark: float


class PooledPredictionRow(Entry):
    """predictions.csv of one network for a universe: a decision about an instrument.

    probability: of up, or of more than the median of the others; label: what came, missing where it
    is not known or nothing moved; move: from the next open to the one after, a fraction.
    """

    decided_at: str
    instrument: str
    fold: int
    probability: float
    label: float | None
    move: float | None


# The rows of each table of one network for a universe.
POOLED_TABLES: dict[str, type[Entry]] = {
    "folds.csv": PooledFoldRow,
    "forecasters.csv": ForecasterRow,
    "decay.csv": DecayRow,
    "tenths.csv": TenthRow,
    "years.csv": ForecasterYearRow,
    "equity.csv": BookEquityRow,
    "predictions.csv": PooledPredictionRow,
}


class UniverseDataRecord(Entry):
    """What the bars of a universe are. instruments: by name, the SHA-256 of each one's bars."""

    bars: int
    first: str
    last: str
    bar_interval: str
    instruments: dict[str, str]


class HalvesRecord(Entry):
    """The strategy's mean rank correlation in the earlier half of the dates and in the later."""

    earlier: float | None
    later: float | None


class Pooled(Entry):
    """pooled.json. version: raised when an entry changes its name or meaning.

    verdict: at the stated cost; verdict_at_no_cost: what would be said if trading cost nothing;
    evidence, evidence_at_no_cost: the figures of each. architectures: all that were trained, the
    one first whose figures stand here. share_found: (AUC - .5) / (that of the best possible - .5),
    on a planted market. unknown_moves: forecasts of a move that never came, before an instrument's
    end, which count as 0.
    """

    version: Literal[1]
    verdict: VerdictRecord
    verdict_at_no_cost: VerdictRecord
    data: UniverseDataRecord
    settings: SettingsRecord
    architectures: list[str]
    left_out: list[LeftOutRecord]
    total: PooledFoldRow
    folds: list[PooledFoldRow]
    forecasters: list[ForecasterRow]
    decay: list[DecayRow]
    tenths: list[TenthRow]
    years: list[ForecasterYearRow]
    halves: HalvesRecord
    share_found: float | None
    unknown_moves: int
    evidence: Figures
    evidence_at_no_cost: Figures
    versions: dict[str, str]
    mixed_machines: bool
