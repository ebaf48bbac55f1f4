"""Memory: it does not grow with the bars of a live run, and a million bars are trained on and
traded in little of it.
"""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.helpers.processes import environment

GROWTH = textwrap.dedent("""
    import gc, resource, sys
    from tests.helpers.hosts import host, traded
    from tests.helpers.live import live, ticks
    from tests.helpers.makers import random_bars, random_checkpoint

    def resident():
        gc.collect()
        return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20

    bars = random_bars(int(sys.argv[1]), freq="h")
    random_checkpoint(bars.iloc[:400]).save(sys.argv[2])
    seen = []
    events = ["LIVE"]
    for number, tick in enumerate(ticks(bars)):
        events.append(tick)
        if number % (len(bars) // 4) == len(bars) // 4 - 1:
            events.append(lambda: seen.append(resident()))
    traded(host(live(events), exactbars=1), checkpoint=sys.argv[2], enter=0.999, exit=0.999)
    print(seen[1], seen[3])
""")


@pytest.mark.parametrize("count", [800, pytest.param(100_000, marks=pytest.mark.slow)])
def test_a_live_run_does_not_grow(tmp_path: Path, count: int) -> None:
    command = [sys.executable, "-c", GROWTH, str(count), str(tmp_path / "a.ckpt")]
    finished = subprocess.run(
        command, capture_output=True, text=True, check=True, env=environment()
    )
    half, whole = map(float, finished.stdout.split())
    assert whole < half + 10  # mebibytes


EPOCH = textwrap.dedent("""
    import tests.helpers.small_network  # its size adds next to nothing to that of the data
    from model import TrainConfig, fit

    fit(bars, TrainConfig(architecture="small", max_epochs=1, batch_size=256))
""")
BACKTEST = textwrap.dedent("""
    from backtests.simulation.account import Account
    from backtests.simulation.broker import simulate
    from tests.helpers.makers import random_checkpoint

    random_checkpoint(bars.iloc[:5_000], bars.index[200]).save("a.ckpt")
    fills = simulate(bars, "a.ckpt", 300, account=Account(enter=0.6, exit=0.5)).fills
    assert len(fills) > len(bars) / 1_000
""")
WORK = """
import resource, sys
from tests.helpers.makers import random_bars
bars = random_bars(int(sys.argv[1]), freq="5min")
{}
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("work", [EPOCH, BACKTEST], ids=["epoch", "backtest"])
def test_a_million_bars_need_less_than_three_gigabytes(tmp_path: Path, work: str) -> None:
    command = [sys.executable, "-c", WORK.format(work), "1000000"]
    finished = subprocess.run(
        command, capture_output=True, text=True, check=True, env=environment(), cwd=tmp_path
    )
    assert int(finished.stdout) < 3e9


POOLED = textwrap.dedent("""
    import resource, sys
    import tests.helpers.small_network  # its size adds next to nothing to that of the data
    from model import TrainConfig, fit
    from tests.helpers.makers import random_bars

    names, count = map(int, sys.argv[1:])
    universe = {f"n{number:03}": random_bars(count, seed=number) for number in range(names)}
    config = TrainConfig(
        architecture="small", max_epochs=1, batch_size=256, outcome="relative"
    )
    fit(universe, config)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
""")


@pytest.mark.slow
@pytest.mark.parametrize("names, count", [(60, 7_000), (500, 2_500)])
def test_a_universe_needs_less_than_three_gigabytes(names: int, count: int) -> None:
    command = [sys.executable, "-c", POOLED, str(names), str(count)]
    finished = subprocess.run(
        command, capture_output=True, text=True, check=True, env=environment()
    )
    assert int(finished.stdout) < 3e9
