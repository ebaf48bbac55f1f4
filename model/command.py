"""How every command ends: one clean message and a distinct exit code, never a traceback."""
import signal
import sys
import warnings
from collections.abc import Sequence
from types import FrameType
from typing import Any, NoReturn

from cyclopts import App, CycloptsError
from rich.console import Console

OK, USAGE, CANNOT_WRITE = 0, 2, 6
# Errors that carry an `exit_code`: BarsError 3, CheckpointError 4, TrainingDiverged 5, OutputError 6.

errors = Console(stderr=True, soft_wrap=True, highlight=False)


def run(app: App, arguments: Sequence[str] | None = None) -> NoReturn:
    """Parse `arguments` (default: the command line), run the command and leave with its exit code.

    Warnings of ours become one line each on stderr. A fault that the program knows becomes one message; anything else
    is a fault of the program and keeps its traceback.
    """
    warnings.showwarning = _show_warning
    signal.signal(signal.SIGTERM, _stop)
    try:
        result = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        _leave(USAGE, f"{error} See --help.")
    except KeyboardInterrupt:
        _leave(128 + signal.SIGINT, "stopped by Ctrl-C.")
    except (OSError, ValueError, RuntimeError) as error:
        _leave(_exit_code(error), str(error))
    sys.exit(result if isinstance(result, int) else OK)


def _exit_code(error: Exception) -> int:
    code = getattr(error, "exit_code", None)
    if isinstance(code, int):
        return code
    if isinstance(error, OSError):
        return CANNOT_WRITE
    if type(error) is ValueError:  # a setting that its own class refuses
        return USAGE
    raise error


def _leave(code: int, message: str) -> NoReturn:
    errors.print(f"[bold red]error:[/] ", end="")
    errors.print(message, markup=False)
    sys.exit(code)


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    errors.print("[yellow]note:[/] ", end="")
    errors.print(str(message), markup=False)


def _stop(number: int, _: FrameType | None) -> NoReturn:
    _leave(128 + number, f"stopped by {signal.Signals(number).name}.")
