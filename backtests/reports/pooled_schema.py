"""What a row of each table of one network for a universe holds, as types, and its pooled.json."""

from typing import Literal

from backtests.evidence.account_figures import TradeFigures
from backtests.evidence.alpha import Figures
from backtests.evidence.book_figures import BookFigures
from backtests.evidence.evidence import SharpeFigures
from backtests.evidence.overfitting import Overfitting
from backtests.reports.schema import (
    AccountRecord,
    Entry,
    LeftOutRecord,
    SettingsRecord,
    TradeRow,
    VerdictRecord,
)
from backtests.simulation.account import BookSettings
from backtests.walk_forward.registration import Registration


class PooledFoldRow(Entry):
    """One fold of one network for a universe, or all as fold "total": also a row of its folds.csv.

    model: the checkpoint's file, "no model", or "" in total. instruments: that it learnt from.
    enter, exit: the thresholds in force, null where forecasts are traded by rank. dates, forecasts:
    how many are judged. auc: of pairs of one date; ic: the mean rank correlation of a date between
    forecast and next move. gross, net: of the paper book, mean per bar, a fraction.
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
    _low and _high, the 95 % interval; ic_t: by blocks of dates. gross, net: of its paper book, mean
    per bar, a fraction; gross_sharpe, sharpe: annual; turnover: share of the money that changes
    hands per bar; break_even: the cost per side, in basis points, that eats all. auc_less, ic_less:
    the strategy's less this one's, over what both forecast; ic_together_less: the ic of "mean of
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


class ThirdRow(Entry):
    """thirds.csv: the strategy in a third of the dates by itself, and what would be said of it.

    No row where a third has fewer than 40 dates. auc, ic with its interval and t, the Sharpe ratios
    of the paper book: as of forecasters.csv. verdict_at_no_cost, verdict: the words, of the paper
    book.
    """

    third: int
    first_decision: str
    last_decision: str
    dates: int
    auc: float | None
    ic: float | None
    ic_low: float | None
    ic_high: float | None
    ic_t: float | None
    gross_sharpe: float | None
    sharpe: float | None
    verdict_at_no_cost: str
    verdict: str


class BookEquityRow(Entry):
    """equity.csv of one network for a universe: the growth of 1 at each date.

    strategy: after costs; before_costs: the same without; benchmark: cash, or all instruments held.
    Where names are ranked, of the account at the date's close; else of the paper book by decision.
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


class BookDayRow(Entry):
    """book.csv: the account that trades a book at a date's close, from the first decision on.

    All but equity are fractions of the equity at the date before. gross: gained at quotes; costs:
    commission, spread and slippage; borrow: interest on shorts; net: gross less both. turnover:
    bought and sold. owed: the shorts' value at entry, times the years since the date before. long,
    short: exposure over this close's equity. universe: what all names in equal parts gained.
    """

    date: str
    equity: float
    gross: float
    costs: float
    borrow: float
    net: float
    turnover: float
    owed: float
    long: float
    short: float
    universe: float


class CostGridRow(Entry):
    """costs.csv: what the account's positions would have earned at other costs.

    cost: basis points per side; borrow: a year, a fraction; charged: whether these are the run's
    own. net: mean per bar, a fraction; sharpe: annual. Borrow is counted for the time held, where
    Backtrader takes it at the end of each day, and a settlement as a trade at full cost, where the
    broker takes the commission alone: so the charged row may lie a little off the account's net.
    """

    cost: float
    borrow: float
    charged: bool
    net: float
    sharpe: float | None


class NameRow(Entry):
    """names.csv: what a name earned in all, in money, that which earned most first.

    costs: interest among them. long, short: net of either side.
    """

    instrument: str
    trades: int
    gross: float
    costs: float
    net: float
    long: float
    short: float


class PositionRow(Entry):
    """positions.csv: a name held at a date's close.

    units: below 0 for a short; close: the last there was; weight: of the equity.
    """

    date: str
    instrument: str
    units: float
    close: float
    weight: float


class BookTradeRow(TradeRow):
    """trades.csv of a book: a round trip of a name, in the order of opening.

    decided_at: the date before it was opened; bars: dates it was held for; costs: interest among
    them. One still open is valued at its name's last close.
    """

    instrument: str


class WeightRow(Entry):
    """weights.csv: a name to which a ranking gave a weight.

    decided_at: the ranking's date. probability: that it was ranked by. weight: of the equity, below
    0 for a short; it is traded at the next open.
    """

    decided_at: str
    instrument: str
    probability: float
    weight: float


# The rows of the tables of an account that trades a book.
BOOK_TABLES: dict[str, type[Entry]] = {
    "book.csv": BookDayRow,
    "costs.csv": CostGridRow,
    "names.csv": NameRow,
    "positions.csv": PositionRow,
    "trades.csv": BookTradeRow,
    "weights.csv": WeightRow,
}

# The rows of each table of one network for a universe. importance.csv has a row for each group of
# features and a column for each fold: how much the log loss on validation grows without the group.
POOLED_TABLES: dict[str, type[Entry]] = {
    "folds.csv": PooledFoldRow,
    "forecasters.csv": ForecasterRow,
    "decay.csv": DecayRow,
    "tenths.csv": TenthRow,
    "years.csv": ForecasterYearRow,
    "thirds.csv": ThirdRow,
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


class PooledSettingsRecord(SettingsRecord):
    """All that decides the run. book: there where names are ranked."""

    book: BookSettings | None = None


class BookChoiceRecord(Entry):
    """How long a fold's book holds. net: mean per bar on validation, null where none was chosen."""

    keep: float
    rebalance: int
    net: float | None


class BookRecord(Entry):
    """The account that trades a book.

    account: by close, beside all names of the universe in equal parts. figures: what it earned,
    paid and held. folds: what was chosen for each. costs: the rows of costs.csv. refused: by
    instrument what was not ranked, ordered or filled, by reason, with counts.
    """

    account: AccountRecord
    trading: TradeFigures
    figures: BookFigures
    folds: list[BookChoiceRecord]
    costs: list[CostGridRow]
    refused: dict[str, dict[str, int]]


class HalvesRecord(Entry):
    """The strategy's mean rank correlation in the earlier half of the dates and in the later."""

    earlier: float | None
    later: float | None


class Pooled(Entry):
    """pooled.json. version: raised when an entry changes its name or meaning.

    verdict: at the stated cost, of the account where names are ranked; verdict_at_no_cost: what
    would be said of the paper book if trading cost nothing; evidence, evidence_at_no_cost: the
    figures of each. book: null where no names are ranked. architectures: all that were trained, the
    one first whose figures stand here. share_found: (AUC - .5) / (that of the best possible - .5),
    on a planted market. unknown_moves: forecasts of a move that never came, before an instrument's
    end, which count as 0. sharpe: of the paper book at the stated cost, null where nothing varies;
    overfitting: of the ledger's trials that count beside this run, which decides no verdict;
    registration: null where the run was not registered before its test bars were touched.
    importance: by group of features, the mean growth of the log loss on validation without it.
    """

    version: Literal[2]
    verdict: VerdictRecord
    verdict_at_no_cost: VerdictRecord
    data: UniverseDataRecord
    settings: PooledSettingsRecord
    architectures: list[str]
    left_out: list[LeftOutRecord]
    total: PooledFoldRow
    folds: list[PooledFoldRow]
    forecasters: list[ForecasterRow]
    decay: list[DecayRow]
    tenths: list[TenthRow]
    years: list[ForecasterYearRow]
    thirds: list[ThirdRow]
    halves: HalvesRecord
    book: BookRecord | None
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
