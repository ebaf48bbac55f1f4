"""The command of an installed package: backtrader-bilstm train | predict | doctor | walk | ..."""

from functools import partial
from importlib import import_module
from typing import Annotated

from cyclopts import App, Parameter

from model.cli import VERSION, run

NAME = "backtrader-bilstm"
COMMANDS = {
    "train": ("model.train", "Train on bars and save a checkpoint."),
    "predict": ("model.predict", "Forecast the bar to come."),
    "doctor": ("model.doctor", "Tell what a file of bars holds, and what is wrong with it."),
    "walk": ("backtests.run", "Walk forward: train, trade out of sample, judge."),
    "ledger": ("backtests.ledger", "Show what was tried, and how much of it luck explains."),
    "search": ("backtests.search", "Search for settings before the first test block, and walk."),
    "compare": ("backtests.compare", "Set runs beside each other: a table and a page."),
    "judge": ("backtests.judge", "Judge any strategy by its returns."),
    "trade": ("strategy_plugin.trade", "Trade a checkpoint live, on paper by default."),
    "history": ("strategy_plugin.history", "Save bars of a venue to train on."),
    "reconcile": ("strategy_plugin.reconcile", "Hold a live run against its backtest."),
    "exchange": ("backtests.exchange", "Replay bars as a live market on this machine."),
    "audit": ("backtests.audit", "Look for look-ahead in features, checkpoints and orders."),
    "controls": ("backtests.controls", "Measure learning on markets whose best forecast is known."),
}

app = App(
    name=NAME,
    version=VERSION,
    help="Train direction models, walk them forward, and find out whether there is an edge.",
)


def start(name: str, *arguments: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> None:
    """Run a command, whose module is loaded only now, with its own flags and exit codes."""
    module, _ = COMMANDS[name]
    command = import_module(module).app
    command.usage = f"Usage: {NAME} {name} [OPTIONS]"
    run(command, arguments)


for command_name, (_, summary) in COMMANDS.items():
    # Without flags of its own: --help and --version go to the command that is loaded.
    app.command(
        partial(start, command_name),
        name=command_name,
        help=summary,
        help_flags=[],
        version_flags=[],
    )


def main() -> None:
    """Run the command line; the entry point that an installation makes a program of."""
    run(app)


if __name__ == "__main__":
    main()
