"""The verdicts on each third of the dates: an edge that has gone is seen to have gone."""

from dataclasses import replace

import numpy as np
import pytest

from backtests.evidence.thirds import COLUMNS, FEWEST_DATES, thirds
from tests.helpers.panels import planted_panel


@pytest.fixture(scope="module")
def faded():
    """A panel whose forecasts know something of the next move in its first third alone."""
    skilled, blind = planted_panel(0.3, dates=900), planted_panel(0.0, dates=900, seed=2)
    early = (np.arange(900) < 300)[:, None]
    known = np.where(early, skilled.scores["strategy"], blind.scores["strategy"])
    return replace(skilled, scores={**skilled.scores, "strategy": known})


def test_an_edge_that_has_gone_is_said_to_be_of_the_first_third(faded):
    found = thirds(faded, 0.0)
    assert found["verdict_at_no_cost"].tolist()[0] == "edge"
    assert "edge" not in found["verdict_at_no_cost"].tolist()[1:]
    assert found["ic_low"][0] > 0 and found["ic_t"][0] > 3 > abs(found["ic_t"][2])


def test_the_thirds_are_all_dates_once_in_their_order(faded):
    found = thirds(faded, 0.0)
    assert found["third"].tolist() == [1, 2, 3] and found["dates"].sum() == len(faded.dates)
    assert found["first_decision"][0] == faded.dates[0]
    assert found["last_decision"][2] == faded.dates[-1]
    assert (found["first_decision"][1:].to_numpy() > found["last_decision"][:-1].to_numpy()).all()


def test_costs_count_in_the_second_verdict_alone(faded):
    free, dear = thirds(faded, 0.0), thirds(faded, 0.05)
    assert (dear["sharpe"] < free["sharpe"]).all()
    assert dear["gross_sharpe"].tolist() == free["gross_sharpe"].tolist()
    assert dear["verdict_at_no_cost"].tolist() == free["verdict_at_no_cost"].tolist()
    assert dear["verdict"].tolist() == ["worse"] * 3


def test_too_few_dates_have_no_thirds(faded):
    fewest = 3 * FEWEST_DATES
    assert len(thirds(faded.part(np.arange(fewest)), 0.0)) == 3
    none = thirds(faded.part(np.arange(fewest - 1)), 0.0)
    assert none.empty and tuple(none.columns) == COLUMNS
