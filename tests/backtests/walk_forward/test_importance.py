import numpy as np
import pytest

from backtests.walk_forward.importance import importance
from model.features.table import FEATURE_GROUPS
from tests.helpers.makers import random_checkpoint


@pytest.fixture
def trained(bars):
    """A random network that reads nothing but momentum, and counts as trained until bar 380."""
    columns = FEATURE_GROUPS["momentum"]
    network = random_checkpoint(
        bars,
        bars.index[380],
        golden=False,
        parts={
            "validation": {
                "windows": 80,
                "first": str(bars.index[298]),
                "last": str(bars.index[377]),
                "up_share": 0.5,
            }
        },
    )
    for name, weights in network.members[0].weights.items():
        if name.startswith("lstm.weight_ih_l0"):
            weights[:, : columns.start] = weights[:, columns.stop :] = 0
    return network


def test_only_what_the_network_reads_is_important(bars, trained):
    found = importance(trained, bars)
    assert list(found) == list(FEATURE_GROUPS)
    assert abs(found.pop("momentum")) > 1e-3
    assert np.abs(list(found.values())).max() < 1e-9


def test_bars_after_the_training_do_not_matter(bars, trained):
    changed = bars.copy()
    changed.iloc[381:, :4] *= 2
    assert importance(trained, changed) == importance(trained, bars)
