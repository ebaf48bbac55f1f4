import pytest

from backtests.pages import pairs_of, sign_of


@pytest.mark.parametrize(
    "value, text",
    [
        (None, "-"),
        (True, "yes"),
        (False, "no"),
        (100_000.0, "100,000"),
        (0.1234567, "0.1234567"),
        (1e-4, "0.0001"),
        (7, "7"),
        ("1999-01-04 00:00:00", "1999-01-04"),
        ("2020-03-06 15:00:00", "2020-03-06 15:00:00"),
    ],
)
def test_a_setting_is_written_for_one_who_knows_no_python(value, text):
    assert pairs_of({"of_it": {"a_name": value}}) == [("of it: a name", text)]


@pytest.mark.parametrize(
    "text, sign",
    [("+1.5%", "gain"), ("-0.1%", "loss"), ("+0.0%", ""), ("-", ""), ("2019", ""), ("", "")],
)
def test_a_figure_is_a_gain_or_a_loss_unless_it_is_nought(text, sign):
    assert sign_of(text) == sign
