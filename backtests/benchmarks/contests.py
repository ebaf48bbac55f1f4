"""What is compared with what, in which unit, and what is to be reached.

The rows of the benchmark.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import NamedTuple

from backtests.benchmarks import engine, first_bar, own, pooled, pybroker, trading, training
from backtests.benchmarks.book import books
from backtests.benchmarks.live import live
from backtests.benchmarks.ordering import ordering
from backtests.benchmarks.rounds import Samples, Size, in_turn
from model.precision import bf16_support


class Figure(NamedTuple):
    """A number that two sides are compared by.

    What it counts, how it is had on a clock, and whether more is better.
    """

    unit: str
    of: Callable[[Samples, Samples, str], float]
    more: bool = False


FASTER = Figure("x", lambda ours, theirs, clock: theirs.cost(clock) / ours.cost(clock), more=True)
LONGER = Figure("x", lambda ours, theirs, clock: ours.cost(clock) / theirs.cost(clock))
# The slowest of a hundred bars beside the rival's median: what a trader has to wait for.
SLOWEST = Figure("x", lambda ours, theirs, clock: ours.cost(clock, 99) / theirs.cost(clock))
SLOWEST_OF_EACH = Figure(
    "x", lambda ours, theirs, clock: ours.cost(clock, 99) / theirs.cost(clock, 99)
)
ADDED = Figure("s", lambda ours, theirs, clock: ours.cost(clock) - theirs.cost(clock))
TAKEN = Figure("s", lambda ours, theirs, clock: ours.cost(clock))
MEMORY = Figure("MB", lambda ours, theirs, clock: ours.memory)


class Goal(NamedTuple):
    """What a figure is to reach, on the clock that it is meant for."""

    figure: Figure
    limit: float
    clock: str = "cpu"
    name: str = ""

    def met(self, found: float) -> bool:
        # A cost is to stay below its limit, a speed above it.
        return found >= self.limit if self.figure.more else found <= self.limit

    def __str__(self) -> str:
        return f"{'>=' if self.figure.more else '<='} {self.limit:g} {self.figure.unit}"


@dataclass(frozen=True, kw_only=True)
class Contest:
    """A row. meet: has both sides work and returns their samples, ours first.

    tolerance: by how much the outputs may differ; None: by as much as the rival's differ among each
    other.
    """

    name: str
    work: str
    against: str
    unit: str
    meet: Callable[[Size], Sequence[Samples]]
    full: Size
    quick: Size
    goals: tuple[Goal, ...]
    tolerance: float | None = 1e-5
    needs: tuple[str, ...] = ()  # packages that are extras, and "bf16"

    @property
    def lack(self) -> str:
        """Why it cannot be run here; the empty string where it can."""
        return " and ".join(reason for need in self.needs if (reason := lack_of(need)))


def lack_of(need: str) -> str:
    """Return why something needed is not there; the empty string where it is."""
    # Not a package but the processor's own.
    if need == "bf16":
        return "" if bf16_support() in ("tiles", "vectors") else "this processor has no bf16"
    # The extra that brings it: nobody should have to look for the name.
    extra = "live" if need in ("alpaca", "aiohttp") else "benchmark"
    return (
        ""
        if find_spec(need)
        else f"{need} is not installed: pip install -c tests/constraints.txt -e '.[{extra}]'"
    )


# Twenty steps of a batch: enough for a median, short enough for A B A B.
STEPS, STEPS_QUICK = Size(1_280, 1_280, 5), Size(128, 128, 1)
FOLDS, FOLDS_QUICK = Size(5_031, 5_031, 1), Size(1_200, 1_200, 1)
# No two backtests here are equally long: what the plugin remembers of one would be found by the
# next.
PLAIN = "a plain nn.LSTM loop in fp32 with a DataLoader"
CONTESTS = (
    Contest(
        name="training",
        work="training, fp32",
        against=PLAIN,
        unit="window",
        meet=in_turn("apart", training.steps_ours, training.steps_plain),
        full=STEPS,
        quick=STEPS_QUICK,
        goals=(Goal(FASTER, 1.2),),
        tolerance=1e-4,
    ),
    Contest(
        name="training-bf16",
        work="training, bf16",
        against=PLAIN,
        unit="window",
        needs=("bf16",),
        meet=in_turn("apart", training.steps_ours, training.steps_plain, precision="bf16"),
        full=STEPS,
        quick=STEPS_QUICK,
        goals=(Goal(FASTER, 2.6),),
        tolerance=1e-2,
    ),
    Contest(
        name="seeds-bf16",
        work="training to its end, bf16",
        against="the same in fp32; the losses as close as three seeds'",
        unit="training",
        needs=("bf16",),
        meet=in_turn("apart", training.ends, training.ends, precision="bf16"),
        full=Size(2_500, 2_500, 1),
        quick=Size(700, 700, 1),
        goals=(Goal(FASTER, 1.5),),
        tolerance=None,
    ),
    Contest(
        name="folds",
        work="folds of a walk-forward, fp32, two processes",
        against=f"{PLAIN}, one process, torch's threads",
        unit="fold",
        meet=in_turn("whole", training.folds_ours, training.folds_plain),
        full=FOLDS,
        quick=FOLDS_QUICK,
        goals=(Goal(FASTER, 1.8, "wall"),),
        tolerance=1e-3,
    ),
    Contest(
        name="folds-bf16",
        work="folds of a walk-forward, bf16, two processes",
        needs=("bf16",),
        against=f"{PLAIN}, one process, torch's threads",
        unit="fold",
        meet=in_turn("whole", training.folds_ours, training.folds_plain, precision="bf16"),
        full=FOLDS,
        quick=FOLDS_QUICK,
        goals=(Goal(FASTER, 3.5, "wall"),),
        tolerance=2e-2,
    ),
    Contest(
        name="pybroker",
        work="a walk-forward with its trades, fp32",
        against="PyBroker with a plain train_fn",
        unit="run",
        needs=("pybroker",),
        meet=in_turn("whole", training.walk_ours, pybroker.walk_pybroker),
        full=FOLDS,
        quick=FOLDS_QUICK,
        goals=(Goal(LONGER, 0.85),),
        tolerance=1e-3,
    ),
    Contest(
        name="pybroker-bf16",
        work="a walk-forward with its trades, bf16",
        against="PyBroker with a plain train_fn",
        unit="run",
        needs=("pybroker", "bf16"),
        meet=in_turn("whole", training.walk_ours, pybroker.walk_pybroker, precision="bf16"),
        full=FOLDS,
        quick=FOLDS_QUICK,
        goals=(Goal(LONGER, 0.45),),
        tolerance=2e-2,
    ),
    Contest(
        name="pooled-window",
        work="training of one network for eight instruments",
        against="as many windows of one",
        unit="window",
        meet=in_turn("apart", pooled.windows_pooled, pooled.windows_alone),
        full=Size(5_120, 5_120, 3),
        quick=Size(512, 512, 1),
        goals=(Goal(LONGER, 1.1),),
    ),
    Contest(
        name="pooled-prepare",
        work="60 instruments of 28 years made ready to train on",
        against="their features alone, in pandas",
        unit="universe",
        meet=in_turn("fresh", pooled.prepared, pooled.features_of_each),
        full=Size(7_000, 7_000, 1),
        quick=Size(400, 400, 1),
        goals=(Goal(TAKEN, 20, "wall"), Goal(MEMORY, 3_000, name="peak")),
    ),
    Contest(
        name="pooled-jobs",
        work="folds of one network for eight instruments, two processes",
        against="the same in one",
        unit="fold",
        meet=in_turn("whole", pooled.folds_pooled, pooled.folds_pooled, jobs="2"),
        full=Size(8_000, 8_000, 1),
        quick=Size(700, 700, 1),
        goals=(Goal(FASTER, 1.5, "wall"),),
        tolerance=0.0,
    ),
    Contest(
        name="pooled-pybroker",
        work="a walk-forward of one network for eight instruments, with its trades",
        against="PyBroker's pooled model with a plain train_fn",
        unit="run",
        needs=("pybroker",),
        meet=in_turn("whole", pooled.walk_ours, pybroker.walk_pybroker_pooled),
        full=Size(1_200, 1_200, 1),
        quick=Size(1_200, 1_200, 1),
        goals=(Goal(LONGER, 0.85),),
        tolerance=1e-3,
    ),
    Contest(
        name="backtest-pandas",
        work="a backtest",
        against="features bar by bar in pandas",
        unit="bar",
        meet=in_turn("here", trading.backtest_ours, trading.backtest_pandas),
        full=Size(4_000, 350, 3),
        quick=Size(200, 155, 1),
        goals=(Goal(FASTER, 100),),
    ),
    Contest(
        name="backtest-talib",
        work="a backtest",
        against="features bar by bar with TA-Lib",
        unit="bar",
        needs=("talib",),
        meet=in_turn("here", trading.backtest_ours, trading.backtest_talib),
        full=Size(4_001, 800, 3),
        quick=Size(201, 155, 1),
        goals=(Goal(FASTER, 9),),
    ),
    Contest(
        name="backtest-forward",
        work="a backtest",
        against="features precomputed, a forward a bar",
        unit="bar",
        meet=in_turn("here", trading.backtest_ours, trading.backtest_precomputed),
        full=Size(4_002, 2_000, 3),
        quick=Size(202, 155, 1),
        goals=(Goal(FASTER, 3),),
    ),
    Contest(
        name="backtest-pandas-bf16",
        work="a backtest in bf16",
        against="features bar by bar in pandas",
        unit="bar",
        needs=("bf16",),
        meet=in_turn("here", trading.backtest_ours, trading.backtest_pandas, precision="bf16"),
        full=Size(4_003, 351, 3),
        quick=Size(203, 155, 1),
        goals=(Goal(FASTER, 200),),
        tolerance=1e-2,
    ),
    Contest(
        name="backtest-talib-bf16",
        work="a backtest in bf16",
        against="features bar by bar with TA-Lib",
        unit="bar",
        needs=("talib", "bf16"),
        meet=in_turn("here", trading.backtest_ours, trading.backtest_talib, precision="bf16"),
        full=Size(4_004, 801, 3),
        quick=Size(204, 155, 1),
        goals=(Goal(FASTER, 18),),
        tolerance=1e-2,
    ),
    Contest(
        name="backtest-forward-bf16",
        work="a backtest in bf16",
        against="features precomputed, a forward a bar",
        unit="bar",
        needs=("bf16",),
        meet=in_turn("here", trading.backtest_ours, trading.backtest_precomputed, precision="bf16"),
        full=Size(4_005, 2_001, 3),
        quick=Size(205, 155, 1),
        goals=(Goal(FASTER, 6),),
        tolerance=1e-2,
    ),
    Contest(
        name="next",
        work="a backtest in `next` mode (a resampled feed)",
        against="batch mode of the same strategy",
        unit="bar",
        meet=in_turn("here", trading.next_mode, trading.batch_mode),
        full=Size(1_000, 1_000, 3),
        quick=Size(200, 200, 1),
        goals=(Goal(LONGER, 4),),
    ),
    Contest(
        name="live",
        work="a live bar, from its arrival to the decision",
        against="torch's eager forward alone",
        unit="bar",
        meet=live,
        full=Size(1_000, 1_000, 1),
        quick=Size(180, 180, 1),
        goals=(Goal(LONGER, 1.5), Goal(SLOWEST, 3, name="p99")),
    ),
    Contest(
        name="order",
        work="from a live bar to its order: our share",
        against="the client's and the venue's, on the loopback",
        unit="order",
        needs=("alpaca", "aiohttp"),
        meet=ordering,
        full=Size(400, 400, 1),
        quick=Size(30, 30, 1),
        goals=(Goal(LONGER, 1, "wall"), Goal(SLOWEST_OF_EACH, 1, "wall", name="p99")),
    ),
    Contest(
        name="features",
        work="86 features, 100,000 bars",
        against="the same in pandas",
        unit="bar",
        meet=in_turn("apart", engine.features_ours, engine.features_pandas),
        full=Size(100_000, 100_000, 3),
        quick=Size(500, 500, 1),
        goals=(Goal(FASTER, 2.5),),
    ),
    Contest(
        name="features-million",
        work="86 features, 1,000,000 bars",
        against="the same in pandas",
        unit="bar",
        meet=in_turn("fresh", engine.features_ours, engine.features_pandas),
        full=Size(1_000_000, 1_000_000, 1),
        quick=Size(500, 500, 1),
        goals=(Goal(FASTER, 2.5), Goal(MEMORY, 1_000, name="peak")),
        tolerance=1e-3,
    ),
    Contest(
        name="own-features",
        work="86 features and ten columns of one's own in pandas, 100,000 bars",
        against="the 86 alone",
        unit="bar",
        meet=in_turn("apart", own.rows, engine.features_ours),
        full=Size(100_000, 100_000, 3),
        quick=Size(500, 500, 1),
        goals=(Goal(LONGER, 1.1),),
        tolerance=0.0,
    ),
    Contest(
        name="own-training",
        work="a training of eight epochs with ten columns of one's own",
        against="with the 86 alone",
        unit="bar",
        meet=in_turn("apart", own.training, own.training, own="spans"),
        full=Size(3_000, 3_000, 2),
        quick=Size(500, 500, 1),
        goals=(Goal(LONGER, 1.1),),
    ),
    Contest(
        name="own-live",
        work="the feature row of a live bar, with ten columns of one's own in pandas",
        against="with the 86 alone",
        unit="bar",
        meet=in_turn("here", own.live, own.live, own="spans"),
        full=Size(600, 600, 3),
        quick=Size(200, 200, 1),
        goals=(Goal(TAKEN, 0.010),),
        tolerance=0.0,
    ),
    Contest(
        name="sweep",
        work="a sweep of 50 thresholds",
        against="50 crossings of moving averages, about as many orders",
        unit="run",
        meet=in_turn("here", trading.sweep_ours, trading.sweep_averages),
        full=Size(2_000, 2_000, 2),
        quick=Size(160, 160, 1),
        goals=(Goal(LONGER, 1.5),),
    ),
    Contest(
        name="book",
        work="a book over 60 datas, forecasts there beforehand",
        against="Backtrader alone with the same datas and orders",
        unit="bar of a data",
        meet=books,
        full=Size(2_000, 2_000, 3),
        quick=Size(200, 200, 1),
        goals=(Goal(LONGER, 1.5),),
    ),
    Contest(
        name="growth",
        work="a backtest of 500,000 bars, small network",
        against="one of 5,000",
        unit="bar",
        meet=in_turn("here", trading.backtest_small, trading.backtest_small),
        full=Size(500_000, 5_000, 1),
        quick=Size(400, 200, 1),
        goals=(Goal(LONGER, 1.3),),
    ),
    Contest(
        name="import",
        work="import of the plugin and its first bar",
        against="import of torch",
        unit="process",
        meet=in_turn("fresh", first_bar.first_bar, first_bar.torch_alone),
        full=Size(1, 1, 3),
        quick=Size(1, 1, 1),
        goals=(Goal(ADDED, 1.5),),
    ),
)
