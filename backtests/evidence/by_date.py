"""What forecasts of a universe are worth, date by date: rank correlations, areas, tenths, years.

Names of one date share its news, so that each figure is made of one number per date, and dates are
resampled as a whole. Whoever forecasts (the strategy, other networks, cheap learners, fixed rules)
is judged on the same dates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from backtests.evidence.books import Books
from backtests.evidence.bootstrap import (
    NOUGHT,
    RESAMPLES,
    Array,
    Bootstrap,
    RatioOfSums,
    area_within_rows,
    block_length,
    interval,
)
from backtests.evidence.decisions import STRATEGY
from backtests.evidence.hypothesis_tests import diebold_mariano, log_losses
from backtests.evidence.panel import BOOSTING, DECAY, TOGETHER, Panel
from model.metrics import sharpe

FEWEST_RANKED = 3  # names of a date: of two, a rank correlation is 1 or -1
FEWEST_COMPARED = 10  # dates of which Diebold and Mariano's test says anything
TENTHS = 10
ENDS = ("", "_low", "_high")


class Halves(NamedTuple):
    """The mean rank correlation of the strategy in the earlier half of the dates and the later."""

    earlier: float | None
    later: float | None

    @property
    def turned(self) -> bool:
        """Whether the sign of the later half differs."""
        return bool(self.earlier and self.later and self.earlier * self.later < 0)


class Together(NamedTuple):
    """What the mean of the ranks of strategy and boosting is worth beside each of them alone.

    ic, ic_t: its rank correlation and t; over: by the name of each alone, how much more it has, the
    95 % interval of that, and its t by blocks of dates.
    """

    ic: float
    ic_t: float
    over: Mapping[str, Sequence[float]]


@dataclass(frozen=True, eq=False)
class ByDate:
    """The evidence by date of all that forecast.

    forecasters: a row for each, the strategy first. decay: a row for each of them and number of
    bars. tenths: for each of them and tenth of rank. years: for each of them and year.
    """

    forecasters: pd.DataFrame
    decay: pd.DataFrame
    tenths: pd.DataFrame
    years: pd.DataFrame
    halves: Halves

    @property
    def together(self) -> Together | None:
        """What strategy and boosting are worth together; None where that is not known."""
        rows = {row["forecaster"]: row for row in self.forecasters.to_dict("records")}
        if TOGETHER not in rows or pd.isna(rows[BOOSTING]["ic_together_less_t"]):
            return None
        columns = [f"ic_together_less{end}" for end in (*ENDS, "_t")]
        over = {name: [rows[name][column] for column in columns] for name in (STRATEGY, BOOSTING)}
        return Together(rows[TOGETHER]["ic"], rows[TOGETHER]["ic_t"], over)


def rank_correlations(scores: Array, moves: Array) -> Array:
    """Return the rank correlation of each date, the information coefficient: (dates,).

    scores, moves: (dates, names). NaN for a date with fewer than three names that have both, or
    where one of them does not vary. Source: Spearman (1904), ties by their mean rank.
    """
    # Ranks among the names that have both; a place taken by another would bend them.
    both = np.isfinite(scores) & np.isfinite(moves)
    centred = []
    for values in (scores, moves):
        ranks = pd.DataFrame(np.where(both, values, np.nan)).rank(axis=1)
        centred.append(ranks.sub(ranks.mean(axis=1), axis=0).fillna(0.0).to_numpy())
    product = (centred[0] * centred[1]).sum(axis=1)
    scale = np.sqrt((centred[0] ** 2).sum(axis=1) * (centred[1] ** 2).sum(axis=1))
    found = np.full(len(scores), np.nan)
    np.divide(product, scale, out=found, where=(scale > 0) & (both.sum(axis=1) >= FEWEST_RANKED))
    return found


def by_date(panel: Panel, books: Books, cost: float, *, resamples: int = RESAMPLES) -> ByDate:
    """Return the evidence by date. cost: of the books, a fraction per side."""
    correlations = {
        name: {bars: rank_correlations(scores, panel.later[bars]) for bars in DECAY}
        for name, scores in panel.scores.items()
    }
    own = correlations[STRATEGY][DECAY[0]]
    # Moves over several bars overlap.
    block = max(block_length(np.nan_to_num(own)), panel.horizon, *DECAY)
    bootstrap = Bootstrap(len(panel.dates), block, resamples)
    # By dates, so that both halves say equally much.
    middle = len(own) // 2
    return ByDate(
        _forecasters(panel, books, cost, bootstrap),
        _decay(correlations, bootstrap),
        _tenths(panel),
        _years(panel, books, cost, correlations),
        Halves(*(mean_known(half) for half in (own[:middle], own[middle:]))),
    )


def mean_known(values: Array) -> float | None:
    """Return the mean of what is known; None where nothing is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _mean_figure(*series: Array) -> RatioOfSums:
    """Return the figure that is the mean of each series over the dates on which it is known."""
    columns = np.column_stack(series)
    # A date without the figure adds to neither sum, however often it is drawn.
    return RatioOfSums(np.nan_to_num(columns), np.isfinite(columns).astype(float))


def _forecasters(panel: Panel, books: Books, cost: float, bootstrap: Bootstrap) -> pd.DataFrame:
    """Return what each forecasts and earns, and how much more the strategy does."""
    gross, net, turnovers = books.returns(0.0), books.returns(cost), books.turnovers
    rows = []
    for name in panel.scores:
        money = _money(gross[name], net[name], panel.bars_per_year)
        turned = turnovers[name]
        rows.append(
            {
                "forecaster": name,
                **_skill(panel, name, bootstrap),
                **money,
                "turnover": turned,
                # The cost per side at which the broker has all that was earned.
                "break_even": 1e4 * float(gross[name].mean()) / turned if turned else None,
                **_differences(panel, name, bootstrap),
                **_losses(panel, name),
            }
        )
    return pd.DataFrame(rows)


def _skill(panel: Panel, name: str, bootstrap: Bootstrap) -> dict[str, float | None]:
    """Return the areas and rank correlations of one that forecasts."""
    scores = panel.scores[name]
    area = area_within_rows(panel.labels, scores)
    coefficient = _mean_figure(rank_correlations(scores, panel.moves["open"]))
    # Both from the same resamples, as of one history that might have been.
    draws = bootstrap.draw({"auc": area, "ic": coefficient})
    found, spread = float(draws["ic"][0, 0]), float(draws["ic"][0, 1:].std())
    return {
        "dates": int(np.isfinite(scores).any(axis=1).sum()),
        "forecasts": int(np.isfinite(scores).sum()),
        **_columns("auc", draws["auc"][0], area.defined),
        **_columns("ic", draws["ic"][0], coefficient.defined),
        "ic_t": found / spread if spread > NOUGHT else None,
    }


def _differences(panel: Panel, name: str, bootstrap: Bootstrap) -> dict[str, float | None]:
    """Return what the strategy has more than another, over the names and dates of both.

    And what the mean of the strategy's and boosting's ranks has more, where there is one.
    """
    areas = [
        # Over what both forecast: who keeps silent on hard dates must not win by that.
        area_within_rows(panel.labels, one)
        for one in _over_both(panel.scores, STRATEGY, name)
    ]
    draws = bootstrap.draw({"ours": areas[0], "theirs": areas[1]})
    return {
        **_columns(
            "auc_less", draws["ours"][0] - draws["theirs"][0], name != STRATEGY and areas[0].defined
        ),
        **_coefficients_less("ic_less", panel, STRATEGY, name, bootstrap),
        **_coefficients_less("ic_together_less", panel, TOGETHER, name, bootstrap),
    }


def _over_both(scores: Mapping[str, Array], one: str, other: str) -> list[Array]:
    """Return the scores of two, NaN where either has none."""
    both = np.isfinite(scores[one]) & np.isfinite(scores[other])
    return [np.where(both, scores[name], np.nan) for name in (one, other)]


def _coefficients_less(
    column: str, panel: Panel, one: str, other: str, bootstrap: Bootstrap
) -> dict[str, float | None]:
    """Return how much higher the rank correlation of one is than another's, paired by date."""
    if one == other or one not in panel.scores:
        return {**_columns(column, np.empty(0), False), f"{column}_t": None}
    moves = panel.moves["open"]
    paired = [rank_correlations(scores, moves) for scores in _over_both(panel.scores, one, other)]
    coefficients = _mean_figure(*paired)
    [draws] = bootstrap.draw({"ic": coefficients}).values()
    less = draws[0] - draws[1]
    # The spread over resamples is the standard error, with what neighbouring dates share.
    spread = float(less[1:].std())
    known = coefficients.defined and spread > NOUGHT
    return {
        **_columns(column, less, coefficients.defined),
        f"{column}_t": float(less[0]) / spread if known else None,
    }


def _columns(name: str, draws: Array, shown: bool = True) -> dict[str, float | None]:
    """Return a figure and its 95 % interval as columns, None where it is not to be shown."""
    if not shown:
        return {f"{name}{end}": None for end in ENDS}
    found = interval(draws)
    return {f"{name}{end}": value for end, value in zip(ENDS, vars(found).values(), strict=False)}


def _money(gross: Array, net: Array, bars_per_year: float) -> dict[str, float | None]:
    return {
        "gross": float(gross.mean()),
        "net": float(net.mean()),
        "gross_sharpe": sharpe(gross, bars_per_year),
        "sharpe": sharpe(net, bars_per_year),
    }


def _losses(panel: Panel, name: str) -> dict[str, float | None]:
    """Compare the mean log loss of each date with that of another forecast, or of one half."""
    test = None
    if name == STRATEGY or name in panel.probabilities:
        ours = panel.scores[STRATEGY]
        theirs = np.full(ours.shape, 0.5) if name == STRATEGY else panel.scores[name]
        both = np.isfinite(panel.labels) & np.isfinite(ours) & np.isfinite(theirs)
        dates = both.any(axis=1)
        losses = []
        for one in (ours, theirs):
            of_name = np.where(both, log_losses(panel.labels, one), 0.0)
            # The mean of a date counts once: its names share what happened that day.
            losses.append(of_name[dates].sum(axis=1) / both[dates].sum(axis=1))
        # Of moves that overlap only every `horizon`-th says something new.
        if dates.sum() > FEWEST_COMPARED * panel.horizon:
            test = diebold_mariano(losses[0], losses[1], panel.horizon)
    statistic, p = test or (None, None)
    return {"loss_statistic": statistic, "loss_p": p}


def _decay(correlations: Mapping[str, Mapping[int, Array]], bootstrap: Bootstrap) -> pd.DataFrame:
    """Return the mean rank correlation with the move over so many bars, for each forecaster."""
    rows = []
    for name, of_name in correlations.items():
        # In one draw, so that the decay is seen on the same dates for all numbers of bars.
        [draws] = bootstrap.draw({"ic": _mean_figure(*of_name.values())}).values()
        rows += [
            {"forecaster": name, "bars": bars}
            | _columns("ic", found, bool(np.isfinite(of_name[bars]).any()))
            for bars, found in zip(of_name, draws, strict=True)
        ]
    return pd.DataFrame(rows)


def _tenths(panel: Panel) -> pd.DataFrame:
    """Return what names earned by the tenth of the forecast's rank in which they stood.

    move: the mean over dates; excess: less the mean of all names of the date that are ranked.
    """
    rows = []
    for name, scores in panel.scores.items():
        moves = np.where(np.isfinite(scores), panel.moves["open"], np.nan)
        known = np.isfinite(moves)
        table = pd.DataFrame(np.where(known, scores, np.nan))
        # The middle of its place, (rank - .5) / n: of five names every second tenth holds one.
        share = table.rank(axis=1).sub(0.5).div(table.notna().sum(axis=1), axis=0).to_numpy()
        # 1e-9: 10 * .3 lies a little below 3.
        number = np.where(known, np.floor(TENTHS * share + 1e-9), -1)
        count = known.sum(axis=1, keepdims=True)
        average = np.nan_to_num(moves).sum(axis=1, keepdims=True) / np.maximum(count, 1)
        for tenth in range(TENTHS):
            inside = number == tenth
            dates = inside.any(axis=1)
            held = inside[dates].sum(axis=1)
            move, excess = (
                np.where(inside, values, 0.0)[dates].sum(axis=1) / held
                for values in (moves, moves - average)
            )
            rows.append(
                {
                    "forecaster": name,
                    "tenth": tenth + 1,
                    "dates": int(dates.sum()),
                    "move": mean_known(move),
                    "excess": mean_known(excess),
                }
            )
    return pd.DataFrame(rows)


def _years(
    panel: Panel,
    books: Books,
    cost: float,
    correlations: Mapping[str, Mapping[int, Array]],
) -> pd.DataFrame:
    """Return the figures of each forecaster in each calendar year."""
    gross, net = books.returns(0.0), books.returns(cost)
    years = panel.dates.year.to_numpy()
    rows = []
    for name, scores in panel.scores.items():
        area = area_within_rows(panel.labels, scores)
        wins, pairs = area.numerators[:, 0], area.denominators[:, 0]
        for year in np.unique(years):
            own = years == year
            rows.append(
                {
                    "forecaster": name,
                    "year": int(year),
                    "dates": int(own.sum()),
                    "auc": float(wins[own].sum() / pairs[own].sum()) if pairs[own].any() else None,
                    "ic": mean_known(correlations[name][DECAY[0]][own]),
                    **_money(gross[name][own], net[name][own], panel.bars_per_year),
                }
            )
    return pd.DataFrame(rows)
