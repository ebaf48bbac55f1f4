"""The figures that decide: alpha over a benchmark, the gain on it, the AUC, and their power.

They are the same for a model's decisions, for a universe's, and for any series of returns: a track
record is all they need.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from backtests.evidence.bootstrap import (
    NOUGHT,
    RESAMPLES,
    Area,
    Array,
    Bootstrap,
    Interval,
    block_length,
    interval,
    means_of,
)
from backtests.evidence.hypothesis_tests import (
    Superiority,
    in_own_deviations,
    outstanding,
    superiority,
)
from backtests.simulation.account import WORTH as WORTH
from model.bars.artefacts import FlagRecord

HOLD = "buy-and-hold"  # also the name of its row in every table and file
CHANCE = 0.5  # the AUC of a coin toss
NOTHING_LEFT = 0.52  # below it, by convention, a forecast pays no costs
POWER = 0.8  # the chance of "edge" that an effect must have to count as one that shows


@dataclass(frozen=True, eq=False)
class TrackRecord:
    """Net returns beside those of a benchmark, in time order, and what else was tried.

    Parameters
    ----------
    returns, benchmark
        (n,), per decision or bar, as fractions.
    periods_per_year
        How many of them a year has.
    tried
        By name, the returns of everything tried on these dates, and those of its own benchmark:
        (n,), (n,). This record's own are among them.
    others
        By name, the returns with which these are compared: (n,).
    timing
        By fill, (position - its mean) times (move - its mean): (n,). Their mean is what the timing
        alone gains, before costs.
    forecasts
        Their area under the ROC curve; None where there are none.
    moves
        What holding earns, by which the spread that the prices imply is estimated: (n,), or empty.
    hits
        Whether the forecast named the direction, 1 or 0, NaN where there was none: (n,), or empty.
    compared
        By name, the areas of these forecasts and of others, over what both forecast.
    horizon
        Rows over which an outcome reaches.
    flags
        What the bars say against themselves.
    """

    returns: Array
    benchmark: Array
    periods_per_year: float
    tried: Mapping[str, tuple[Array, Array]]
    others: Mapping[str, Array] = field(default_factory=dict)
    timing: Mapping[str, Array] = field(default_factory=dict)
    forecasts: Area | None = None
    moves: Array = field(default_factory=lambda: np.empty(0))
    hits: Array = field(default_factory=lambda: np.empty(0))
    compared: Mapping[str, tuple[Area, Area]] = field(default_factory=dict)
    horizon: int = 1
    flags: Sequence[FlagRecord] = ()


@dataclass(frozen=True)
class Power:
    """What a record of this length could have shown, by the bootstrap's own spread.

    Alphas are per decision, fractions. None where nothing varies, or there is no forecast.

    Parameters
    ----------
    alpha, auc
        The smallest that the whole rule calls an edge in 80 of 100 such records, where every part
        of it is equally strong in units of its own error.
    alpha_alone, test_alone, auc_alone
        The smallest alpha that its bound shows, that Hansen's test shows, and the smallest AUC,
        each by itself.
    decisions_for_alpha, decisions_for_auc
        How many decisions the alpha found, and an AUC of .52, would need; None for an alpha that
        is not above 0: no number would do.
    """

    alpha: float | None
    auc: float | None
    alpha_alone: float | None
    test_alone: float | None
    auc_alone: float | None
    decisions_for_alpha: int | None
    decisions_for_auc: int | None


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The figures on chance by which a verdict is given. Means are per decision, fractions.

    Parameters
    ----------
    decisions
        How many, or of a universe at how many bars any was made.
    periods_per_year
        How many of them a year has.
    block
        Mean length of the bootstrap's blocks, in decisions.
    intervals
        By name: "alpha" and "beta" over the benchmark, "gain" (the mean less the benchmark's),
        "mean", "sharpe" and "sharpe less benchmark" (annual); "auc" and "accuracy" where there are
        forecasts; "timing at FILL"; "implied cost" (per side, a fraction); "less NAME" and "auc
        less NAME" of what is compared.
    superiority, superiority_to_cash
        p of Hansen's test: nothing tried has an alpha, nothing tried earns anything; None where
        nothing varies.
    worth
        The alpha worth having, per decision.
    power
        What so many decisions could have shown.
    flags
        What the bars say against themselves, by which "edge" may not be said.
    """

    decisions: int
    periods_per_year: float
    block: int
    intervals: dict[str, Interval]
    superiority: float | None
    superiority_to_cash: float | None
    worth: float
    power: Power
    flags: list[FlagRecord]


def figures_of(record: TrackRecord, *, worth: float = WORTH, resamples: int = RESAMPLES) -> Figures:
    """Return the figures of a track record, all from the same resamples.

    worth: the alpha a year that is worth having, a fraction.
    """
    return draw(record, resamples).figures(worth)


def draw(record: TrackRecord, resamples: int = RESAMPLES) -> "Drawn":
    """Draw all figures of a track record."""
    ours, theirs = record.returns, record.benchmark
    # Outcomes overlap, and hang together, for as long as the label reaches.
    block = max(block_length(ours, ours - theirs), record.horizon)
    series = _series(record)
    tried = in_own_deviations({name: residual(*pair) for name, pair in record.tried.items()})
    earned = in_own_deviations({name: returns for name, (returns, _) in record.tried.items()})
    draws = Bootstrap(len(ours), block, resamples).draw(
        {
            "series": means_of(np.column_stack(list(series.values()))),
            "tried": means_of(tried.to_numpy()),
            "earned": means_of(earned.to_numpy()),
            **_areas(record),
        }
    )
    means = dict(zip(series, draws["series"], strict=True))
    figures = _money(means, len(ours), record.periods_per_year) | _comparisons(record, draws)
    figures |= {name: means[name] for name in series if name.startswith(("less ", "timing "))}
    if "reversal" in means:
        # Roll, A simple implicit measure of the effective bid-ask spread, JF 39 (1984): prices that
        # bounce from one side of a spread to the other reverse by its half, squared.
        figures["implied cost"] = np.sqrt(np.maximum(means["reversal"], 0))
    if "hits" in means:
        made = means["made"]
        # A resample without any forecast says nothing: one half.
        share = np.divide(means["hits"], made, out=np.full_like(made, CHANCE), where=made > 0)
        figures["accuracy"] = share
    to_cash = superiority(earned, draws["earned"], block)
    return Drawn(record, block, figures, tried, draws["tried"], to_cash)


@dataclass(frozen=True, eq=False)
class Drawn:
    """The figures of a record, as found and in every resample: (1 + resamples,) each.

    tried: what each series tried gains beside its benchmark, in its own deviations, a column each;
    tried_means: (k, 1 + resamples). to_cash: Hansen's test over what they earn.
    """

    record: TrackRecord
    block: int
    draws: Mapping[str, Array]
    tried: pd.DataFrame
    tried_means: Array
    to_cash: Superiority | None

    @cached_property
    def test(self) -> Superiority | None:
        """Hansen's test: nothing tried has an alpha."""
        return superiority(self.tried, self.tried_means, self.block)

    def outstanding(self, names: Sequence[str]) -> list[str]:
        """Return which of these series have an alpha, however many they are."""
        # A series that does not vary is not among the columns.
        chosen = self.tried.columns.isin(names)
        gains, means = self.tried.loc[:, chosen], self.tried_means[chosen]
        return outstanding(gains, means, self.block)

    def figures(self, worth: float = WORTH) -> Figures:
        """Return the figures with their intervals, tests and power; worth: an alpha a year."""
        years = self.record.periods_per_year
        return Figures(
            decisions=len(self.record.returns),
            periods_per_year=years,
            block=self.block,
            intervals={name: interval(draws) for name, draws in self.draws.items()},
            superiority=self.test.p if self.test else None,
            superiority_to_cash=self.to_cash.p if self.to_cash else None,
            worth=worth / years,
            power=self._power(),
            flags=list(self.record.flags),
        )

    def chance_of_edge(self, effects: Mapping[str, float]) -> float:
        """Return how likely such a record is called an edge, by its own spread.

        effects: the true "alpha", "auc" and "timing at close", as far as it has them.
        """
        deviations, needed = self._parts()
        shown = [
            effects["alpha" if name == "test" else name]
            - (CHANCE if name == "auc" else 0.0)
            + deviations[name]
            > needed[name]
            for name in deviations
        ]
        return float(np.mean(np.all(shown, axis=0)))

    def _parts(self) -> tuple[dict[str, Array], dict[str, float]]:
        """Return how each part of "edge" scatters, and by how much it must lie above nothing."""
        names = [name for name in ("alpha", "auc", "timing at close") if name in self.draws]
        deviations = {name: self.draws[name][1:] - self.draws[name][0] for name in names}
        needed = {
            name: float(self.draws[name][0] - interval(self.draws[name]).lowest) for name in names
        }
        if self.test:
            # Hansen's test needs an alpha of so many deviations.
            own = residual(self.record.returns, self.record.benchmark)
            deviations["test"] = deviations["alpha"]
            needed["test"] = self.test.critical * float(own.std())
        return deviations, needed

    def _power(self) -> Power:
        """Return what so many decisions could have shown."""
        deviations, needed = self._parts()
        errors = {name: float(draws.std()) for name, draws in deviations.items()}
        if errors["alpha"] <= NOUGHT:
            return Power(None, None, None, None, None, None, None)

        def smallest(*names: str) -> float:
            """Return the effect, in errors of each part, that all show in 80 of 100 resamples."""
            strengths = [
                (needed[name] - deviations[name]) / errors[name]
                for name in names
                if errors[name] > NOUGHT
            ]
            return float(np.quantile(np.max(strengths, axis=0), POWER))

        n, whole, found = len(self.record.returns), smallest(*errors), float(self.draws["alpha"][0])
        alpha, auc_error = whole * errors["alpha"], errors.get("auc", 0.0)
        known = auc_error > NOUGHT
        # Errors shrink with the root of the number.
        for_auc = n * (whole * auc_error / (NOTHING_LEFT - CHANCE)) ** 2
        return Power(
            alpha=alpha,
            auc=CHANCE + whole * auc_error if known else None,
            alpha_alone=smallest("alpha") * errors["alpha"],
            test_alone=smallest("test") * errors["alpha"] if self.test else None,
            auc_alone=CHANCE + smallest("auc") * auc_error if known else None,
            decisions_for_alpha=(math.ceil(n * (alpha / found) ** 2) if found > NOUGHT else None),
            decisions_for_auc=math.ceil(for_auc) if known else None,
        )


def residual(returns: Array, benchmark: Array) -> Array:
    """Return the returns less beta times the benchmark's, whose mean is alpha: (n,), (n,).

    beta is the slope of a regression with an intercept, 0 where the benchmark does not vary.
    """
    centred = benchmark - benchmark.mean()
    variance = float(centred @ centred)
    slope = float(centred @ returns) / variance if variance > NOUGHT**2 * len(centred) else 0.0
    return np.asarray(returns - slope * benchmark)


def _series(record: TrackRecord) -> dict[str, Array]:
    """Return the series of which all but the AUC is made, by their means alone."""
    ours, theirs = record.returns, record.benchmark
    # About their means, lest the squares of small returns lose digits.
    centred, benchmark = ours - ours.mean(), theirs - theirs.mean()
    made = np.isfinite(record.hits)
    hits = {"hits": np.where(made, record.hits, 0.0), "made": made.astype(float)}
    moves = record.moves - record.moves.mean() if len(record.moves) else record.moves
    reversal = {"reversal": np.append(0.0, -moves[1:] * moves[:-1])}
    return {
        **(hits if made.any() else {}),
        **(reversal if len(moves) else {}),
        "ours": ours,
        "theirs": theirs,
        "centred": centred,
        "benchmark": benchmark,
        "square": centred**2,
        "benchmark square": benchmark**2,
        "product": centred * benchmark,
        **{f"less {name}": ours - other for name, other in record.others.items()},
        **{f"timing at {fill}": product for fill, product in record.timing.items()},
    }


def _areas(record: TrackRecord) -> dict[str, Area]:
    """Return the areas under the ROC curve that are defined, by the names of their draws."""
    areas = {"auc": record.forecasts} if record.forecasts and record.forecasts.defined else {}
    for name, (ours, theirs) in record.compared.items():
        if ours.defined and theirs.defined:
            areas |= {f"ours beside {name}": ours, f"auc of {name}": theirs}
    return areas


def _comparisons(record: TrackRecord, draws: Mapping[str, Array]) -> dict[str, Array]:
    """Return the AUC, and what it is less that of each other forecast on common decisions."""
    figures = {"auc": draws["auc"][0]} if "auc" in draws else {}
    return figures | {
        f"auc less {name}": draws[f"ours beside {name}"][0] - draws[f"auc of {name}"][0]
        for name in record.compared
        if f"auc of {name}" in draws
    }


def _money(means: Mapping[str, Array], n: int, periods_per_year: float) -> dict[str, Array]:
    """Return alpha, beta, gain, mean and Sharpe ratios from the means of returns and products."""
    ours, theirs = means["ours"], means["theirs"]
    variance = np.maximum(means["square"] - means["centred"] ** 2, 0)
    benchmark_variance = np.maximum(means["benchmark square"] - means["benchmark"] ** 2, 0)
    covariance = means["product"] - means["centred"] * means["benchmark"]
    # Where nothing was held, in all or in a resample, nothing varies: slope and ratio are 0 there.
    beta = np.divide(
        covariance,
        benchmark_variance,
        out=np.zeros_like(ours),
        where=benchmark_variance > NOUGHT**2,
    )
    # Annual, and as the deviation of a sample has it, with one degree of freedom less.
    scale = math.sqrt(periods_per_year * (1 - 1 / max(2, n)))
    sharpe, benchmark_sharpe = (
        scale * np.divide(mean, np.sqrt(square), out=np.zeros_like(mean), where=square > NOUGHT**2)
        for mean, square in ((ours, variance), (theirs, benchmark_variance))
    )
    return {
        "alpha": ours - beta * theirs,
        "beta": beta,
        "gain": ours - theirs,
        "mean": ours,
        "sharpe": sharpe,
        "sharpe less benchmark": sharpe - benchmark_sharpe,
    }
