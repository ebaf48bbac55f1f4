"""One network for a universe: the order of its windows, their purge, and what it must be given."""

import math
from collections import Counter
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch

from model.bars.read import digest_bars
from model.checkpoint.checkpoint import Checkpoint
from model.errors import TrainingDiverged
from model.features.table import FeatureEngineer
from model.labels.moves import known_after, make_labels, soft_targets
from model.metrics import log_loss_of_logits
from model.training import loop
from model.training.calibration import fit_temperature
from model.training.config import TrainConfig, member_configs
from model.training.data import TrainingData, describe_unlabelled, prepare
from model.training.fitting import combine, fit
from model.training.outcomes import Unlabelled
from model.training.resume import StateFile, resumption
from tests.helpers.makers import random_bars
from tests.helpers.universes import (
    ALONE,
    NAMES,
    RELATIVE,
    SHORT,
    random_universe,
    reverting_universe,
    unbalanced_universe,
)

QUESTIONS = pytest.mark.parametrize(
    "question",
    [
        {"outcome": outcome, "label": label, "horizon": horizon}
        for outcome in ("direction", "relative")
        for label, horizon in (("open", 1), ("open", 4), ("close", 1))
    ],
    ids=lambda question: " ".join(map(str, question.values())),
)

Universe = dict[str, pd.DataFrame]


@pytest.fixture(scope="module")
def universe() -> Universe:
    return unbalanced_universe()


@pytest.fixture(scope="module")
def data(universe: Universe) -> TrainingData:
    return prepare(universe, SHORT)


@pytest.fixture(scope="module")
def trained(universe: Universe) -> Checkpoint:
    return fit(universe, SHORT)


def names_of(data: TrainingData, windows: slice = slice(None)) -> list[str]:
    """The instrument of each window."""
    names = list(data.blocks)
    starts = [block.start for block in data.blocks.values()]
    places = np.searchsorted(starts, data.starts[windows], side="right") - 1
    return [names[place] for place in places]


class Decision(NamedTuple):
    """A window with the move after it."""

    decided: pd.Timestamp
    entry: pd.Timestamp
    exit: pd.Timestamp
    name: str
    move: float


def decisions_by_hand(universe: Universe, config: TrainConfig) -> list[Decision]:
    """Each decision whose outcome is known, bar after bar."""
    found = []
    wait = known_after(config.label, config.horizon)
    for name, bars in universe.items():
        stamps, prices = list(bars.index), bars[config.label].tolist()
        for bar in range(100 + config.sequence_length - 1, len(bars) - wait):
            entry, exit = (bar + 1 if config.label == "open" else bar), bar + wait
            move = math.log(prices[exit] / prices[entry])
            found.append(Decision(stamps[bar], stamps[entry], stamps[exit], name, move))
    return sorted(found)


def labels_by_hand(
    decisions: list[Decision], fewest: int
) -> tuple[dict[tuple[pd.Timestamp, str], float], list[int]]:
    """The relative labels by decision and name, and how many windows have none, for each reason."""
    labels: dict[tuple[pd.Timestamp, str], float] = {}
    counts = [0, 0, 0]
    for decided, those in groupby(decisions, key=lambda one: one.decided):
        day = list(those)
        stamps = Counter((one.entry, one.exit) for one in day)
        usual = min(pair for pair in stamps if stamps[pair] == max(stamps.values()))
        same = [one for one in day if (one.entry, one.exit) == usual]
        counts[0] += len(day) - len(same)
        if len(same) < fewest:
            counts[1] += len(same)
            continue
        for own in same:
            middle = median(one.move for one in same if one.name != own.name)
            if abs(own.move - middle) < 1e-12:
                counts[2] += 1
            else:
                labels[decided, own.name] = float(own.move > middle)
    return labels, counts


def test_windows_stand_by_date_and_then_by_name(data: TrainingData) -> None:
    for part in data.parts.values():
        assert part.timestamps.is_monotonic_increasing
    decided = data.features.index[data.starts + SHORT.sequence_length - 1]
    order = list(zip(decided, names_of(data)))
    assert order == sorted(order)


def test_each_window_is_rows_of_its_own_instrument(universe: Universe, data: TrainingData) -> None:
    rows = {
        name: pd.DataFrame(
            data.scaler.transform(FeatureEngineer().transform(bars).to_numpy()),
            bars.index[100:],
        )
        for name, bars in universe.items()
    }
    for part, windows in zip(data.parts.values(), data.split):
        for place in range(0, len(part), 7):
            own = rows[names_of(data, windows)[place]].loc[: part.timestamps[place]].to_numpy()
            window = part.windows[place : place + 1][0]
            np.testing.assert_array_equal(window, own[-10:])
            np.testing.assert_array_equal(part.last_rows[place], own[-1])


def test_the_rows_of_all_windows_are_held_once(data: TrainingData) -> None:
    for part in data.parts.values():
        assert np.shares_memory(part.windows.every.numpy(), data._rows)
    assert data._rows.nbytes == 4 * 86 * sum(len(bars) - 100 for bars in data.universe.values())


@pytest.mark.parametrize("batch_size", [12, 32, 10_000])
def test_a_batch_is_the_next_whole_dates_until_it_is_full(
    data: TrainingData, batch_size: int
) -> None:
    part, start = data.train, 0
    batches = list(part.loader(part.labels, batch_size))
    for windows, labels in batches:
        stop = start + len(labels)
        torch.testing.assert_close(windows, part.windows[start:stop], rtol=0, atol=0)
        np.testing.assert_array_equal(labels, part.labels[start:stop])
        # Whole dates, and not one more than it takes.
        assert stop == len(part) or part.timestamps[stop] > part.timestamps[stop - 1]
        before = part.timestamps[start:stop] < part.timestamps[stop - 1]
        assert before.sum() < batch_size <= len(labels) or stop == len(part)
        start = stop
    assert start == len(part)


@QUESTIONS
def test_no_label_of_a_part_is_known_after_the_next_part_begins(
    universe: Universe, question: dict[str, Any]
) -> None:
    config = replace(SHORT, **question)
    data, decisions = prepare(universe, config), decisions_by_hand(universe, config)
    if config.outcome == "relative":
        labels, _ = labels_by_hand(decisions, config.fewest_instruments)
        decisions = [one for one in decisions if (one.decided, one.name) in labels]
    latest: dict[pd.Timestamp, pd.Timestamp] = {}
    for one in decisions:
        latest[one.decided] = max(one.exit, latest.get(one.decided, one.exit))
    dates = sorted(latest)
    borders = [int(0.7 * len(dates)), int(0.7 * len(dates)) + int(0.15 * len(dates)), len(dates)]
    first = 0
    for part, border in zip(data.parts.values(), borders):
        own = dates[first:border]
        stay = [day for day in own if border == len(dates) or latest[day] <= dates[border]]
        # A date is left out or kept as a whole.
        assert list(part.timestamps) == [one.decided for one in decisions if one.decided in stay]
        first = border
    used = {*data.train.timestamps, *data.validation.timestamps}
    until = max(one.exit for one in decisions if one.decided in used)
    assert data.trained_until == until <= data.test.timestamps[0]


def test_a_long_halt_over_a_border_costs_its_date_and_no_other(
    universe: Universe, data: TrainingData
) -> None:
    halted = universe["n06"].index[universe["n06"].index < universe["n00"].index[225]]
    dates = set(data.train.timestamps) | set(data.validation.timestamps)
    # The move from the last open before the halt, and the one over it, end after the border.
    assert not set(halted[-2:]) & dates and halted[-3] in dates
    assert min(dates) < halted[-2] < max(data.train.timestamps)


@pytest.mark.parametrize("label, horizon", [("open", 1), ("close", 3)])
def test_directions_are_those_of_each_instrument_alone(
    universe: Universe, label: Any, horizon: int
) -> None:
    data = prepare(universe, replace(SHORT, label=label, horizon=horizon))
    decided = data.features.index[data.starts + SHORT.sequence_length - 1]
    known = {
        name: pd.DataFrame(
            {
                "label": make_labels(bars, label, horizon),
                "target": soft_targets(bars, label, horizon),
            }
        ).shift(-1)
        for name, bars in universe.items()
    }
    found = [known[name].loc[stamp] for name, stamp in zip(names_of(data), decided)]
    np.testing.assert_array_equal(data.labels, [one["label"] for one in found])
    np.testing.assert_array_equal(data.targets, [one["target"] for one in found])


@pytest.mark.parametrize("label, horizon", [("open", 1), ("open", 4), ("close", 1)])
@pytest.mark.parametrize("fewest", [4, 9])
def test_relative_labels_compare_those_with_the_usual_stamps_and_the_others_are_counted(
    universe: Universe, label: Any, horizon: int, fewest: int
) -> None:
    config = replace(RELATIVE, label=label, horizon=horizon, fewest_instruments=fewest)
    data = prepare(universe, config)
    expected, counts = labels_by_hand(decisions_by_hand(universe, config), fewest)
    decided = data.features.index[data.starts + config.sequence_length - 1]
    found = dict(zip(zip(decided, names_of(data)), data.labels))
    assert found == {key: expected[key] for key in found}
    # All but those of the purged dates in the midst of a part.
    assert len({stamp for stamp, _ in expected.keys() - found.keys()}) <= 2 * config.horizon + 2
    assert list(data.unlabelled) == [*counts, 0] and counts[0] > 0
    np.testing.assert_array_equal(data.targets > 0.5, data.labels == 1)


def test_windows_without_a_label_are_told_by_reason() -> None:
    assert describe_unlabelled(Unlabelled(3, 0, 1)) == (
        "; without a label are 3 windows entered or left at other times than most of their date, "
        "1 window whose move is the median of the others"
    )
    few = describe_unlabelled(Unlabelled(few_names=2))
    assert few.endswith("are 2 windows of dates on which too few instruments can be compared")
    assert describe_unlabelled(Unlabelled()) == ""


def test_relative_labels_have_no_favourite_though_names_are_odd() -> None:
    data = prepare(random_universe(NAMES[:5]), RELATIVE)
    share = data.labels.mean()
    assert share == pytest.approx(0.5, abs=3 * 0.5 / np.sqrt(len(data.labels)))


def test_equal_moves_have_no_label() -> None:
    universe = random_universe(NAMES[:4])
    for name, factor in (("n02", 3.0), ("n03", 7.0)):
        universe[name] = universe["n01"] * [factor, factor, factor, factor, 1.0]
    data = prepare(universe, RELATIVE)
    # Three of four move alike: each of them equals the median of its others.
    assert set(names_of(data)) == {"n00"}
    assert data.unlabelled.at_the_median == 3 * len(data.labels)


def test_the_scaler_and_the_ranges_are_those_of_all_rows_of_training(
    universe: Universe, data: TrainingData
) -> None:
    reached: dict[str, set[int]] = {name: set() for name in universe}
    for name, start in zip(names_of(data, data.split[0]), data.starts[data.split[0]]):
        reached[name] |= set(range(start, start + 10))
    rows = data.features.to_numpy()[sorted(set().union(*reached.values()))]
    np.testing.assert_array_equal(data.training_features, rows)
    np.testing.assert_allclose(data.scaler.mean, rows.mean(axis=0), atol=1e-9)
    scale = np.array(data.scaler.scale)
    np.testing.assert_allclose(scale[scale != 1], rows.std(axis=0)[scale != 1], rtol=1e-9)


@pytest.mark.parametrize("horizon", [1, 3])
def test_one_instrument_by_name_is_trained_as_its_bars_are(
    bars: pd.DataFrame, horizon: int
) -> None:
    config = replace(ALONE, horizon=horizon)
    alone, named = fit(bars, config), fit({"one": bars}, config)
    for ours, theirs in zip(named.members, alone.members):
        assert ours.temperature == theirs.temperature and ours.history == theirs.history
        for name, weights in theirs.weights.items():
            assert torch.equal(ours.weights[name], weights)
    assert (named.metrics, named.parts, named.scaler) == (alone.metrics, alone.parts, alone.scaler)
    assert (named.usual, named.golden) == (alone.usual, alone.golden)


def test_each_date_of_validation_counts_the_same(data: TrainingData, trained: Checkpoint) -> None:
    [member], part = trained.members, data.validation
    raw = replace(member, temperature=1.0).logits(part.windows)
    sizes = part.timestamps.value_counts()
    weights = np.array([1 / sizes[stamp] for stamp in part.timestamps])
    assert len(set(sizes)) > 1
    assert member.temperature == fit_temperature(raw, part.labels, weights)
    assert member.temperature != fit_temperature(raw, part.labels)
    weighed = log_loss_of_logits(raw / member.temperature, part.labels, weights)
    assert member.history[-1]["validation_loss"] == pytest.approx(weighed, abs=1e-9)


def test_the_order_of_the_files_changes_no_bit(universe: Universe, trained: Checkpoint) -> None:
    turned = dict(sorted(universe.items(), key=lambda item: item[0][::-1], reverse=True))
    assert list(turned) != list(universe) and fit(turned, SHORT).digest == trained.digest


@pytest.mark.parametrize("outcome", ["direction", "relative"])
def test_bars_after_trained_until_change_nothing(universe: Universe, outcome: Any) -> None:
    config = replace(SHORT, outcome=outcome)
    before = fit(universe, config)
    changed = {name: bars.copy() for name, bars in universe.items()}
    for number, bars in enumerate(changed.values()):
        bars.loc[bars.index > before.trained_until] *= 1.2 + 0.1 * number
    after = fit(changed, config)
    assert (after.trained_until, after.golden) == (before.trained_until, before.golden)
    assert after.members[0].temperature == before.members[0].temperature
    for name, weights in before.members[0].weights.items():
        assert torch.equal(after.members[0].weights[name], weights)
    assert after.metrics["test_log_loss"] != before.metrics["test_log_loss"]


def test_the_checkpoint_says_what_it_learnt_from(universe: Universe, trained: Checkpoint) -> None:
    later = universe | {"late": random_bars(300, seed=77).iloc[165:]}
    checkpoint = fit(later, SHORT)
    assert list(checkpoint.instruments or ()) == NAMES  # "late" is in the test part alone
    assert checkpoint.instruments == trained.instruments
    assert trained.instruments == {name: digest_bars(bars) for name, bars in universe.items()}
    assert (checkpoint.instrument, checkpoint.outcome) == (None, "direction")
    assert "instruments=12" in repr(checkpoint)


def test_without_a_test_part_training_has_seen_the_last_bar(universe: Universe) -> None:
    checkpoint = fit(universe, SHORT.without_test())
    assert checkpoint.trained_until == max(bars.index[-1] for bars in universe.values())


def test_the_relative_outcome_finds_what_a_common_move_hides() -> None:
    universe = reverting_universe()
    found = {
        outcome: fit(universe, replace(SHORT, outcome=outcome)).metrics["test_logistic_auc"] or 0
        for outcome in ("direction", "relative")
    }
    assert found["relative"] > 0.58 > 0.54 > found["direction"]


def test_members_trained_apart_make_the_same_bits_as_together(universe: Universe) -> None:
    config = replace(RELATIVE, seeds=2)
    apart = [fit(universe, single) for single in member_configs(config)]
    assert combine(apart, universe, config).digest == fit(universe, config).digest


def test_broken_off_it_goes_on_to_the_same_bits(
    universe: Universe, trained: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class BrokenOff(BaseException):
        """Ends a training as a kill does."""

    learn, done = loop._learn, []

    def learned(*arguments: Any) -> Any:
        if len(done) == 9:
            raise BrokenOff
        done.append(0)
        return learn(*arguments)

    with monkeypatch.context() as patched, pytest.raises(BrokenOff):
        patched.setattr(loop, "_learn", learned)
        with resumption(tmp_path / "a.ckpt", universe, seconds=-1.0) as kept:
            fit(universe, SHORT, resumption=kept)
    turned = dict(reversed(universe.items()))
    with (
        resumption(tmp_path / "a.ckpt", turned) as kept,
        pytest.warns(UserWarning, match="training goes on"),
    ):
        assert fit(turned, SHORT, resumption=kept).digest == trained.digest
    # The state of a training on other bars is not gone on with.
    other = universe | {"n01": universe["n01"] * 2}
    with resumption(tmp_path / "a.ckpt", other) as kept:
        keeper: StateFile = kept.keeper(SHORT)
        with pytest.warns(UserWarning, match="is of other bars"):
            assert keeper.load() is None


def test_a_training_that_diverges_keeps_the_epochs_before(
    universe: Universe, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn, steps = loop._learn, iter(range(1_000))

    def learned(state: Any, windows: Any, targets: Any) -> Any:
        if state.epoch == 2 and next(steps) == 3:
            windows = windows * np.inf
        return learn(state, windows, targets)

    monkeypatch.setattr(loop, "_learn", learned)
    with pytest.raises(TrainingDiverged, match="in epoch 2, step 4") as diverged:
        fit(universe, replace(SHORT, max_epochs=3))
    kept = diverged.value.checkpoint
    assert isinstance(kept, Checkpoint) and len(kept.instruments or ()) == 12


def test_days_of_other_zones_are_the_same_days(universe: Universe) -> None:
    zoned = {name: bars.copy() for name, bars in universe.items()}
    zoned["n00"].attrs["timezone"] = "Asia/Tokyo"
    zoned["n01"].attrs["timezone"] = "Europe/London"
    assert fit(zoned, SHORT).timezone is None


def test_hours_and_clock_are_those_of_all() -> None:
    hourly = {
        name: random_bars(300, seed=number, start=start, freq="h")
        for number, (name, start) in enumerate(
            (
                ("a", "2024-01-01"),
                ("b", "2024-01-01 05:00"),
                ("c", "2024-01-02"),
                ("d", "2024-01-01"),
            )
        )
    }
    for bars in hourly.values():
        bars.attrs |= {"timezone": "UTC", "stamp": "close"}
    checkpoint = fit(hourly, SHORT)
    assert (checkpoint.timezone, checkpoint.stamp) == ("UTC", "close")
    seen = [bars.index[bars.index <= checkpoint.trained_until].hour for bars in hourly.values()]
    counts = np.bincount(np.concatenate(seen), minlength=24)
    np.testing.assert_allclose(checkpoint.hours or (), counts / counts.sum())
