"""Controls of one network for many instruments: universes whose best forecast is known.

Half of the histories of a universe are learnt from; the others, which the network never saw, are
judged beside them.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from backtests.synthetic.control import Control, Row, share, training_figures
from backtests.synthetic.markets import Market, market, parse_market
from model.checkpoint.checkpoint import Checkpoint
from model.metrics import auc
from model.settings import require, whole
from model.training.config import TrainConfig
from model.training.fitting import fit
from model.training.outcomes import outcomes_of

SHARED = "shared"  # the market of which a factor, common to its histories, hides the law of each
BOTH = "+"  # between laws of which each rules a part of a universe
MOST = 500  # instruments learnt from: the histories of a universe are a thousand seeds
# The share of the edge that one network must find, learning from 20 histories of 3,000 bars.
REQUIRED = {
    "regime": 0.92,
    "volrev": 0.92,
    "latch": 0.92,
    "echo:strength=0.5": 0.85,
    "volrev:strength=0.45": 0.85,
    "latch:strength=0.4": 0.85,
    SHARED: 0.85,
}
UNSEEN_LESS = 0.03  # of the share, at most, on instruments that the network never saw
SINGLE_LESS = 0.02  # than one network for each instrument, at most, where their laws differ
PRECISION = 9  # decimals to which shares are compared: .95 - .03 is a little below .92 in binary


def planted_universe(text: str, instruments: int, n_bars: int, seed: int) -> dict[str, Market]:
    """Return independent histories of one planted market, by name.

    text: as of `parse_market`. seed: of the first; each further one has the next. Histories of
    `shared` have the factor of the first one's seed in common, if `text` names no other.
    """
    name, strengths = parse_market(text)
    if name == SHARED:
        strengths = {"factor": seed} | strengths
    width = len(str(instruments))
    universe = {}
    for number in range(instruments):
        one = market(name, n_bars, seed + number, **strengths)
        called = f"{name}-{number + 1:0{width}d}"
        one.bars.attrs["instrument"] = called
        universe[called] = one
    return universe


def require_pooled_control(control: Control) -> None:
    """Refuse a control of a universe that cannot be, before any work; ValueError says which."""
    config, laws = control.config, control.market.split(BOTH)
    require(
        {"instruments": control.instruments},
        {"instruments": whole(max(len(laws), config.fewest_instruments), MOST)},
    )
    for law in laws:
        parse_market(law)
    if control.instruments % len(laws):
        raise ValueError(
            f"`instruments` must be a multiple of {len(laws)}, the laws of {control.market}, got "
            f"{control.instruments}."
        )


def measure_pooled(control: Control) -> Row:
    """Train one network on a control's universe, and score it by the best possible forecast.

    Where a factor hides the law of each history the network learns who beats the others, and
    another one whether the price rises; where laws differ, a single network is trained for each.
    """
    learnt, unseen = universes_of(control)
    ranked = control.market.partition(":")[0] == SHARED
    config = replace(control.config, outcome="relative" if ranked else "direction")
    checkpoint = _trained(learnt, control.bars, config)
    shares = shares_of(checkpoint, learnt, config)
    row: Row = {
        "market": control.market,
        "architecture": config.architecture,
        "seed": control.seed,
        "instruments": control.instruments,
        "bars": control.bars,
        "fresh": control.fresh,
        "optimum_auc": float(shares["optimum_auc"].mean()),
        "auc": float(shares["auc"].mean()),
        "share": mean_share(shares),
        "least": None if shares["share"].isna().all() else float(shares["share"].min()),
        "unseen": mean_share(shares_of(checkpoint, unseen, config)),
        "direction": None,
        "single": None,
        **training_figures(checkpoint),
    }
    if ranked:
        other = _trained(learnt, control.bars, replace(config, outcome="direction"))
        row["direction"] = mean_share(shares_of(other, learnt, config))
    if BOTH in control.market:
        alone = [
            shares_of(_trained({name: one}, control.bars, config), {name: one}, config)
            for name, one in learnt.items()
        ]
        row["single"] = mean_share(pd.concat(alone))
    return row


def universes_of(control: Control) -> tuple[dict[str, Market], dict[str, Market]]:
    """Return the histories to learn from and as many others, by name, in equal parts by law."""
    laws = control.market.split(BOTH)
    each = control.instruments // len(laws)
    learnt: dict[str, Market] = {}
    unseen: dict[str, Market] = {}
    for law in laws:
        # A thousand seeds for each universe: no history stands in two of them.
        histories = planted_universe(
            law, 2 * each, control.bars + control.fresh, 1_000 * control.seed
        )
        names = list(histories)
        learnt |= {name: histories[name] for name in names[:each]}
        unseen |= {name: histories[name] for name in names[each:]}
    return learnt, unseen


def _trained(markets: Mapping[str, Market], n_bars: int, config: TrainConfig) -> Checkpoint:
    """Return what is learnt of the first so many bars; of one market as of one instrument."""
    bars = {name: one.bars.iloc[:n_bars] for name, one in markets.items()}
    return fit(next(iter(bars.values())) if len(bars) == 1 else bars, config)


def shares_of(
    checkpoint: Checkpoint, markets: Mapping[str, Market], config: TrainConfig
) -> pd.DataFrame:
    """Return AUC, best AUC and share of the edge of each instrument after training, by its name.

    Each is judged in its own history, so that one network and single ones are judged alike. config:
    says which outcome is asked for.
    """
    universe = {name: one.bars for name, one in markets.items()}
    forecasts = checkpoint.scores(universe)
    outcomes, _ = outcomes_of(universe, config)
    rows = {}
    for name, own in outcomes.items():
        decided = pd.DatetimeIndex(own.decided.astype("datetime64[ns]"))
        judged = (decided >= checkpoint.trained_until) & np.isfinite(own.labels)
        labels, dates = own.labels[judged], decided[judged]
        said, best = (
            values.reindex(dates).to_numpy()
            for values in (forecasts[name], markets[name].probability)
        )
        rows[name] = {
            "optimum_auc": auc(labels, best),
            "auc": auc(labels, said),
            "share": share(labels, said, best),
        }
    return pd.DataFrame.from_dict(rows, orient="index").astype(float)


def mean_share(shares: pd.DataFrame) -> float | None:
    """Return the mean share of the instruments; None where nothing is there to be found."""
    known = shares["share"].dropna()
    return float(known.mean()) if len(known) else None


def faults_of(row: Mapping[str, object]) -> list[str]:
    """Return what of a row is below what is required, a text each; none where all is held."""
    found = {
        name: round(value, PRECISION)
        for name in ("share", "unseen", "direction", "single")
        if isinstance(value := row[name], float)
    }
    if "share" not in found:  # nothing is there to be found
        return []
    required, share = REQUIRED.get(str(row["market"])), found["share"]
    faults = []
    if required is not None and share < required:
        faults.append(f"share {share:.3f}, required {required:g}")
    if found["unseen"] < round(share - UNSEEN_LESS, PRECISION):
        faults.append(
            f"share {found['unseen']:.3f} of instruments never seen, required {share:.3f} less "
            f"{UNSEEN_LESS:g}"
        )
    if "direction" in found and found["direction"] >= share:
        faults.append(
            f"share {found['direction']:.3f} by direction, which must be below {share:.3f} by the "
            "relative outcome"
        )
    if "single" in found and share < round(found["single"] - SINGLE_LESS, PRECISION):
        faults.append(
            f"share {share:.3f}, required {found['single']:.3f} of single networks less "
            f"{SINGLE_LESS:g}"
        )
    return faults
