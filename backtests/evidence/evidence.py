"""Evidence: what a walk-forward shows, and what it leaves to chance.

Every figure stands with its interval, every claim with its test.
"""

from dataclasses import dataclass, field

import numpy as np

from backtests.evidence.alpha import WORTH, Figures, figures_of
from backtests.evidence.bootstrap import RESAMPLES
from backtests.evidence.decisions import STRATEGY, Decisions
from backtests.evidence.hypothesis_tests import (
    SharpeRatio,
    diebold_mariano,
    expected_maximum,
    log_losses,
    pesaran_timmermann,
    shifted_means,
)
from backtests.simulation.account import BASIS_POINT
from backtests.simulation.vectorised import Array
from model.metrics import sharpe

COST_GRID = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0)  # basis points per side


@dataclass(frozen=True)
class Trials:
    """The Sharpe ratios per bar of the other configurations that were tried on these data."""

    others: tuple[float, ...] = ()

    def expected_best(self, own: float) -> float:
        """Return the best ratio that so many trials, this one among them, show without skill.

        0 for a single trial: there is nothing to deflate.
        """
        ratios = (*self.others, own)
        return expected_maximum(float(np.std(ratios, ddof=1)), len(ratios)) if self.others else 0.0


@dataclass(frozen=True)
class SharpeFigures:
    """The Sharpe ratio per bar, and how sure it is.

    probable: the probability that it is above 0; deflated: above the best by luck of so many
    trials. bars_needed: how many bars would show it above 0 with 95 % confidence, None where none
    would.
    """

    per_bar: float
    probable: float
    deflated: float
    trials: int
    bars_needed: float | None


@dataclass(frozen=True, kw_only=True)
class Earnings:
    """What decisions earned, net. mean: per bar; total: in all, both fractions. sharpe: annual.

    The ratio is None where returns do not vary, as where nothing was traded.
    """

    mean: float
    total: float
    sharpe: float | None


@dataclass(frozen=True, kw_only=True)
class CostRow(Earnings):
    """What the same decisions would have earned at another cost per side, in basis points."""

    cost: float


@dataclass(frozen=True, kw_only=True)
class Evidence(Figures):
    """All figures on chance of one instrument's decisions, as summary.json names them.

    Means are net returns per bar (a fraction, 1 = 100 %), Sharpe ratios are annual.

    Parameters
    ----------
    ties
        Share of decisions whose price did not move; they count in no AUC.
    benchmarks
        By name, mean, total and Sharpe ratio of the strategy and of every benchmark.
    direction
        Pesaran and Timmermann's statistic and p.
    losses
        Diebold and Mariano's statistic and p against each forecast.
    luck
        Share of shifted positions that earn as much.
    gross, net
        Mean return per bar, before and after costs.
    turnover
        Position changed per bar.
    charged
        The cost per side that is charged, in basis points.
    break_even
        The cost per side, in basis points, that eats all; None where nothing was traded.
    """

    ties: float
    benchmarks: dict[str, Earnings]
    direction: tuple[float, float] | None
    losses: dict[str, tuple[float, float] | None]
    luck: float
    sharpe: SharpeFigures | None
    gross: float
    net: float
    turnover: float
    charged: float
    break_even: float | None
    costs: list[CostRow] = field(default_factory=list)


def evidence_of(
    decisions: Decisions,
    trials: Trials = Trials(),
    *,
    worth: float = WORTH,
    resamples: int = RESAMPLES,
) -> Evidence:
    """Return the evidence of one instrument's decisions.

    trials: what else was tried on the same data, for which the Sharpe ratio is deflated. worth: the
    alpha a year that is worth having, a fraction.
    """
    returns, years = decisions.returns, decisions.bars_per_year
    ours = returns[STRATEGY]
    figures = figures_of(decisions.record, worth=worth, resamples=resamples)
    positions = decisions.positions[STRATEGY]
    net, gross = float(ours.mean()), float(positions.net().mean())
    turnover = float(positions.turnover.mean())
    # The same positions at other times: what luck would earn with them.
    shifted = shifted_means(decisions.strategy, decisions.moves, decisions.cost)
    at_costs = {cost: positions.net(cost * BASIS_POINT) for cost in COST_GRID}
    made = np.isfinite(decisions.probability)
    forecast_up = (decisions.probability[made] >= 0.5).astype(float)
    return Evidence(
        **vars(figures),
        ties=float(decisions.ties.mean()),
        benchmarks={name: _earnings(values, years) for name, values in returns.items()},
        direction=pesaran_timmermann(decisions.labels[made], forecast_up),
        losses=_losses(decisions),
        # Equal but for rounding counts. One is added to both: the strategy's own timing is one of
        # those that could have come.
        luck=float((1 + (shifted >= net - 1e-15).sum()) / (1 + len(shifted))),
        sharpe=sharpe_figures(ours, trials),
        gross=gross,
        net=net,
        turnover=turnover,
        charged=decisions.cost / BASIS_POINT,
        break_even=1e4 * gross / turnover if turnover else None,
        costs=[
            CostRow(cost=cost, **vars(_earnings(values, years)))
            for cost, values in at_costs.items()
        ],
    )


def _losses(decisions: Decisions) -> dict[str, tuple[float, float] | None]:
    """Compare the log loss with that of one half, which knows nothing, and of each other forecast.

    None for fewer than ten outcomes that do not overlap.
    """
    forecasts = {"one half": np.full(len(decisions.labels), 0.5), **decisions.forecasts}
    found: dict[str, tuple[float, float] | None] = {}
    for name, forecast in forecasts.items():
        both = np.isfinite(decisions.probability) & np.isfinite(forecast)
        labels = decisions.labels[both]
        ours = log_losses(labels, decisions.probability[both])
        theirs = log_losses(labels, forecast[both])
        # Fewer are no sample: the variance of their mean would be a guess.
        enough = len(labels) > 10 * decisions.horizon
        found[name] = diebold_mariano(ours, theirs, decisions.horizon) if enough else None
    return found


def _earnings(returns: Array, bars_per_year: float) -> Earnings:
    """Return what the net returns per decision come to."""
    return Earnings(
        mean=float(returns.mean()),
        total=float(np.prod(1 + returns) - 1),
        sharpe=sharpe(returns, bars_per_year),
    )


def sharpe_per_bar(returns: Array) -> float:
    """Return the Sharpe ratio per bar, by which trials are compared.

    0 where nothing was earned or lost.
    """
    return sharpe(returns, bars_per_year=1.0) or 0.0


def sharpe_figures(returns: Array, trials: Trials) -> SharpeFigures | None:
    """Return the Sharpe ratio of returns, held against what else was tried.

    None where they do not vary.
    """
    record = SharpeRatio.of(returns)
    if record is None:
        return None
    needed = record.bars_needed()
    return SharpeFigures(
        per_bar=record.ratio,
        probable=record.probability_above(),
        deflated=record.probability_above(trials.expected_best(record.ratio)),
        trials=len(trials.others) + 1,
        # JSON has no infinity.
        bars_needed=needed if np.isfinite(needed) else None,
    )
