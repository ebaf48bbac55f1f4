"""What a row of each table of one network for a universe holds, as types, and its pooled.json."""

from typing import Literal

from backtests.evidence.alpha import Figures
from backtests.evidence.evidence import SharpeFigures
from backtests.evidence.overfitting import Overfitting
from backtests.reports.schema import Entry, LeftOutRecord, SettingsRecord, VerdictRecord
from backtests.walk_forward.registration import Registration


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
    possible forecast of a planted market, "mean of ranks", of those that the strategy and boosting
    give a name on a date, and the rules reversal and momentum, on the same dates.

    auc (of pairs of one date), ic (information coefficient: mean rank correlation of a date): with
    _low and _high, the 95 % interval; ic_t: by blocks of dates. gross, net: of its book, mean per
    bar, a fraction; gross_sharpe, sharpe: annual; turnover: share of the money that changes hands
    per bar; break_even: the cost per side, in basis points, that eats all. auc_less, ic_less: the
    strategy's less this one's, over what both forecast; ic_together_less: the ic of "mean of
    ranks" less this one's; _t: by blocks of dates. loss_statistic, loss_p: Diebold and
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
    ic_less_t: float | None
    ic_together_less: float | None
    ic_together_less_low: float | None
    ic_together_less_high: float | None
    ic_together_less_t: float | None
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


# The rows of each table of one network for a universe. importance.csv has a row for each group of
# features and a column for each fold: how much the log loss on validation grows without the group.
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
    end, which count as 0. sharpe: of the book at the stated cost, null where nothing varies;
    overfitting: of the ledger's trials that count beside this run, which decides no verdict;
    registration: null where the run was not registered before its test bars were touched.
    importance: by group of features, the mean growth of the log loss on validation without it.
    """

    version: Literal[2]
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
    sharpe: SharpeFigures | None
    overfitting: Overfitting
    registration: Registration | None
    importance: dict[str, float]
    versions: dict[str, str]
    mixed_machines: bool
