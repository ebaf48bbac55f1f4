"""Probabilities of a whole feed, computed once for all the runs of a sweep."""
import numpy as np
from numpy.typing import NDArray

from strategy_plugin.schedule import Schedule


def remembered(schedule: Schedule, values: NDArray[np.float64], stamps: NDArray[np.int64], max_gap: int) -> NDArray[np.float64]:
    """Return the probabilities of bars."""
    return schedule.probabilities(values, stamps, max_gap)
