"""What all commands share: the options that choose the bars, one clean message, exit codes."""

import errno
import importlib.metadata
import os
import re
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import KW_ONLY, dataclass, fields, replace
from itertools import chain
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal, NamedTuple, NoReturn, TextIO, cast

import pandas as pd
from cyclopts import App, CycloptsError, Group
from rich.console import Console

from model.bars.faults import count
from model.bars.intervals import bar_interval, day, session_bars, spoken, yearly_bars
from model.bars.read import digest_bars, read_bars
from model.bars.sample import sample_bars
from model.bars.universe import Universe, equal_bars, other_intervals
from model.errors import BarsError, BarsWarning, Setting, Text, as_flags
from model.files import ENDINGS, as_file_name, bare_name
from model.settings import number, optional, require_fields
from model.settings_file import configurable

# The panels of the commands' help, in their order.
DATA = Group("Data", sort_key=1)
FOLDS = Group("Folds", sort_key=2)
ACCOUNT_AND_COSTS = Group("Account and costs", sort_key=3)
BOOK = Group("A book, with --pooled", sort_key=4)
TRAINING = Group("Training", sort_key=5)
RUNNING = Group("Running", sort_key=6)

ALL_BUT_DATA = re.compile("^(?!data$)")  # of BarsOptions, where a command has its own flag

# The exit codes of all commands. An error of ours carries its own as `exit_code`.
#   0      done
#   1      the audit or a reconciliation found a difference; the sides of a benchmark disagree
#          (Disagreement)
#   2      wrong use: a flag, or a setting that its class refuses (ReadingError,
#          UnknownArchitecture, ThresholdsError, any plain ValueError)
#   3      bars refused (BarsError, OneClassError), a feature or label of one's own (FeatureError,
#          LabelError), a file of settings (SettingsFileError), a ledger (LedgerError),
#          a run (RunsError), a search (SearchError)
#   4      checkpoint refused (CheckpointError)
#   5      training diverged or was disturbed (TrainingDiverged, TrainingDisturbed)
#   6      a result cannot be written (OutputError, any other OSError)
#   7      another process writes the same result (OutputInUse, FolderInUse)
#   8      some folds failed, the others are kept (FoldsFailed)
#   9      out of memory
#   10     a venue refuses, or cannot be reached (VenueError)
#   128+n  stopped by signal n (Interrupted)
OK, USAGE, CANNOT_WRITE, OUT_OF_MEMORY = 0, 2, 6, 9
VERSION = importlib.metadata.version("backtrader-bilstm")
NO_MEMORY = "the memory is used up. Give fewer bars, or a smaller `batch_size`, or more memory."

SETTING = re.compile(r"`([a-z_]+)`")  # as a message that is not in parts spells one
NO_READER = (errno.EPIPE, errno.EIO)  # of a pipe, of a terminal

OnFaulty = Literal["error", "drop"]
DROP = Setting("on_faulty", "drop")

errors = Console(stderr=True, soft_wrap=True, highlight=False)


@dataclass(frozen=True)
class BarsOptions:
    """Which bars a command works on, and how their file is to be read.

    Parameters
    ----------
    data
        A CSV, Parquet or Feather file of bars; default: the NASDAQ Composite, daily, 1999 to 2018.
    instrument
        The instrument's name; default: the file's name.
    timezone
        The zone of intraday timestamps without one, for instance America/New_York.
    stamp
        Whether a bar's timestamp is its opening or its closing time; default: as a Parquet file
        says, else its opening.
    ticker
        Which one to take from a file that holds several.
    date_format
        How dates are written, where that is not plain, for instance %d/%m/%Y; %s is an epoch.
    decimal
        The decimal sign, "." or ",", where the numbers do not prove it.
    columns
        Which column of the file is what: --columns.Price close; ignore leaves one out.
    adjust
        Scale open, high, low and close by Adj Close / Close.
    on_missing
        Rows that miss some of their prices: "error" refuses the file, "drop" leaves them out.
    repeats
        Rows that repeat others or lie halfway between them, from 1 % on: "drop" leaves them out,
        "keep" uses them, and no order fills at their opens; by default they are refused.
    accept
        Bars that were hardly traded so, by the name in the message; may be given several times.
    bars_per_year
        How many bars a year of this market has, for annualised figures; default: as the timestamps
        show.
    """

    data: Path | None = None
    _: KW_ONLY
    instrument: str | None = None
    timezone: str | None = None
    stamp: Literal["open", "close"] | None = None
    ticker: str | None = None
    date_format: str | None = None
    decimal: Literal[".", ","] | None = None
    columns: dict[str, str] | None = None
    adjust: bool = False
    on_missing: Literal["error", "drop"] = "error"
    repeats: Literal["drop", "keep"] | None = None
    accept: tuple[str, ...] = ()
    bars_per_year: Annotated[float | None, optional(number(above=0))] = None

    def __post_init__(self) -> None:
        require_fields(self)

    def require_file(self) -> None:
        """Refuse settings of reading where no file is read: they would do nothing."""
        stated = [
            field.name
            for field in fields(self)
            if field.name not in ("data", "instrument", "bars_per_year")
            and getattr(self, field.name) != field.default
        ]
        if stated:
            raise ValueError(
                f"`data` must name a file where {', '.join(f'`{name}`' for name in stated)} "
                "is given, which says how one is read. Give a file, or leave it out."
            )

    @property
    def instrument_name(self) -> str:
        """The instrument's name: as given, else the ticker asked for, else the file's name."""
        file = bare_name(self.data) if self.data else "nasdaq"
        return self.instrument or self.ticker or file

    @property
    def file_name(self) -> str:
        """The instrument's name as it may stand in that of a file: EUR/USD as EUR-USD."""
        return as_file_name(self.instrument_name)

    def read(self, minimum_bars: int | None = None) -> pd.DataFrame:
        # All other options are arguments of `read_bars` by their names.
        given = vars(self) | {"instrument": self.instrument_name, "minimum_bars": minimum_bars}
        path, stated = given.pop("data"), given.pop("bars_per_year")
        if path is None:
            self.require_file()
        bars = sample_bars() if path is None else read_bars(path, **given)
        if stated:
            bars.attrs["bars_per_year"] = stated
        return bars


def bar_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files, with each folder replaced by the files of bars in it, by name.

    Raises BarsError for a folder without any. Hidden files, and files whose names end otherwise
    (a README beside the bars), are not bars.
    """
    files: list[Path] = []
    for path in paths:
        found = [path]
        if path.is_dir():
            found = [
                file
                for file in sorted(path.iterdir())
                if ENDINGS.search(file.name) and not file.name.startswith(".")
            ]
        if not found:
            raise BarsError(
                f"{path} must hold files of bars, named .csv, .txt, .parquet or the like, got none."
            )
        files += found
    return files


def sources_of(options: BarsOptions, files: Sequence[Path]) -> list[BarsOptions]:
    """Return the options of each of several files, of which each is called after its file."""
    if options.instrument or options.ticker:
        raise ValueError(
            "`instrument` and `ticker` must be left out with several files: "
            "each is called after its file."
        )
    return [replace(options, data=file) for file in files]


class LeftOut(NamedTuple):
    """A file that was left out of a universe on request, and what is wrong with it."""

    file: str
    reason: str


def is_universe(paths: Sequence[Path]) -> bool:
    """Return whether these are several files, or a folder of files, rather than one."""
    return len(paths) > 1 or any(path.is_dir() for path in paths)


def require_pooled(pooled: bool, outcome: str) -> None:
    """Refuse a relative outcome of single instruments."""
    if not pooled and outcome == "relative":
        raise ValueError(
            "`outcome` must be direction without `pooled`, got relative: one instrument has no "
            "others to be compared with. Give `pooled` and a folder of files."
        )


def pooled_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files of a universe; refuse a single one."""
    files = bar_files(paths)
    if len(files) < 2:
        for file in files:
            # A folder with a slip in its name looks like a single file.
            if not file.exists():
                raise BarsError(f"{file}: no such file or folder. Check the path.")
        raise BarsError(
            "one network of several instruments needs several files, got "
            f"{', '.join(map(str, files)) or 'none'}. Give more, or leave out ",
            Setting("pooled"),
            ".",
        )
    return files


def each_by_itself(universe: Mapping[str, pd.DataFrame]) -> list[Text]:
    """Say what keeps sound bars from being walked over one by one and judged together."""
    return equal_bars(universe) + other_intervals(universe)


def read_universe(
    options: BarsOptions,
    files: Sequence[Path],
    fits: Callable[[pd.DataFrame], object],
    on_faulty: OnFaulty = "error",
    *,
    together: Callable[[Mapping[str, pd.DataFrame]], list[Text]] = each_by_itself,
) -> tuple[dict[str, pd.DataFrame], list[LeftOut]]:
    """Return the bars of each file by the instrument's name, and the files that are left out.

    The name is as it may stand in file names. fits: raises BarsError for bars that the plan cannot
    be laid over. on_faulty: "drop" leaves out the files that cannot be used by themselves.
    together: says why sound bars do not go together.

    One BarsError names every file that cannot be used with its fault, so that a folder of a hundred
    is mended in one go.
    """
    sources = sources_of(options, files)
    universe: dict[Path, pd.DataFrame] = {}
    faults: dict[Path, Text] = {}
    for file, source in zip(files, sources, strict=True):
        try:
            bars = source.read()
            fits(bars)
        except BarsError as error:
            # The next file is read all the same; and some messages name their file themselves.
            named = file.name in str(error)
            faults[file] = error.args if named else (f"{file.name}: ", *error.args)
        else:
            universe[file] = bars
    # Of sound files only: what could not be read can be compared with nothing.
    alike = Counter(file.name for file in files)
    by_name = {
        file.name if alike[file.name] == 1 else str(file): bars for file, bars in universe.items()
    }
    # Which of two that do not go together is to be left out cannot be guessed.
    told = _equal_names(sources) + together(by_name)
    if told or not universe or (faults and on_faulty == "error"):
        listed = chain.from_iterable(("\n- ", *fault) for fault in [*faults.values(), *told])
        if faults and not told and universe:
            listed = chain(listed, ("\nMend them, or leave them out with ", DROP, "."))
        raise BarsError(f"the universe of {len(files)} files cannot be used:", *listed)
    read = {
        source.file_name: universe[file]
        for file, source in zip(files, sources, strict=True)
        if file in universe
    }
    return read, [LeftOut(file.name, as_flags(fault)) for file, fault in faults.items()]


def _equal_names(sources: Sequence[BarsOptions]) -> list[Text]:
    """Say which files would write their results into one folder, the instrument's."""
    files: dict[str, list[str]] = {}
    for source in sources:
        files.setdefault(source.file_name, []).append(str(source.data))
    return [
        (
            f"{', '.join(same)} must have different names: all of them are called {name}. "
            "Rename all but one.",
        )
        for name, same in files.items()
        if len(same) > 1
    ]


def describe_bars(bars: pd.DataFrame) -> str:
    """Return one line on the bars, with what annualised figures and every result depend on."""
    index = pd.DatetimeIndex(bars.index)
    return (
        f"{bars.attrs.get('instrument') or 'bars'}: {count(len(bars), 'bar')} of "
        f"{spoken(bar_interval(index))} from {day(index[0])} to {day(index[-1])}, "
        f"{session_bars(index):g} a session, {yearly_bars(bars):g} bars per year, "
        f"sha256 {digest_bars(bars)[:12]}"
    )


def describe_universe(universe: Universe) -> str:
    """Return one line on the bars of all instruments."""
    indexes = [pd.DatetimeIndex(bars.index) for bars in universe.values()]
    first, last = min(index[0] for index in indexes), max(index[-1] for index in indexes)
    return (
        f"{count(len(universe), 'instrument')}: {count(sum(map(len, indexes)), 'bar')} of "
        f"{spoken(bar_interval(indexes[0]))} from {day(first)} to {day(last)}"
    )


class _Outlet:
    """A stream that outlives its reader: once its pipe or terminal is closed, it leads nowhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._without_reader():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._without_reader():
            self._stream.flush()

    @contextmanager
    def _without_reader(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in NO_READER:
                raise
            # Under the stream, so that what its buffer still holds goes there too.
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), self._stream.fileno())


@contextmanager
def _readers_may_leave() -> Iterator[None]:
    """Let the work go on where nobody reads stdout or stderr any more, as after `| head`.

    Hours of training are worth more than their last lines.
    """
    out, err = (
        cast(TextIO, _Outlet(stream)) if stream else None for stream in (sys.stdout, sys.stderr)
    )
    with redirect_stdout(out), redirect_stderr(err):
        try:
            yield
        finally:
            # What is left for the end of the process would fail there. A full disk is reported
            # already, or else by the interpreter when it ends.
            for outlet in filter(None, (out, err)):
                with suppress(OSError):
                    outlet.flush()


@_readers_may_leave()
def run(app: App, arguments: Sequence[str] | None = None) -> NoReturn:
    """Parse `arguments` (default: the command line), run the command and leave with its exit code.

    Warnings of ours become one line each on stderr. A fault that the program knows becomes one
    message; anything else is a fault of the program and keeps its traceback.
    """

    def stop(number: int, _: FrameType | None) -> NoReturn:
        _leave(128 + number, f"stopped by {signal.Signals(number).name}.")

    def note(message: Warning | str, *_: object, **__: object) -> None:
        errors.print("[yellow]note:[/] ", end="")
        errors.print(_worded(message, app), markup=False)

    for ending in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) is not signal.SIG_IGN:  # under nohup it is
            signal.signal(ending, stop)
    configured = configurable(app)
    configured.suppress_keyboard_interrupt = False  # cyclopts would leave without a word
    try:
        with warnings.catch_warnings():
            # Python's own filter would drop a second note from the same line of code.
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = note
            given = sys.argv[1:] if arguments is None else arguments
            _require_no_empty(given)
            result = configured(
                given, exit_on_error=False, print_error=False, result_action="return_value"
            )
    except CycloptsError as error:
        _leave(USAGE, f"{_worded(error, app)} See --help.")
    except KeyboardInterrupt:
        _leave(128 + signal.SIGINT, "stopped by Ctrl-C.")
    except MemoryError:
        _leave(OUT_OF_MEMORY, _worded(NO_MEMORY, app))
    except (OSError, ValueError, RuntimeError) as error:
        # What torch raises in the place of a MemoryError.
        if type(error) is RuntimeError and "allocate memory" in str(error):
            _leave(OUT_OF_MEMORY, _worded(NO_MEMORY, app))
        _leave(_exit_code(error), _worded(error, app))
    sys.exit(result if isinstance(result, int) else OK)


def _require_no_empty(arguments: Sequence[str]) -> None:
    """Refuse what "$UNSET" gives in a shell: as a path it would be the current folder."""
    flag = "an argument"
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if argument.startswith("-"):
            flag = name
        if not argument or (name.startswith("--") and equals and not value):
            raise ValueError(f"{flag} must not be empty, got ''. Give a value, or leave it out.")


def _exit_code(error: Exception) -> int:
    """Return the exit code of a fault that the program knows; raise any other again."""
    code = getattr(error, "exit_code", None)
    if isinstance(code, int):
        return code
    if isinstance(error, OSError):
        return CANNOT_WRITE
    if type(error) is ValueError:  # a setting that its own class refuses
        return USAGE
    raise error


def _leave(code: int, message: str) -> NoReturn:
    errors.print("[bold red]error:[/] ", end="")
    # A path in the message may hold [brackets], which rich would take for its markup.
    errors.print(message, markup=False)
    sys.exit(code)


def _worded(message: Exception | str, app: App) -> str:
    """Return a message with the settings in it spelled as flags: `max_epochs` as --max-epochs.

    Only those that the command has; for another command the setting stays as it is.
    """
    text = as_flags(message.args) if isinstance(message, BarsError | BarsWarning) else str(message)
    # A command that only leads to others has no flags of its own.
    arguments = app.assemble_argument_collection() if app.default_command else ()
    flags = {flag for argument in arguments for flag in argument.names}

    def spelled(found: re.Match[str]) -> str:
        flag = Setting(found[1]).flag
        return flag if flag in flags else found[0]

    return SETTING.sub(spelled, text)
