"""The verdict: one of four words, by a fixed rule, with the numbers that decided it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from backtests.evidence.alpha import CHANCE, NOTHING_LEFT, Figures
from model.bars.faults import count

if TYPE_CHECKING:
    from backtests.evidence.evidence import Evidence
    from backtests.evidence.pooled import Pool

Word = Literal["edge", "worse", "no edge", "cannot tell"]
EDGE: Final = "edge"
WORSE: Final = "worse"
NO_EDGE: Final = "no edge"
CANNOT_TELL: Final = "cannot tell"

NET: Final = "net of costs"
NO_COST: Final = "at no cost"

SIGNIFICANT = 0.05  # a p-value below this is
MOST_NAMES = 5  # of instruments that stand out, in one sentence

RULE = (
    "Alpha is what the strategy earns, net of costs, beside beta times its benchmark: a regression "
    "of its returns on those of the benchmark gives both. AUC is the chance that of two moves of "
    "one fold the one up was given the higher probability: .5 is a coin toss. In this order: "
    f'"{WORSE}" if the 99 % upper bounds of alpha and of the gain on the benchmark lie below 0; '
    f'"{EDGE}" if the 99 % lower bound of alpha lies above 0, that of AUC above {CHANCE}, that of '
    "the timing's gain with fills at the close decided at above 0, and Hansen's test has "
    f'p < {SIGNIFICANT}; "{NO_EDGE}" if the 99 % upper bound of alpha lies below the alpha worth '
    f"having, or that of AUC below {NOTHING_LEFT}, by convention a forecast that pays no costs; "
    f'else "{CANNOT_TELL}". Hansen\'s test (2005) asks whether anything tried here has an alpha '
    "by more than the luck of having tried several. Where the bars say that "
    f'nobody traded them so, it is never "{EDGE}". All bounds are one-sided and from the same '
    "stationary bootstrap."
)
POOL_RULE = (
    f"{RULE} Here returns are those of all markets in equal parts, pairs are of one market and "
    "fold, whole dates are drawn, and the test takes in everything tried on any market; it is not "
    f'"{NO_EDGE}" where a single market stands out.'
)
BOOK_RULE = (
    f"{RULE} Here a return is that of a paper book over all instruments at a date, long the fifth "
    "with the best forecast and short the worst, in equal weights that sum to one, beside cash; "
    "pairs are of one date, whole dates are drawn, and the test takes in the paper books of all "
    "that forecast."
)
ACCOUNT_RULE = (
    f"{RULE} Here a return is that of the account from one date's close to the next, beside cash "
    "where the book is long and short, else beside all instruments in equal parts; the timing is "
    "that of its weights; pairs are of one date, whole dates are drawn, and the test takes in the "
    "paper books of all others that forecast."
)
PARTS_RULE = (
    f"{RULE} Here returns are those of all instruments in equal parts, forecast by one network, "
    "the benchmark is all of them held, pairs are of one fold, and whole dates are drawn."
)
RETURNS_RULE = (
    f"{RULE} Here a return is that of a bar, whoever decided it. There is no forecast, so that AUC "
    "has no part; fills at the close have one where all orders were market orders, decided at a "
    "close; and Hansen's test knows of this one strategy alone, however many were tried before it. "
    f'Without a benchmark it is never "{EDGE}".'
)


@dataclass(frozen=True)
class Verdict:
    """The word, the numbers that decided it, and the rule by which they did."""

    word: Word
    reasons: str
    rule: str = RULE

    @property
    def sentence(self) -> str:
        """Word and reasons in one."""
        return f"{self.word}: {self.reasons}"


def judge(evidence: "Evidence") -> Verdict:
    """Return the verdict on one instrument, by `RULE`."""
    reasons = [
        _reasons(evidence, "buy-and-hold"),
        _fill_words(evidence),
        _spread_words(evidence),
        _power_words(evidence),
    ]
    return Verdict(word_of(evidence), _flag_words(evidence) + " ".join(filter(None, reasons)))


def judge_returns(figures: Figures, benchmark: str, unseen: Sequence[str]) -> Verdict:
    """Return the verdict on any strategy's returns, by `RETURNS_RULE`.

    benchmark: its name. unseen: what could not be looked at, in words.
    """
    reasons = f"{_reasons(figures, benchmark)} {_power_words(figures)}"
    reasons += f" Not looked at: {'; '.join(unseen)}."
    return Verdict(word_of(figures), _flag_words(figures) + reasons, RETURNS_RULE)


def judge_pool(pool: "Pool") -> Verdict:
    """Return the one verdict on a universe, by `POOL_RULE`.

    Where a single instrument stands out it cannot be "no edge": the mean may hide it.
    """
    word = word_of(pool)
    if word == NO_EDGE and pool.outstanding:
        word = CANNOT_TELL
    reasons = [
        _reasons(pool, "holding all"),
        _fill_words(pool),
        f"{_outstanding_words(pool.outstanding)} of {count(pool.markets, 'market')}.",
        _power_words(pool),
    ]
    if pool.correlation is not None:
        reasons.append(
            f"The markets' gains correlate by {pool.correlation:z.2f}: the {pool.forecasts:,} "
            f"decisions are worth {pool.independent:,.0f} independent ones."
        )
    return Verdict(word, _flag_words(pool) + " ".join(filter(None, reasons)), POOL_RULE)


def judge_book(figures: Figures, ranked: bool, costs: str = NET) -> Verdict:
    """Return the verdict on one network's forecasts of a universe, of its paper books.

    ranked: whether names are traded by rank beside cash, by `BOOK_RULE`, or each in its direction
    and in equal parts beside all held, by `PARTS_RULE`. costs: which are counted, in words.
    """
    benchmark, within = ("cash", "dates") if ranked else ("holding all", "folds")
    rule = BOOK_RULE if ranked else PARTS_RULE
    return _judge_dates(figures, benchmark, within, costs, rule)


def judge_account(figures: Figures, benchmark: str) -> Verdict:
    """Return the verdict on the account that trades a book, net of costs, by `ACCOUNT_RULE`.

    benchmark: its name.
    """
    return _judge_dates(figures, benchmark, "dates", NET, ACCOUNT_RULE)


def _judge_dates(figures: Figures, benchmark: str, within: str, costs: str, rule: str) -> Verdict:
    reasons = (
        _reasons(figures, benchmark, within=within, costs=costs),
        _fill_words(figures),
        _power_words(figures),
    )
    return Verdict(word_of(figures), _flag_words(figures) + " ".join(filter(None, reasons)), rule)


def word_of(figures: Figures) -> Word:
    """Return the word by `RULE`."""
    # Where bars were hardly traded so, and that is not accepted by name, nothing can be told.
    if any(not flag["identity"] and not flag["accepted"] for flag in figures.flags):
        return CANNOT_TELL
    alpha, gain = figures.intervals["alpha"], figures.intervals["gain"]
    auc = figures.intervals.get("auc")
    # Both: beside its own exposure and beside the benchmark it surely loses.
    if alpha.highest < 0 and gain.highest < 0:
        return WORSE
    if not missing(figures):
        # Bars that nobody can have traded so may be accepted; an edge on them is none.
        return CANNOT_TELL if any(flag["identity"] for flag in figures.flags) else EDGE
    # "No edge" is a finding, too: the data must have been able to show one worth having.
    worthless = alpha.highest < figures.worth
    return NO_EDGE if worthless or (auc and auc.highest < NOTHING_LEFT) else CANNOT_TELL


def _flag_words(figures: Figures) -> str:
    """Return what the bars say against themselves, in front of all else."""
    sentences = [flag["sentence"] for flag in figures.flags[:MOST_NAMES]]
    more = len(figures.flags) - len(sentences)
    return "".join(f"{sentence} " for sentence in sentences) + (
        f"So do {more} more. " if more > 0 else ""
    )


def missing(figures: Figures) -> list[str]:
    """Return in words what "edge" still needs: nothing where all of it is there.

    All are asked for, since each alone is easily met: skill that costs eat, a gain by mere
    exposure, fills that nobody could have had, and the best of many tries.
    """
    bounds = (
        ("alpha", 0.0, "alpha's 99 % lower bound above 0"),
        ("auc", CHANCE, f"AUC's 99 % lower bound above {CHANCE}"),
        ("timing at close", 0.0, "a gain of the timing with fills at the close decided at"),
    )
    words = [
        text
        for name, least, text in bounds
        if name in figures.intervals and not figures.intervals[name].lowest > least
    ]
    p = figures.superiority
    if p is None or p >= SIGNIFICANT:
        words.append(f"Hansen's test with p below {SIGNIFICANT}")
    return words


def _reasons(figures: Figures, benchmark: str, *, within: str = "folds", costs: str = NET) -> str:
    """Return the numbers that decide, and what "edge" still needs.

    within: of what both forecasts of a pair of the AUC are.
    """
    intervals, years = figures.intervals, figures.periods_per_year
    alpha, gain, beta = intervals["alpha"], intervals["gain"], intervals["beta"]
    words = [
        f"alpha {years * alpha.value:+.1%} a year over {benchmark} (beta {beta.value:.2f}), "
        f"99 % bounds {years * alpha.lowest:+.1%} and {years * alpha.highest:+.1%}"
    ]
    if alpha.highest < figures.worth:
        words[0] += f", less than the {years * figures.worth:.1%} that is worth having"
    if auc := intervals.get("auc"):
        words.append(
            f"AUC {auc.value:.3f} within {within}, "
            f"99 % bounds {auc.lowest:.3f} and {auc.highest:.3f}"
        )
        if auc.highest < NOTHING_LEFT:
            words[-1] += f", less than the {NOTHING_LEFT} below which a forecast pays no costs"
    p = figures.superiority
    words.append(f"Hansen's test {'has no series to test' if p is None else f'p {p_words(p)}'}")
    words.append(
        f"{costs} {1e4 * gain.value:+.2f} bp per bar against {benchmark}, 99 % bounds "
        f"{1e4 * gain.lowest:+.2f} and {1e4 * gain.highest:+.2f}"
    )
    needed = missing(figures)
    ending = f' For "{EDGE}" it lacks {"; ".join(needed)}.' if needed else ""
    return "; ".join(words) + "." + ending


def _fill_words(figures: Figures) -> str:
    """Return what the timing gains, before costs, by where its orders fill."""
    fills = (("open", "at the open"), ("middle", "at the middle of the next bar's range"))
    known = [
        (words, figures.intervals[f"timing at {fill}"])
        for fill, words in (*fills, ("later", "one bar later"))
        if f"timing at {fill}" in figures.intervals
    ]
    if len(known) < 3:
        return ""
    gains = ", ".join(f"{1e4 * found.value:+.2f} {words}" for words, found in known)
    (_, opened), (_, middle), _ = known
    # The open is one price of a moment: what is earned there alone may not be had.
    only = opened.lowest > 0 and not middle.lowest > 0
    ending = ": at the open's own price only" if only else ""
    return f"Its timing gains, in bp per bar before costs, {gains}{ending}."


def _spread_words(evidence: "Evidence") -> str:
    """Return what the prices imply that a side costs, where that is more than is charged."""
    implied = evidence.intervals.get("implied cost")
    # Only where the prices surely imply more: an estimate of costs is rough.
    if implied is None or 1e4 * implied.lowest <= evidence.charged:
        return ""
    even = evidence.break_even
    # Of what loses before costs, no cost eats all.
    words = f", {even:.1f} would eat all" if even is not None and even > 0 else ""
    return (
        f"The prices imply at least {1e4 * implied.lowest:.1f} bp a side, "
        f"{evidence.charged:g} are charged{words}."
    )


def _power_words(figures: Figures) -> str:
    """Return what so many decisions could have shown."""
    power, years = figures.power, figures.periods_per_year
    if power.alpha is None:
        # No alpha varies where nothing was held, and where the benchmark was, in whatever part.
        held = figures.intervals["beta"].value
        does = "holds its benchmark" if held else "took a position"
        return f"{figures.decisions:,} decisions, {'each' if held else 'none'} of which {does}."
    shown = f"an alpha of {years * power.alpha:.1%} a year"
    if power.auc is not None:
        shown += f" and an AUC of {power.auc:.3f}"
    words = f"{figures.decisions:,} decisions show {shown} with 80 % power"
    estimate = power.decisions_for_alpha
    if estimate is None:
        words += "; no number would show the alpha found, which is not above 0"
    else:
        words += f"; the alpha found would take {estimate:,}"
    if power.decisions_for_auc is not None:
        words += f"; an AUC of {NOTHING_LEFT} would take {power.decisions_for_auc:,}"
    return words + "."


def p_words(p: float) -> str:
    """Return a p-value as no reader is misled by it: none is 0."""
    return f"= {p:.3f}" if p >= 0.0005 else "< 0.001"


def _outstanding_words(names: list[str]) -> str:
    """Name the instruments that stand out: the first few, and how many more."""
    if not names:
        return "None stands out"
    # Hundreds of names are no sentence.
    more = len(names) - MOST_NAMES
    listed = ", ".join(names[:MOST_NAMES])
    others = f" and {more} more" if more > 0 else ""
    return f"{listed}{others} {'stands' if len(names) == 1 else 'stand'} out"
