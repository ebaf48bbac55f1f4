"""What a walk-forward will take, told before it starts: time, as a few batches tell, and memory."""

import time
from collections.abc import Iterable
from dataclasses import replace

from backtests.progress import time_spent
from backtests.synthetic.markets import market
from backtests.walk_forward.trainer import Configuration, FoldJob
from model.bars.faults import count
from model.bars.universe import universe_of
from model.features.joining import context_of
from model.training.config import TrainConfig, member_configs
from model.training.fitting import fit
from model.training.loop import Epoch

# Of a process that trains: what python, torch and the rest take, and how many numbers of 8 bytes
# stand for each feature at the peak (raw rows twice, scaled rows, and what is made on the way).
BASE_MEMORY, NUMBERS = 600e6, 3.0
# Of the epoch that is timed; of fewer windows a validation part may lack a class.
TIMED_BATCHES, TIMED_WINDOWS = 3, 200


def describe_cost(configurations: Iterable[Configuration], jobs: int) -> str:
    """Return a line on what training will take.

    Nothing is asked of folds that are finished, or of which but the thresholds are to be chosen: ""
    where no other is left. jobs: processes.
    """
    waiting = [
        (job, training_windows(job))
        for one in configurations
        for job in one.jobs()
        if job.finished() is None and one.state.trained(job.fold, job.keys.trained) is None
    ]
    if not waiting:
        return ""
    seconds: dict[str, float] = {}  # a window, by architecture
    epoch = 0.0
    for job, windows in waiting:
        for single in member_configs(job.configuration.settings.config):
            if single.architecture not in seconds:
                seconds[single.architecture] = seconds_per_window(single)
            epoch += windows * seconds[single.architecture]
    largest, most = max(waiting, key=lambda one: one[1])
    config = largest.configuration.settings.config
    columns = config.engineer(context_of(largest.past)).names
    processes = min(jobs, len(waiting))
    # At the least a training ends when no epoch after the first was better.
    fewest = min(config.patience + 1, config.max_epochs)
    told = " to ".join(
        f"{time_spent(epochs * epoch / processes)} ({count(epochs, 'epoch')} each)"
        for epochs in sorted({fewest, config.max_epochs})
    )
    memory = BASE_MEMORY + NUMBERS * 8 * len(columns) * most / config.train
    return (
        f"training {count(len(waiting), 'fold')} of up to {count(most, 'window')}, {processes} at "
        f"a time: {told}; {memory / 1e9:.1f} GB of memory for each at a time"
    )


def training_windows(job: FoldJob) -> int:
    """Return how many windows the training part of a fold holds, were each to have a label."""
    config = job.configuration.settings.config
    needed = config.lookback + config.sequence_length - 1
    windows = sum(max(0, len(bars) - needed + 1) for bars in universe_of(job.past).values())
    return int(config.train * windows)


def seconds_per_window(config: TrainConfig) -> float:
    """Return how long a window of training takes here, of an epoch of a few batches.

    config: of a single member. The first epoch is not timed: it warms up.
    """
    windows = max(TIMED_BATCHES * config.batch_size, TIMED_WINDOWS)
    # Features of one's own may make nothing of a made-up market, nor a long horizon of few bars.
    ours = replace(config, outcome="direction", horizon=1, features="", only=False, max_epochs=2)
    n_bars = ours.preprocessor.bars_needed(windows)
    ends: list[float] = []

    def note(_: Epoch) -> None:
        ends.append(time.perf_counter())

    fit(market("walk", n_bars).bars, ours, note)
    return (ends[-1] - ends[0]) / windows
