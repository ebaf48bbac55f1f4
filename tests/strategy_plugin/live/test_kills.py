"""A trader that is killed at any moment orders nothing twice, and loses and orphans nothing."""

import json
import subprocess
import sys

import pytest

from tests.helpers.processes import ROOT, environment


# Each is a fork of a parent that has imported everything; a cold one is a process of its own.
@pytest.mark.parametrize(
    "kills, start",
    [
        (100, "forked"),
        pytest.param(1_000, "forked", marks=pytest.mark.slow),
        pytest.param(10, "cold", marks=pytest.mark.slow),
    ],
)
def test_after_kills_at_any_moment_the_end_is_that_of_an_undisturbed_run(
    kills: int, start: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.killed_trading", str(kills), "7", start],
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
