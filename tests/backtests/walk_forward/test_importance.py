import numpy as np
import pytest

from backtests.walk_forward.importance import importance
from model.features.table import FEATURE_GROUPS
from model.training.config import TrainConfig
from tests.helpers.makers import random_bars, random_checkpoint


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
    found = importance(trained, bars, TrainConfig())
    assert list(found) == list(FEATURE_GROUPS)
    assert abs(found.pop("momentum")) > 1e-3
    assert np.abs(list(found.values())).max() < 1e-9


def test_bars_after_the_training_do_not_matter(bars, trained):
    changed = bars.copy()
    changed.iloc[381:, :4] *= 2
    assert importance(trained, changed, TrainConfig()) == importance(trained, bars, TrainConfig())


def test_of_a_universe_each_instrument_is_moved_by_itself_and_each_date_weighs_the_same(
    bars, trained
):
    """Twice the same bars weigh as once; a name that has half of the dates counts on these."""
    config = TrainConfig(fewest_instruments=1)
    alone = importance(trained, bars, config)
    twice = importance(trained, {"a": bars, "b": bars}, config)
    assert twice == pytest.approx(alone)
    other = random_bars(400, seed=8)
    first, second = (importance(trained, one, config) for one in (bars, other))
    both = importance(trained, {"a": bars, "b": other}, config)
    assert both == pytest.approx(
        {group: (first[group] + second[group]) / 2 for group in first}, abs=1e-12
    )
    # One that ended before the part, and one whose windows begin after it, have no part in it.
    early, late = other.iloc[:290], other.iloc[250:]
    assert importance(trained, {"a": bars, "b": early, "c": late}, config) == alone


def test_a_relative_outcome_is_weighed_by_its_own_labels(trained, bars):
    universe = {"a": bars} | {f"n{seed}": random_bars(400, seed=seed) for seed in (4, 5)}
    found = importance(trained, universe, TrainConfig(fewest_instruments=3, outcome="relative"))
    assert abs(found["momentum"]) > 1e-5
    assert found != importance(trained, universe, TrainConfig(fewest_instruments=3))
