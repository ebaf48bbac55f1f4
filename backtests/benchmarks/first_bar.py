"""The import of the plugin with its first bar, and of torch alone.

Sides of the benchmark, each in a new process.

Nothing that costs time is imported above.
"""

import subprocess
import sys
from importlib import import_module

from backtests.benchmarks.rounds import Round, Work, scratch

MAKE = "from backtests.benchmarks.trading import model_file; model_file()"


def torch_alone(size: int) -> Round:
    """Return what imports torch."""

    def play(number: int) -> Work:
        import_module("torch")
        return Work(1)

    return play


def first_bar(size: int) -> Round:
    """Return what imports the plugin, loads a checkpoint and decides once."""
    path = scratch() / "model.ckpt"
    if not path.exists():
        subprocess.run([sys.executable, "-c", MAKE], check=True)

    def play(number: int) -> Work:
        import_module("strategy_plugin.strategy")
        schedule = import_module("model.checkpoint.schedule").Schedule(str(path))
        # A schedule replays the checkpoint's golden vector: 150 bars go in, a probability comes
        # out.
        return Work(1, [schedule.checkpoints[0].golden.probability])

    return play
