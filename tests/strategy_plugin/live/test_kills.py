"""A trader that is killed at any moment orders nothing twice, and loses and orphans nothing."""

import json
import subprocess
import sys

import pytest

from tests.helpers.processes import ROOT, environment


@pytest.mark.parametrize("kills", [20, pytest.param(1_000, marks=pytest.mark.slow)])
def test_after_kills_at_any_moment_the_end_is_that_of_an_undisturbed_run(kills: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.killed_trading", str(kills), "7"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    both = json.loads(done.stdout)
    disturbed, undisturbed = both["disturbed"], both["undisturbed"]
    assert (disturbed.pop("killed"), undisturbed.pop("killed")) == (kills, 0)
    ids = [order[0] for order in disturbed["orders"]]
    assert len(ids) == len(set(ids)) > kills
    assert disturbed == undisturbed
