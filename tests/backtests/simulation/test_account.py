import pytest

from backtests.simulation.account import Account, Costs


@pytest.mark.parametrize(
    "faulty, message",
    [
        (
            lambda: Costs(commission=-1),
            "`commission` must be a number of basis points from 0, got -1.",
        ),
        (
            lambda: Costs(half_spread=float("nan"), slippage=-2),
            "`slippage` must be a number of basis points from 0, got -2.",
        ),
        (lambda: Account(cash=0), "`cash` must be a finite number above 0, got 0."),
    ],
)
def test_impossible_settings_are_refused(faulty, message):
    with pytest.raises(ValueError) as caught:
        faulty()
    assert message in str(caught.value)


def test_costs_say_what_they_are_made_of():
    assert str(Costs()) == "2 basis points per side: commission 1, half spread 0.5, slippage 0.5"


@pytest.mark.parametrize(
    "thresholds, message",
    [
        ({"enter": 0.6}, "`enter` and `exit` must be given together"),
        ({"enter": 2.0, "exit": 0.5}, "0.5 <= exit <= enter < 1, got enter=2.0"),
        ({"enter": 0.6, "exit": float("nan")}, "0.5 <= exit <= enter < 1"),
    ],
)
def test_thresholds_that_cannot_be_are_refused_before_any_training(
    thresholds: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Account(**thresholds)
