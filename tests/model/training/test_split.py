"""The purged split in time order, the bars it needs, and the scaler's fit on training alone."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.features.table import FEATURE_NAMES, LOOKBACK
from model.labels.moves import MOVES, known_after, make_labels
from model.training.preprocessor import DataPreprocessor, calendar_mask

NAN = np.nan


@pytest.fixture(scope="module")
def features() -> pd.DataFrame:
    values = np.random.default_rng(0).normal(size=(1000, len(FEATURE_NAMES)))
    return pd.DataFrame(
        values, index=pd.date_range("2020-01-01", periods=1000), columns=list(FEATURE_NAMES)
    )


def lengths(parts: tuple[slice, slice, slice]) -> tuple[int, ...]:
    return tuple(part.stop - part.start for part in parts)


@pytest.mark.parametrize(
    ("preprocessor", "expected"),
    [
        (DataPreprocessor(label="close"), (665, 142, 143)),
        (DataPreprocessor(label="open"), (664, 141, 143)),
        (DataPreprocessor(label="open", horizon=5), (660, 137, 143)),
        # No test part: no purge after validation.
        (DataPreprocessor(train=0.85, validation=0.15), (806, 143, 0)),
        (DataPreprocessor(train=0.7, validation=0.3, label="close"), (665, 285, 0)),
    ],
)
def test_the_split_of_950_windows(
    preprocessor: DataPreprocessor, expected: tuple[int, ...]
) -> None:
    assert lengths(preprocessor.split(950)) == expected


def test_shares_are_the_decimals_they_were_written_as() -> None:
    # Binary numbers would take a window away.
    assert 0.7 * 10 + 0.1 * 10 == 8 and int(0.29 * 100) == 28
    assert DataPreprocessor(train=0.29, validation=0.2, label="close").split(100)[0].stop == 29


shares = st.integers(1, 98).flatmap(
    lambda train: st.tuples(st.just(train), st.integers(1, 100 - train))
)


@given(
    n_windows=st.integers(0, 3000),
    shares=shares,
    label=st.sampled_from(MOVES),
    horizon=st.integers(1, 9),
)
def test_the_parts_are_ordered_and_never_decide_on_an_unknown_label(
    n_windows: int, shares: tuple[int, int], label: str, horizon: int
) -> None:
    preprocessor = DataPreprocessor(
        train=shares[0] / 100, validation=shares[1] / 100, label=label, horizon=horizon
    )
    try:
        train, validation, test = preprocessor.split(n_windows)
    except ValueError as refusal:
        assert "too few for a training and a validation part" in str(refusal)
        return
    assert (
        0
        == train.start
        < train.stop
        <= validation.start
        < validation.stop
        <= test.start
        <= test.stop
        == n_windows
    )
    assert (test.start == n_windows) == (sum(shares) == 100)
    assert validation.start == shares[0] * n_windows // 100
    for part, following in ((train, validation), (validation, test)):
        if (
            following.start < n_windows
        ):  # window w decides at the close of its last row; neighbours are one bar apart
            assert part.stop - 1 + known_after(label, horizon) == following.start


@given(
    n_windows=st.integers(1, 400),
    shares=shares,
    label=st.sampled_from(MOVES),
    horizon=st.integers(1, 9),
)
def test_one_instrument_is_split_by_dates_as_by_windows(
    n_windows: int, shares: tuple[int, int], label: str, horizon: int
) -> None:
    preprocessor = DataPreprocessor(
        train=shares[0] / 100, validation=shares[1] / 100, label=label, horizon=horizon
    )
    decided = np.arange(n_windows)
    kept, parts = preprocessor.split_dates(decided, decided + known_after(label, horizon))
    try:
        assert parts == preprocessor.split(n_windows)
    except ValueError:
        assert min(lengths(parts)[:2]) == 0
    assert kept.all()


@given(
    data=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 15)), min_size=1, max_size=120).map(
        sorted
    ),
    shares=shares,
)
def test_a_date_is_purged_as_a_whole_by_the_latest_of_its_labels(
    data: list[tuple[int, int]], shares: tuple[int, int]
) -> None:
    decided = np.array([day for day, _ in data])
    known = decided + [wait for _, wait in data]
    preprocessor = DataPreprocessor(train=shares[0] / 100, validation=shares[1] / 100)
    kept, parts = preprocessor.split_dates(decided, known)
    dates = sorted(set(decided.tolist()))
    first = shares[0] * len(dates) // 100
    second = len(dates) if sum(shares) == 100 else first + shares[1] * len(dates) // 100
    for part, own, border in zip(
        parts, (dates[:first], dates[first:second], dates[second:]), (first, second, len(dates))
    ):
        stay = [
            day
            for day in own
            if border == len(dates) or known[decided == day].max() <= dates[border]
        ]
        # Every window of the dates that stay, and no other.
        assert decided[kept][part].tolist() == [day for day in decided if day in stay]


@pytest.mark.parametrize(
    ("train", "validation"), [(0, 0.5), (0.5, 0), (1, 0.1), (0.8, 0.3), (-0.1, 0.5), (NAN, 0.1)]
)
def test_shares_that_leave_a_part_without_windows_are_refused(
    train: float, validation: float
) -> None:
    with pytest.raises(
        ValueError,
        match=f"must be shares above 0 with a sum of at most 1, got {train} and {validation}",
    ):
        DataPreprocessor(train=train, validation=validation)


@pytest.mark.parametrize("length", [0, -1, 2.5])
def test_a_window_has_a_whole_number_of_rows(length: Any) -> None:
    with pytest.raises(
        ValueError, match=f"`sequence_length` must be a whole number from 1, got {length}"
    ):
        DataPreprocessor(sequence_length=length)


def test_too_few_windows_to_split_are_refused_with_the_numbers() -> None:
    with pytest.raises(
        ValueError,
        match=r"3 windows are too few .* \(0\.7 and 0\.15 of them, 1 purged at each border\)",
    ):
        DataPreprocessor().split(3)


def windows_of(bars: int, preprocessor: DataPreprocessor) -> int:
    """Count the labelled windows of so many bars."""
    labels = make_labels(
        pd.DataFrame(1.0, range(bars), ["open", "close"]), preprocessor.label, preprocessor.horizon
    )
    rows = np.zeros((bars - LOOKBACK + 1, 1))
    return len(preprocessor.create_sequences(rows, labels.to_numpy()[LOOKBACK - 1 :])[1])


@given(
    train_windows=st.integers(1, 200),
    validation_windows=st.integers(1, 60),
    shares=shares,
    label=st.sampled_from(MOVES),
    horizon=st.integers(1, 4),
)
def test_one_bar_fewer_than_needed_is_too_few(
    train_windows: int, validation_windows: int, shares: tuple[int, int], label: str, horizon: int
) -> None:
    preprocessor = DataPreprocessor(
        train=shares[0] / 100, validation=shares[1] / 100, label=label, horizon=horizon
    )

    def enough(bars: int) -> bool:
        try:
            train, validation, _ = lengths(preprocessor.split(windows_of(bars, preprocessor)))
        except ValueError:
            return False
        return train >= train_windows and validation >= validation_windows

    needed = preprocessor.bars_needed(train_windows, validation_windows)
    assert enough(needed)
    assert not enough(needed - 1)


def test_the_scaler_sees_the_rows_of_kept_training_windows_and_no_later_one(
    features: pd.DataFrame,
) -> None:
    preprocessor = DataPreprocessor()
    train = preprocessor.split(950)[0]
    first_unseen = train.stop + 49
    later_changed = features.copy()
    later_changed.iloc[first_unseen:] *= 1e6
    assert preprocessor.fit_scaler(later_changed, train) == preprocessor.fit_scaler(features, train)
    last_changed = features.copy()
    last_changed.iloc[first_unseen - 1] *= 1e6
    assert preprocessor.fit_scaler(last_changed, train) != preprocessor.fit_scaler(features, train)


def test_the_scaler_gives_the_training_rows_mean_0_and_deviation_1(features: pd.DataFrame) -> None:
    values = features.to_numpy() * 5 + 3
    scores = DataPreprocessor().fit_scaler(values, slice(0, 951)).transform(values)
    np.testing.assert_allclose(scores.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(scores.std(axis=0), 1, atol=1e-6)


@pytest.mark.parametrize("level", [0.0, 1.0, -1e6, 0.1])
def test_a_constant_column_keeps_scale_1(features: pd.DataFrame, level: float) -> None:
    flat = features.assign(rsi_14=level)
    scaler = DataPreprocessor().fit_scaler(flat, slice(0, 600))
    column = FEATURE_NAMES.index("rsi_14")
    assert scaler.scale[column] == 1.0
    np.testing.assert_allclose(scaler.transform(flat.to_numpy())[:, column], 0, atol=1e-15)


@pytest.mark.parametrize(
    ("span", "left_out"),
    [
        ("1 days", {"tod", "dow", "dom", "moy"}),
        ("3 days", {"dow", "dom", "moy"}),
        ("13 days", {"dow", "dom", "moy"}),
        ("14 days", {"dom", "moy"}),
        ("60 days", {"dom", "moy"}),
        ("61 days", {"moy"}),
        ("700 days", {"moy"}),
        ("731 days", set()),
    ],
)
def test_a_calendar_cycle_that_the_span_does_not_cover_twice_is_left_out(
    span: str, left_out: set[str]
) -> None:
    start = pd.Timestamp("2020-01-01")
    kept = calendar_mask(pd.DatetimeIndex([start, start + pd.Timedelta(span)]))
    missing = {name for name, keep in zip(FEATURE_NAMES, kept) if not keep}
    assert missing == {f"{cycle}_{wave}" for cycle in left_out for wave in ("sin", "cos")}


def test_the_training_rows_decide_which_calendar_columns_are_kept(features: pd.DataFrame) -> None:
    short, whole = (DataPreprocessor().fit_scaler(features, slice(0, stop)) for stop in (10, 900))
    assert short.kept.count(False) == 4 and whole.kept.count(False) == 0  # 59 and 949 days
    assert all(DataPreprocessor().fit_scaler(features.to_numpy(), slice(0, 10)).kept)


@pytest.mark.parametrize("validation", [1 / 3, 2 / 3, 1 / 7])
def test_a_share_and_its_rounded_rest_leave_no_test_part(validation: float) -> None:
    parts = DataPreprocessor(train=round(1 - validation, 12), validation=validation).split(1_000)
    assert parts[2] == slice(1_000, 1_000)
