"""What the bars so far say of the next one: the exact probability of "up" in each synthetic market.

z[t] is the log return of bar t in units of SIGMA. Every filter reads bars 0..t for the probability
at t and knows the law the market was drawn from, so no forecast can do better. High and low are
drawn from the bar's return and a bridge volatility s alone: they tell something only where s is
hidden (volrev) or where they are the message (latch).
"""

from math import sqrt

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtr, stdtr

Array = npt.NDArray[np.float64]

SIGMA = 0.002
# Share of a key's wick; an ordinary bar gets there with probability exp(-2 (.98 wick)^2) at most
SURE_WICK = 0.98


def moves(bars: pd.DataFrame) -> Array:
    """Return z: the log return of each bar in units of SIGMA."""
    return log_ratio(bars["close"], bars["open"])


def echo_probability(bars: pd.DataFrame, *, strength: float, lag: int) -> Array:
    """z[t + 1] | past ~ N(strength z[t + 1 - lag], 1 - strength^2).

    What lies before the first bar has mean 0.
    """
    past_move = delayed(moves(bars), lag - 1, 0.0)
    return np.asarray(ndtr(strength * past_move / sqrt(1 - strength**2)))


def shared_probability(bars: pd.DataFrame, *, common: float, strength: float, lag: int) -> Array:
    """Kalman's filter (1960) of an echo x that is seen as z = sqrt(common) f + sqrt(1 - common) x.

    The factor f is white noise to whoever sees one market. Each of `lag` interleaved chains,
    x[t] = strength x[t - lag] + e, is filtered by itself.
    """
    seen, n_bars = moves(bars) / sqrt(1 - common), len(bars)
    noise = common / (1 - common)
    # Mean and variance of x at each bar by those `lag` and more bars before it.
    expected, variance = np.zeros(n_bars + lag), np.ones(n_bars + lag)
    for start in range(0, n_bars, lag):
        now = slice(start, min(start + lag, n_bars))
        later = slice(start + lag, now.stop + lag)
        gain = variance[now] / (variance[now] + noise)
        expected[later] = strength * (expected[now] + gain * (seen[now] - expected[now]))
        variance[later] = strength**2 * (1 - gain) * variance[now] + 1 - strength**2
    following = slice(1, n_bars + 1)
    deviation = np.sqrt((1 - common) * variance[following] + common)
    return np.asarray(ndtr(sqrt(1 - common) * expected[following] / deviation))


def leader_probability(leader: pd.DataFrame, *, strength: float) -> Array:
    """z[t + 1] | past ~ N(strength x[t], 1 - strength^2), with x the moves of the leader's bars."""
    return np.asarray(ndtr(strength * moves(leader) / sqrt(1 - strength**2)))


def weekly_probability(bars: pd.DataFrame, *, delta: float) -> Array:
    """z[t + 1] | past ~ N(delta s b[t], 1), with s the sign of the week before last's move.

    b is read from the longer of a bar's two shadows. Of the first weeks s is not known.
    """
    z = moves(bars)
    up, down = log_ratio(bars["high"], bars["close"]), log_ratio(bars["close"], bars["low"])
    b = np.where(down - np.maximum(z, 0) > up + np.minimum(z, 0), 1.0, -1.0)
    # The next bar's week decides.
    week = week_of(pd.DatetimeIndex(bars.index))
    sides = np.sign(np.bincount(week, z))
    sides[0] = 0.0
    known = np.concatenate((np.zeros(2), sides))
    after = np.append(week[1:], week[-1] + (pd.Timestamp(bars.index[-1]).hour == 23))
    return np.asarray(ndtr(delta * known[after] * b))


def week_of(index: pd.DatetimeIndex) -> npt.NDArray[np.int64]:
    """Return the number of each bar's week, from Monday on, counted from the first bar's."""
    days = index.normalize() - pd.to_timedelta(index.day_of_week, "D")
    return np.asarray((days - days[0]) // pd.Timedelta(7, "D"), dtype=np.int64)


def magecho_probability(bars: pd.DataFrame, *, m: float, lag: int) -> Array:
    """z[t + 1] | past ~ N(m b, 1).

    b is known from |z[t + 1 - lag]|, its frequency where that lies before bar 0.
    """
    past_size = np.abs(delayed(moves(bars), lag - 1, np.nan))
    unknown = large_share(m) * ndtr(m) + (1 - large_share(m)) * ndtr(-m)
    return np.asarray(
        np.where(np.isnan(past_size), unknown, np.where(past_size > m, ndtr(m), ndtr(-m)))
    )


def large_share(m: float) -> float:
    """P(|m b + e| > m) = P(e > 0) + P(e < -2 m), the same for b = 1 and b = -1."""
    return float(0.5 + ndtr(-2 * m))


def regime_probability(bars: pd.DataFrame, *, delta: float, flip: float) -> Array:
    """Hamilton's filter over the drift's sign.

    The factor of N(z; +-delta, 1) that both signs share is left out.
    """
    # Prediction by the chain and correction by the likelihood, in one step a bar.
    chain, drift = two_states(1 - flip), np.array([delta, -delta])
    likelihood = exp_scaled(np.outer(moves(bars), drift), axis=1)  # (N, 2)
    rising = forward(0.5 * likelihood[0], chain * likelihood[1:, None, :])
    return mixed(rising, chain @ ndtr(drift))


def volrev_probability(bars: pd.DataFrame, *, strength: float, ratio: float, stay: float) -> Array:
    """Filter the volatility state from close, high and low.

    Today's state says how the next bar follows.
    """
    # Innovations have this deviation, since z keeps variance 1.
    volatility, rest = volatilities(ratio), sqrt(1 - strength**2)
    z = moves(bars)[:, None] / volatility  # (N, 2): as either state would see it
    expected = z * np.array([strength, -strength])
    surprise = (z[1:, None, :] - expected[:-1, :, None]) / rest  # (N - 1, from, to)
    # High and low betray the bridge's volatility, and so the hidden state, more than the close.
    range_fit = extreme_log_density(bars, volatility) - np.log(volatility)
    first = exp_scaled(range_fit[0] - z[0] ** 2 / 2, axis=0)
    steps = exp_scaled(range_fit[1:, None, :] - surprise**2 / 2, axis=(1, 2))
    return mixed(forward(first, two_states(stay) * steps), ndtr(expected / rest))


def volatilities(ratio: float) -> Array:
    """Return the low and the high volatility in units of SIGMA.

    Both states are equally frequent, and the mean square is 1.
    """
    return np.array([1.0, ratio]) * sqrt(2 / (1 + ratio**2))


def extreme_log_density(bars: pd.DataFrame, s: Array) -> Array:
    """Return the log density of high and low given the close, (N, 2) for the bridge volatilities s.

    A bridge from 0 to x has P(max > h) = exp(-2 h (h - x) / s^2), so max has the density
    (4 h - 2 x) / s^2 times that; the minimum is its mirror image and was drawn independently.
    Factors without s are left out.
    """
    x, high, low = (
        moves(bars),
        log_ratio(bars["high"], bars["open"]),
        log_ratio(bars["low"], bars["open"]),
    )
    energy = 2 * (high * (high - x) + low * (low - x))
    return np.asarray(-energy[:, None] / s**2 - 4 * np.log(s))


def latch_probability(
    bars: pd.DataFrame, *, strength: float, wick: float, shortest: int, longest: int
) -> Array:
    """z[t + 1] | past ~ N(strength d z[t], 1 - strength^2), d from the latest key.

    At the next key the direction is drawn anew by a fair coin.
    """
    direction, age = latest_key(bars, wick)
    # The gap is uniform on shortest..longest and known to exceed age.
    # A key's own direction is a fair coin, whatever came before.
    next_is_key = np.where(age + 1 < shortest, 0.0, 1 / np.maximum(longest - age, 1))
    follows = ndtr(strength * direction * moves(bars) / sqrt(1 - strength**2))
    return np.asarray((1 - next_is_key) * follows + next_is_key / 2)


def latest_key(bars: pd.DataFrame, wick: float) -> tuple[Array, npt.NDArray[np.int64]]:
    """Return the latest key: its direction (lower wick 1, upper -1), and its age in bars."""
    body = bars[["open", "close"]]
    above = log_ratio(bars["high"], body.max(axis=1)) > SURE_WICK * wick
    below = log_ratio(body.min(axis=1), bars["low"]) > SURE_WICK * wick
    key = below.astype(float) - above
    position = latest(key)
    return key[position], np.arange(len(bars)) - position


def latest(key: Array) -> npt.NDArray[np.int64]:
    """Return the position of the last key at or before each bar, 0 where there is none."""
    return np.maximum.accumulate(np.where(key != 0, np.arange(len(key)), 0))


def walk_probability(bars: pd.DataFrame, *, drift: float, degrees: float) -> Array:
    """The same at every bar, since the drift is a share of the bar's own volatility."""
    # Student's t has variance degrees / (degrees - 2); the walk's shocks are scaled to variance 1.
    return np.full(len(bars), float(stdtr(degrees, drift * sqrt(degrees / (degrees - 2)))))


def forward(first: Array, steps: Array) -> Array:
    """Return P(first state at t | bars 0..t), shape (N,).

    first: the states' weights at bar 0, (2,). steps: those of each later bar, (N - 1, from, to).
    """
    # Normalised at each bar: the product of thousands of likelihoods would underflow.
    share = first[0] / first.sum()
    shares = [share]
    # Python's own floats: one at a time they are several times as fast as numpy's.
    for (stay_one, leave_one), (leave_two, stay_two) in steps.tolist():
        one = share * stay_one + (1 - share) * leave_two
        two = share * leave_one + (1 - share) * stay_two
        share = one / (one + two)
        shares.append(share)
    return np.array(shares)


def mixed(share: Array, values: Array) -> Array:
    """Return the mean of the two states' values, `share` the first state's weight."""
    return np.asarray(share * values[..., 0] + (1 - share) * values[..., 1])


def two_states(stay: float) -> Array:
    """Return the symmetric transition matrix (from, to)."""
    return np.array([[stay, 1 - stay], [1 - stay, stay]])


def exp_scaled(logs: Array, axis: int | tuple[int, ...]) -> Array:
    """Return exp(logs) up to a factor per bar, the largest being 1.

    A far surprise must not become 0 / 0.
    """
    return np.asarray(np.exp(logs - logs.max(axis=axis, keepdims=True)))


def delayed(values: Array, by: int, before: float) -> Array:
    """Return the values `by` bars later, `before` standing in for what lies before the first."""
    return np.concatenate([np.full(by, before), values])[: len(values)]


def log_ratio(upper: pd.Series, lower: pd.Series) -> Array:
    """Return log(upper / lower) in units of SIGMA."""
    return np.asarray(np.log(upper.to_numpy() / lower.to_numpy()) / SIGMA)
