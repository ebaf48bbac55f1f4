"""The hours of the day of a feed's bars beside those of training.

A feed in local time under a model trained in UTC fails nowhere by itself: its bars are sound, and
only the hours at which they come tell.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model.checkpoint.checkpoint import Checkpoint

HOURS = 24
NANOSECONDS_AN_HOUR = 3_600_000_000_000
RARE = 0.01  # share of the bars of training below which an hour was hardly ever seen
FOREIGN = 0.5  # share of a feed's bars in such hours from which on its times are doubted
FEWEST_BARS = 150  # to judge by: the first forecast needs as many
# How far the true time may lie behind the one shown: no zone is further ahead of UTC, and none
# further ahead of another one.
AHEAD_OF_UTC, AHEAD_OF_ANY = 14, 26


class HourWatch:
    """Judges a feed by the hours of its bars so far, the same bar by bar and all at once.

    From the bar on at which half of all bars lay in hours that training hardly ever saw, the feed
    counts as one in another zone. Nothing is judged where a checkpoint does not know its hours.

    Parameters
    ----------
    checkpoints
        Those that serve the feed; an hour that any of them knows is known. Without any, nothing is
        judged.
    """

    def __init__(self, checkpoints: Sequence[Checkpoint]) -> None:
        shares = [checkpoint.hours for checkpoint in checkpoints]
        unknown = not shares or None in shares
        self._trained = None if unknown else np.max(np.array(shares, dtype=float), axis=0)
        self._zone = checkpoints[0].timezone if checkpoints else None
        self._shown = np.zeros(HOURS, dtype=np.int64)  # bars by hour
        self._number = 0
        self._since: int | None = None  # number of the bar from which on the feed is doubted

    def see(self, numbers: NDArray[np.int64], timestamps: NDArray[np.int64]) -> bool:
        """Take sound bars in their order; True if with these the feed begins to be doubted.

        A number that was seen before, of a replayed bar that grows, is passed over.
        """
        if self._trained is None or self._since is not None:
            return False
        new = numbers > self._number
        hours = timestamps[new] // NANOSECONDS_AN_HOUR % HOURS
        if not len(hours):
            return False
        rare = self._trained < RARE
        bars = self._shown.sum() + np.arange(1, len(hours) + 1)
        foreign = self._shown[rare].sum() + np.cumsum(rare[hours])
        doubted = np.flatnonzero((bars >= FEWEST_BARS) & (foreign >= FOREIGN * bars))[:1].tolist()
        stop = doubted[0] + 1 if doubted else len(hours)
        self._shown += np.bincount(hours[:stop], minlength=HOURS)
        self._number = int(numbers[new][stop - 1])
        if doubted:
            self._since = self._number
        return bool(doubted)

    @property
    def is_doubted(self) -> bool:
        """Whether the feed looks like one in another zone."""
        return self._since is not None

    def behind(self, number: int) -> int:
        """Return by how many nanoseconds a bar may be older than its time as shown, usually 0."""
        if self._since is None or number < self._since:
            return 0
        return NANOSECONDS_AN_HOUR * (AHEAD_OF_UTC if self._zone else AHEAD_OF_ANY)

    def describe(self) -> str:
        """Return what is wrong with a feed that is doubted, and what to do."""
        assert self._trained is not None
        bars = int(self._shown.sum())
        foreign = self._shown[self._trained < RARE].sum() / bars
        zone = f"{self._zone}" if self._zone else "an unknown zone"
        remedy = "Give bars in the zone of training, or train on bars whose zone is stated."
        if self._zone:
            remedy = (
                'State the zone of its times, as timezone="America/New_York", which converts them, '
                f'or timezone="{self._zone}" if they are those of training.'
            )
        return (
            f"{foreign:.0%} of its {bars} bars so far lie in hours of the day that hardly ever had "
            f"a bar in training: they are of {_spoken(self._shown / bars)} o'clock, those of "
            f"training of {_spoken(self._trained)} ({zone}). Local time? The model sees another "
            f"time of day then, and bars up to {self.behind(self._number) // NANOSECONDS_AN_HOUR} "
            f"hours after `trained_until` may be those it was trained on: they count as such. "
            f"{remedy}"
        )


def _spoken(shares: NDArray[np.float64]) -> str:
    """Return the hours that are not rare, as "0-3, 22-23"."""
    usual = np.flatnonzero(shares >= RARE)
    stretches = np.split(usual, np.flatnonzero(np.diff(usual) > 1) + 1)
    return ", ".join(
        f"{stretch[0]}-{stretch[-1]}" if len(stretch) > 1 else f"{stretch[0]}"
        for stretch in stretches
    )
