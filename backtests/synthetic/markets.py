"""Synthetic markets on which the best possible forecast is known.

Seeded bars and the exact probability of "up".

z is a bar's log return in units of SIGMA, e is N(0, 1). Every bar opens at the last close, so a
fill at the next open earns the bar that was predicted. Highs and lows are the extremes of a
Brownian bridge, volume is noise that knows nothing of direction. A longer market of the same seed
begins with the shorter one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import signature
from itertools import pairwise
from math import sqrt

import numpy as np
import pandas as pd

from backtests.synthetic import optimum
from backtests.synthetic.optimum import SIGMA, Array
from model.settings import number, require, require_known, whole

FIRST_PRICE = 100.0
FIRST_TIMESTAMP = np.datetime64("2020-01-01T00", "ns")
HOUR = np.timedelta64(1, "h")
SHARE = number(0, below=1)
VOLUME_LEVEL, VOLUME_MEMORY, VOLUME_NOISE = 1_000.0, 0.8, 0.3


@dataclass(frozen=True, eq=False)
class Market:
    """Bars and, at each, P(the next bar closes up | everything observable at this bar's close).

    context: the bars of other series that are observable, by name.
    """

    name: str
    bars: pd.DataFrame
    probability: pd.Series
    context: Mapping[str, pd.DataFrame] = field(default_factory=dict)


def market(name: str, n_bars: int = 12_000, seed: int = 1, **strengths: float) -> Market:
    """Return the market of that name.

    `strengths` are the keyword arguments of its function below.
    """
    require_known("market", [name], MARKETS)
    require_known(
        f"argument of market {name!r}", strengths, list(signature(MARKETS[name]).parameters)[2:]
    )
    try:
        return MARKETS[name](n_bars, seed, **strengths)
    except ValueError as error:  # a setting that the market cannot have
        raise ValueError(f"market {name!r}: {error}") from None


def parse_market(text: str) -> tuple[str, dict[str, float]]:
    """Read "echo" or "echo:strength=0.5,lag=35"; ValueError where there is no such market."""
    name, _, settings = text.partition(":")
    try:
        pairs = [part.partition("=") for part in settings.split(",") if settings]
        strengths = {key: _number(value) for key, _, value in pairs}
    except ValueError:
        raise ValueError(
            f"a market must be NAME or NAME:SETTING=NUMBER,..., got {text!r}. "
            "Write it like echo:strength=0.5."
        ) from None
    market(name, 2, 1, **strengths)  # refuses what it does not know, with the nearest name
    return name, strengths


def _number(text: str) -> float:
    return int(text) if text.isdigit() else float(text)


def regime(
    n_bars: int = 12_000, seed: int = 1, *, delta: float = 0.35, flip: float = 1 / 60
) -> Market:
    """A hidden drift changes its sign with probability `flip`: z = +-delta + e."""
    require({"delta": delta, "flip": flip}, {"delta": number(0), "flip": SHARE})
    draws = Draws("regime", n_bars, seed)
    bars = draws.bars(delta * draws.switching(flip) + draws.moves.standard_normal(n_bars))
    return finished(bars, optimum.regime_probability(bars, delta=delta, flip=flip))


def volrev(
    n_bars: int = 12_000,
    seed: int = 1,
    *,
    strength: float = 0.7,
    ratio: float = 3,
    stay: float = 0.98,
) -> Market:
    """Moves continue while volatility is low and revert while it is high.

    z' = +-strength z + sqrt(1 - strength^2) e.

    Here z is in units of its own bar's volatility, which is also the bridge's: the range betrays
    the hidden state.
    """
    require(
        {"strength": strength, "ratio": ratio, "stay": stay},
        {"strength": SHARE, "ratio": number(1), "stay": SHARE},
    )
    draws = Draws("volrev", n_bars, seed)
    # +1 in calm, -1 in unrest.
    calm = draws.switching(1 - stay)
    # The state before a bar says how it follows; bar 0 follows nothing.
    follows = strength * np.roll(calm, 1)
    z = autoregress(follows, innovations(draws, strength))
    low, high = optimum.volatilities(ratio)
    volatility = np.where(calm > 0, low, high)
    bars = draws.bars(volatility * z, volatility)
    return finished(
        bars, optimum.volrev_probability(bars, strength=strength, ratio=ratio, stay=stay)
    )


def echo(n_bars: int = 12_000, seed: int = 1, *, strength: float = 0.9, lag: int = 25) -> Market:
    """A part of each move comes back `lag` bars later.

    z[t + 1] = strength z[t + 1 - lag] + sqrt(1 - strength^2) e.
    """
    return echoing("echo", n_bars, seed, strength, lag)


def ar1(n_bars: int = 12_000, seed: int = 1, *, strength: float = 0.25) -> Market:
    """A part of each move comes back in the next one: the easiest market, for smoke tests."""
    return echoing("ar1", n_bars, seed, strength, 1)


def echoing(name: str, n_bars: int, seed: int, strength: float, lag: int) -> Market:
    require({"strength": strength, "lag": lag}, {"strength": SHARE, "lag": whole(1)})
    draws = Draws(name, n_bars, seed)
    bars = draws.bars(
        autoregress(np.full(n_bars, strength), innovations(draws, strength, lag), lag)
    )
    return finished(bars, optimum.echo_probability(bars, strength=strength, lag=lag))


def magecho(n_bars: int = 12_000, seed: int = 1, *, m: float = 2, lag: int = 25) -> Market:
    """The SIZE of a move says which way the one `lag` bars later goes.

    z = m b + e, b = 1 if that |z| > m else -1.
    """
    require({"m": m, "lag": lag}, {"m": number(0), "lag": whole(1)})
    draws = Draws("magecho", n_bars, seed)
    z = draws.moves.standard_normal(n_bars)
    z[:lag] += np.where(draws.states.random(n_bars) < optimum.large_share(m), m, -m)[:lag]
    for t in range(lag, n_bars):
        z[t] += m if abs(z[t - lag]) > m else -m
    bars = draws.bars(z)
    return finished(bars, optimum.magecho_probability(bars, m=m, lag=lag))


def latch(
    n_bars: int = 12_000,
    seed: int = 1,
    *,
    strength: float = 0.75,
    body: float = 0.3,
    wick: float = 4,
    shortest: int = 40,
    longest: int = 50,
) -> Market:
    """A key bar's long wick tells whether moves continue or revert until the next key.

    z[t + 1] = strength d z[t] + sqrt(1 - strength^2) e, with d = 1 after a lower wick and -1 after
    an upper one. Bar 0 is a key; the gaps between keys are uniform on shortest..longest, a key's
    own z is uniform on +-body, its wick is `wick` SIGMA beyond the body.
    """
    gaps = {"shortest": shortest, "longest": longest}
    require(
        {"strength": strength, "body": body, "wick": wick, "shortest": shortest},
        {
            "strength": SHARE,
            "body": number(0),
            "wick": number(3),  # with less, an ordinary bar could pass for a key
            "shortest": whole(1),
        },
    )
    require(gaps, {"longest": whole(shortest)})
    draws = Draws("latch", n_bars, seed)
    key = draws.keys(shortest, longest)
    noise = np.where(
        key != 0, draws.bodies.uniform(-body, body, n_bars), innovations(draws, strength)
    )
    z = autoregress(np.where(key != 0, 0, strength * key[optimum.latest(key)]), noise)
    bars = draws.bars(z, wick=wick * key)
    return finished(bars, optimum.latch_probability(bars, strength=strength, wick=wick, **gaps))


def shared(
    n_bars: int = 12_000,
    seed: int = 1,
    *,
    common: float = 0.5,
    strength: float = 0.6,
    lag: int = 5,
    factor: int = 0,
) -> Market:
    """A faint echo under a factor that all markets of the same `factor` have in common.

    z = sqrt(common) f + sqrt(1 - common) x, x an echo of that strength and lag; f, of the seed
    `factor`, cannot be forecast. The best forecast is of one who sees the market's own bars.
    """
    require(
        {"common": common, "strength": strength, "lag": lag, "factor": factor},
        {"common": SHARE, "strength": SHARE, "lag": whole(1), "factor": whole(0)},
    )
    draws = Draws("shared", n_bars, seed)
    own = autoregress(np.full(n_bars, strength), innovations(draws, strength, lag), lag)
    of_all = Draws("factor", n_bars, factor).moves.standard_normal(n_bars)
    bars = draws.bars(sqrt(common) * of_all + sqrt(1 - common) * own)
    return finished(
        bars, optimum.shared_probability(bars, common=common, strength=strength, lag=lag)
    )


def leader(n_bars: int = 12_000, seed: int = 1, *, strength: float = 0.5) -> Market:
    """Another series moves first: its bars are the context `leader`, and these know nothing.

    z[t + 1] = strength x[t] + sqrt(1 - strength^2) e, with x the leader's move.
    """
    require({"strength": strength}, {"strength": SHARE})
    draws, ahead = Draws("leader", n_bars, seed), Draws("ahead", n_bars, seed)
    first = ahead.bars(ahead.moves.standard_normal(n_bars))
    first.attrs["instrument"] = "leader"
    z = innovations(draws, strength)
    z[1:] += strength * optimum.moves(first)[:-1]
    probability = optimum.leader_probability(first, strength=strength)
    return finished(draws.bars(z), probability, {"leader": first})


def weekly(n_bars: int = 12_000, seed: int = 1, *, delta: float = 0.35, wick: float = 4) -> Market:
    """Only weeks know whether a bar's wick tells the way of the next bar or its contrary.

    z[t + 1] = delta s b[t] + e, with b = 1 after a lower wick and -1 after an upper one, each of
    `wick` SIGMA, and s the sign of the move of the week before last, 168 bars and more ago: farther
    than any feature of these bars looks back, and in two of a week's (ret_z_2, bar_close_z).
    """
    require({"delta": delta, "wick": wick}, {"delta": number(0), "wick": number(3)})
    draws = Draws("weekly", n_bars, seed)
    b = np.where(draws.directions.random(n_bars) < 0.5, 1.0, -1.0)
    z = draws.moves.standard_normal(n_bars)
    week = optimum.week_of(draws.timestamps)
    borders = np.flatnonzero(np.diff(week, prepend=-1, append=week[-1] + 1)).tolist()
    for number_of, (start, stop) in enumerate(pairwise(borders)):
        # The first week is not whole: nobody sees its move.
        if number_of > 2:
            before = slice(borders[number_of - 2], borders[number_of - 1])
            z[start:stop] += delta * np.sign(z[before].sum()) * b[start - 1 : stop - 1]
    bars = draws.bars(z, wick=wick * b)
    return finished(bars, optimum.weekly_probability(bars, delta=delta))


def walk(
    n_bars: int = 12_000,
    seed: int = 1,
    *,
    alpha: float = 0.07,
    beta: float = 0.9,
    degrees: float = 5,
) -> Market:
    """Volatility comes in waves, GARCH(1 - alpha - beta, alpha, beta) with Student's t.

    Direction is a fair coin.
    """
    return wandering("walk", n_bars, seed, 0.0, alpha, beta, degrees)


def walkdrift(
    n_bars: int = 12_000,
    seed: int = 1,
    *,
    drift: float = 0.06,
    alpha: float = 0.07,
    beta: float = 0.9,
    degrees: float = 5,
) -> Market:
    """The walk plus `drift` times each bar's volatility.

    Up is likelier, and equally so at every bar.
    """
    return wandering("walkdrift", n_bars, seed, drift, alpha, beta, degrees)


def wandering(
    name: str, n_bars: int, seed: int, drift: float, alpha: float, beta: float, degrees: float
) -> Market:
    require(
        {"drift": drift, "alpha": alpha, "degrees": degrees},
        {"drift": number(), "alpha": SHARE, "degrees": number(3)},
    )
    require({"beta": beta}, {"beta": number(0, below=1 - alpha)})
    draws = Draws(name, n_bars, seed)
    # Student's t has variance degrees / (degrees - 2): scaled to 1.
    shocks = draws.moves.standard_t(degrees, n_bars) * sqrt((degrees - 2) / degrees)
    volatility = garch_volatility(shocks, alpha, beta)
    bars = draws.bars(volatility * (drift + shocks), volatility)
    return finished(bars, optimum.walk_probability(bars, drift=drift, degrees=degrees))


def correlated_walks(
    instruments: int, n_bars: int, seed: int, *, common: float = 0.5
) -> dict[str, pd.DataFrame]:
    """Return the bars of random walks that share a factor, by name: nothing can be forecast.

    common: the share of each move's variance that the factor has.
    """
    require(
        {"instruments": instruments, "common": common}, {"instruments": whole(1), "common": SHARE}
    )
    factor = Draws("walks", n_bars, seed).moves.standard_normal(n_bars)
    universe = {}
    width = len(str(instruments))
    for place in range(1, instruments + 1):
        draws = Draws(f"walk-{place:0{width}d}", n_bars, seed)
        own = draws.moves.standard_normal(n_bars)
        universe[draws.name] = draws.bars(sqrt(common) * factor + sqrt(1 - common) * own)
    return universe


MARKETS: dict[str, Callable[..., Market]] = {
    make.__name__: make
    for make in (
        regime,
        volrev,
        echo,
        latch,
        magecho,
        shared,
        walk,
        walkdrift,
        ar1,
        leader,
        weekly,
    )
}


class Draws:
    """One market's random numbers.

    A generator per quantity, so that more bars leave the earlier ones as they were.
    """

    def __init__(self, name: str, n_bars: int, seed: int) -> None:
        require({"n_bars": n_bars, "seed": seed}, {"n_bars": whole(2), "seed": whole(0)})
        self.name, self.n_bars = name, n_bars
        # The name too: walk and walkdrift of one seed must be two samples, not the same one counted
        # twice.
        generators = np.random.default_rng([seed, *name.encode()]).spawn(6)
        self.moves, self.states, self.bodies, self.directions = generators[:4]
        self.extremes, self.volumes = generators[4:]

    def switching(self, flip: float) -> Array:
        """Return a state of +-1 that changes with probability `flip`, fair at the start."""
        # One draw a bar even where nothing changes: a longer market begins with the shorter one.
        chance = self.states.random(self.n_bars)
        turns = np.where(chance < flip, -1.0, 1.0)
        turns[0] = 1.0 if chance[0] < 0.5 else -1.0
        return np.asarray(np.cumprod(turns))

    def keys(self, shortest: int, longest: int) -> Array:
        """Return +-1 at the key bars and 0 between them, bar 0 the first."""
        # As many gaps as could be needed if all were the shortest.
        gaps = self.states.integers(shortest, longest + 1, self.n_bars // shortest + 1)
        bars = np.concatenate([[0], np.cumsum(gaps)])
        key = np.zeros(self.n_bars)
        key[bars[bars < self.n_bars]] = 1.0
        return key * np.where(self.directions.random(self.n_bars) < 0.5, 1.0, -1.0)

    def bars(
        self, z: Array, volatility: Array | float = 1.0, wick: Array | float = 0.0
    ) -> pd.DataFrame:
        """Return the bars of these moves.

        `wick` sets a key's lower shadow where positive, its upper where negative.
        """
        price = FIRST_PRICE * np.exp(SIGMA * np.concatenate([[0.0], np.cumsum(z)]))
        # Each bar opens at the last close: a fill there earns the bar that was forecast.
        opens, closes = price[:-1], price[1:]
        highest, lowest = self.shadows(z, volatility)
        highest = np.where(np.less(wick, 0), np.maximum(z, 0) - wick, highest)
        lowest = np.where(np.greater(wick, 0), np.minimum(z, 0) - wick, lowest)
        columns = {
            "open": opens,
            # Rounding alone could put an extreme inside the body.
            "high": np.maximum(opens * np.exp(SIGMA * highest), np.maximum(opens, closes)),
            "low": np.minimum(opens * np.exp(SIGMA * lowest), np.minimum(opens, closes)),
            "close": closes,
            "volume": self.volume(),
        }
        bars = pd.DataFrame(columns, index=self.timestamps)
        bars.attrs = {"instrument": self.name, "timezone": "UTC", "stamp": "open"}
        return bars

    @property
    def timestamps(self) -> pd.DatetimeIndex:
        return pd.DatetimeIndex(FIRST_TIMESTAMP + HOUR * np.arange(self.n_bars), name="date")

    def shadows(self, z: Array, volatility: Array | float) -> tuple[Array, Array]:
        """Return a Brownian bridge's maximum and minimum from 0 to z.

        Both are drawn independently by inverting their laws. Given z, a bridge knows no drift:
        where its volatility is constant or public, high and low tell nothing new.
        """
        # 1 - [0, 1) is (0, 1]: the logarithm of 0 would be infinite.
        chance = 1 - self.extremes.random((self.n_bars, 2))  # in (0, 1]
        reach = np.sqrt(
            z[:, None] ** 2 - 2 * np.square(volatility * np.ones_like(z))[:, None] * np.log(chance)
        )
        return (z + reach[:, 0]) / 2, (z - reach[:, 1]) / 2

    def volume(self) -> Array:
        noise = VOLUME_NOISE * self.volumes.standard_normal(self.n_bars)
        # The first value has the deviation of the process in the long run.
        noise[0] /= sqrt(1 - VOLUME_MEMORY**2)
        return VOLUME_LEVEL * np.exp(autoregress(np.full(self.n_bars, VOLUME_MEMORY), noise))


def finished(
    bars: pd.DataFrame, probability: Array, context: Mapping[str, pd.DataFrame] | None = None
) -> Market:
    known = pd.Series(probability, bars.index, name="probability")
    return Market(bars.attrs["instrument"], bars, known, context or {})


def innovations(draws: Draws, strength: float, lag: int = 1) -> Array:
    """Return noise that keeps z at variance 1 from its first bars on."""
    noise = draws.moves.standard_normal(draws.n_bars)
    # The first `lag` values have no past to add to them and keep their whole variance.
    noise[lag:] *= sqrt(1 - strength**2)
    return noise


def autoregress(coefficients: Array, noise: Array, lag: int = 1) -> Array:
    """Return z[t] = coefficients[t] z[t - lag] + noise[t]."""
    # A list: single elements of an array cost ten times as much to read.
    z = noise.tolist()
    for t, coefficient in enumerate(coefficients[lag:].tolist(), lag):
        z[t] += coefficient * z[t - lag]
    return np.array(z)


def garch_volatility(shocks: Array, alpha: float, beta: float) -> Array:
    """Return each bar's volatility, its mean square 1.

    h' = 1 - alpha - beta + (alpha shock^2 + beta) h.
    """
    variances = [1.0]
    for shock in shocks[:-1].tolist():
        variances.append(1 - alpha - beta + (alpha * shock**2 + beta) * variances[-1])
    return np.sqrt(variances)
