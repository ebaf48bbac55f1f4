"""When it trades: a table of probabilities, positions and thresholds."""

import pytest

from strategy_plugin.decision import Thresholds, target, thresholds

NAN = float("nan")


@pytest.mark.parametrize(
    "probability, held, wanted",
    [
        (0.60, 0, 1),
        (0.599, 0, 0),
        (0.599, 1, 1),
        (0.55, 1, 1),
        (0.549, 1, 0),
        (0.40, 0, -1),
        (0.401, 0, 0),
        (0.401, -1, -1),
        (0.449, -1, -1),
        (0.451, -1, 0),
        (0.60, -1, 1),
        (0.40, 1, -1),
        (0.55, -1, 0),
        (0.45, 1, 0),
        (NAN, 1, 1),
        (NAN, 0, 0),
        (NAN, -1, -1),
        (1.0, 0, 1),
        (0.0, 0, -1),
    ],
)
def test_levels_decide(probability: float, held: int, wanted: int) -> None:
    assert target(probability, held, enter=0.60, exit=0.55, allow_short=True) == wanted


@pytest.mark.parametrize(
    "probability, held, wanted",
    [(0.1, 0, 0), (0.1, 1, 0), (0.1, -1, 0), (0.9, -1, 1), (NAN, -1, -1)],
)
def test_without_shorts_a_low_probability_is_flat(
    probability: float, held: int, wanted: int
) -> None:
    assert target(probability, held, enter=0.60, exit=0.55, allow_short=False) == wanted


@pytest.mark.parametrize(
    "enter, exit, own, chosen",
    [
        (None, None, (None, None), (0.5, 0.5)),
        (None, None, (0.57, 0.52), (0.57, 0.52)),
        (0.6, None, (0.57, 0.52), (0.6, 0.52)),
        (0.6, 0.55, (0.57, 0.52), (0.6, 0.55)),
    ],
)
def test_thresholds_are_the_given_ones_then_the_models_then_one_half(
    enter: float | None,
    exit: float | None,
    own: tuple[float | None, float | None],
    chosen: tuple[float, float],
) -> None:
    assert thresholds(enter, exit, own=own) == Thresholds(*chosen)


@pytest.mark.parametrize(
    "enter, exit", [(0.6, 0.7), (0.4, 0.4), (1.0, 0.5), (0.6, 0.49), (NAN, 0.5), (0.6, NAN)]
)
def test_thresholds_out_of_order_are_refused(enter: float, exit: float) -> None:
    with pytest.raises(
        ValueError, match=r"must satisfy 0.5 <= exit <= enter < 1, got enter=.*and exit=[^ ]*\.$"
    ):
        thresholds(enter, exit)


def test_the_refusal_names_the_file_whose_threshold_takes_part() -> None:
    with pytest.raises(ValueError, match=r"exit=0.6 \(with those of a.ckpt\)\. Give both, or"):
        thresholds(0.55, None, own=(0.7, 0.6), source="a.ckpt")
