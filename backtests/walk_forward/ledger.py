"""The ledger of trials: each series of positions judged on an instrument, to tell luck from skill.

A line of JSON for each trial, which points to a Parquet file of its dated positions and net
returns, in a folder beside the ledger.
"""

import hashlib
import io
import json
import math
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from platformdirs import user_data_path

from model.bars.faults import count
from model.bars.intervals import bar_interval, spoken
from model.bars.read import digest_bars
from model.bars.universe import Bars, universe_of
from model.files import as_file_name, locked, require_writable, write_atomically
from model.notebook import card

Line = dict[str, Any]  # of the ledger: a trial, and what else was noted

ENDING = ".jsonl"  # of the ledgers in the user's data folder
LONGEST_NAME = 40  # of an instrument, in the name of a file
POSITION, NET_RETURN = "position", "net_return"  # the columns of a trial's file
UNIVERSE = "several instruments"  # what trials of one network for a universe are made on
DIGITS = 9  # of a weight: what lies below is rounding


SUBJECT = ("instrument", "interval", "data")  # what every line says of what it was made on


class LedgerError(ValueError):
    """A ledger, or a file of positions that it points to, cannot be used."""

    exit_code = 3


class Subject(NamedTuple):
    """What trials are made on.

    data: the digest of the bars, which a new day of them changes. names: of the instruments of a
    universe, which is itself called `UNIVERSE`; none for a single instrument.
    """

    instrument: str
    interval: str
    data: str
    names: tuple[str, ...] = ()


class Trial(NamedTuple):
    """Something that was tried: its Sharpe ratio per bar, and what tells it from other trials.

    positions: of `digest_positions`, "" in a line of an older version, which knew but the settings.
    file: its dated positions, and sha256 of its bytes; "" in a line of an older version.
    """

    positions: str
    sharpe: float
    file: str = ""
    sha256: str = ""


class Counted(NamedTuple):
    """The trials that count beside a run.

    sharpes: per bar, of all of them. returns: the dated net returns of those whose file has them.
    """

    sharpes: tuple[float, ...]
    returns: tuple[pd.Series, ...]


def digest_positions(
    bars: pd.DataFrame, decided_at: pd.DatetimeIndex, held: NDArray[np.float64]
) -> str:
    """Return the digest of dated positions on an instrument and interval: what a trial is.

    Costs and cash are no part of it: whoever tries the same positions at other costs has looked for
    an edge but once.

    bars: name the instrument and have the interval. held: (n,), -1, 0 or 1 after each decision.
    """
    on = (bars.attrs.get("instrument"), str(bar_interval(pd.DatetimeIndex(bars.index))))
    return _digest(on, decided_at, np.sign(held).astype("<i1").tobytes())


def digest_weights(
    names: Sequence[str], interval: str, decided_at: pd.DatetimeIndex, weights: NDArray[np.float64]
) -> str:
    """Return the digest of a book's dated weights, (dates, names): what a trial on a universe is.

    Names that are never held are no part of it.
    """
    ever = (weights != 0).any(axis=0)
    held = [name for name, is_held in zip(names, ever, strict=True) if is_held]
    # Plus nought: -0 and 0 are the same weight.
    rounded = np.round(weights[:, ever], DIGITS) + 0.0
    return _digest((held, interval), decided_at, rounded.astype("<f8").tobytes())


def _digest(on: object, decided_at: pd.DatetimeIndex, positions: bytes) -> str:
    digest = hashlib.sha256(json.dumps(on).encode())
    digest.update(decided_at.as_unit("ns").asi8.astype("<i8").tobytes())
    digest.update(positions)
    return digest.hexdigest()


def subject_of(bars: Bars) -> Subject:
    """Return what trials on these bars are made on, of one instrument or of several by name."""
    if isinstance(bars, pd.DataFrame):
        interval = spoken(bar_interval(pd.DatetimeIndex(bars.index)))
        return Subject(str(bars.attrs.get("instrument") or "bars"), interval, digest_bars(bars))
    parts = {name: subject_of(own) for name, own in universe_of(bars).items()}
    whole = json.dumps([[name, part.data] for name, part in parts.items()])
    interval = next(iter(parts.values())).interval
    return Subject(UNIVERSE, interval, hashlib.sha256(whole.encode()).hexdigest(), tuple(parts))


def ledgers_folder() -> Path:
    """Return where the ledgers lie by default: in the user's data folder."""
    return user_data_path("backtrader-bilstm") / "trials"


def ledger_path(on: Subject) -> Path:
    """Return the default ledger of an instrument and interval.

    Instruments whose names differ in signs alone may share one: its lines name theirs.
    """
    # File systems count a name's bytes, of which a sign may have four.
    name = f"{as_file_name(on.instrument)[:LONGEST_NAME]}-{as_file_name(on.interval)}"
    return ledgers_folder() / f"{name}{ENDING}"


class Ledger:
    """One line of JSON per trial; a trial that is repeated counts once.

    on: what the run is made on. Trials on other instruments or intervals may stand in the same file
    and do not count.
    """

    def __init__(self, path: Path, on: Subject) -> None:
        self.path, self.on = path, on
        # Beside the file itself, where the path is a link to it.
        self.folder = _positions_folder(path)
        # Now, rather than when all is trained.
        for place in (path, self.folder / "probe"):
            require_writable(place)

    @classmethod
    def of(cls, bars: Bars, path: str | Path | None = None) -> "Ledger":
        """Return the ledger of what was tried on bars, of one instrument or of several by name.

        path: its file; default: that of the instrument and interval in the user's data folder.
        """
        on = subject_of(bars)
        return cls(Path(path) if path else ledger_path(on), on)

    def __repr__(self) -> str:
        trials = count(len(self.others()), "trial")
        return f"Ledger({trials} on {self.on.instrument}, {self.on.interval}, in {self.path})"

    def _repr_html_(self) -> str:
        lines = [line for line in lines_of(self.path) if is_on(self.on, line)]
        columns = ("date", "instrument", "interval", "sharpe")
        trials = pd.DataFrame(lines, columns=columns).rename(columns={"sharpe": "Sharpe per bar"})
        return card(repr(self), "Who tries enough finds something that looks good.", trials)

    def others(self, *keys: str) -> list[Trial]:
        """Return all trials on this instrument and interval but those of settings with these keys.

        Which of them have the positions of a run shows only when its positions are known, and which
        of them count, only when its dates are.
        """
        return trials_on(self.on, self.path, lines_of(self.path), *keys)

    def enter(
        self, key: str, trial: Trial, track: pd.DataFrame, notes: Mapping[str, object]
    ) -> bool:
        """Add a trial, unless it is there; several runs may do so at the same time.

        Parameters
        ----------
        key
            The digest of its settings.
        trial
            Its positions and Sharpe ratio.
        track
            Columns position (of a universe, one for each instrument, "position NAME", its weight)
            and net_return by the timestamp of the decision.
        notes
            Stand in its line for whoever reads the file.

        Returns
        -------
        bool
            Whether it was added.
        """
        require_writable(self.path)
        with locked(self.path.with_name(f".{self.path.name}.lock"), None, self.folder):
            # Read within the lock: another run may have added a line since the last time.
            for line in lines_of(self.path):
                same = (line.get("instrument"), line.get("interval"), line.get("positions"))
                if "file" in line and (
                    line["key"] == key or same == (*self.on[:2], trial.positions)
                ):
                    return False
            buffer = io.BytesIO()
            track.rename_axis("decided_at").to_parquet(buffer)
            content = buffer.getvalue()
            # The name says to a reader what it is, and the digest tells it from all others.
            name = f"{ledger_path(self.on).stem}-{trial.positions[:16]}.parquet"
            # Before the line: a process that is killed in between leaves none that leads nowhere.
            write_atomically(self.folder / name, content)
            on = self.on._asdict()
            if not self.on.names:  # a single instrument has its name alone
                del on["names"]
            line = {"key": key, **on, **trial._asdict()} | {
                "file": f"{self.folder.name}/{name}",
                "sha256": hashlib.sha256(content).hexdigest(),
                **notes,
            }
            # What is there stays as it is, to the byte.
            before = self.path.read_bytes() if self.path.exists() else b""
            ending = b"" if before.endswith(b"\n") or not before else b"\n"
            write_atomically(self.path, before + ending + json.dumps(line).encode() + b"\n")
            return True


def lines_of(path: Path) -> list[Line]:
    """Return the lines of a ledger, each with the whole path of its file; none before the first.

    A line that is no trial raises LedgerError: passed over, it would make luck look like skill.
    """
    if not path.exists():
        return []
    lines = []
    try:
        for text in path.read_text(encoding="utf-8").splitlines():
            line: Line = json.loads(text)
            # Python's JSON takes NaN and Infinity, with which nothing can be compared.
            sharpe = float(line["sharpe"])
            if not math.isfinite(sharpe):
                raise ValueError(f"a sharpe of {sharpe}")
            texts = [line["key"], line.get("date", "")]
            if "file" in line:
                texts += [line[name] for name in (*SUBJECT, "positions", "file", "sha256")]
                texts += line.get("names", [])
            if not all(isinstance(text, str) for text in texts):
                raise ValueError(f"no text among {', '.join(map(str, texts))}")
            # What the command reads beside them.
            if not float(line.get("bars_per_year", 1)) > 0:
                raise ValueError(f"bars_per_year of {line['bars_per_year']}")
            if not isinstance(line.get("training", {}), dict):
                raise ValueError(f"a training of {line['training']!r}")
            if "file" in line:
                line["file"] = str(_positions_folder(path).parent / line["file"])
            lines.append(line | {"key": line["key"], "sharpe": sharpe})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise LedgerError(
            f"the ledger {path} must hold one line of JSON per trial, "
            f"with its key and sharpe, got {error}. "
            "Repair it, or name another with --ledger."
        ) from error
    return lines


def trials_on(on: Subject, path: Path, lines: Sequence[Line], *keys: str) -> list[Trial]:
    """Return the trials of a ledger's lines that were made on this, but those with these keys.

    path: of the ledger. Beside it may lie one of an older version, which had one for each digest
    of bars: it is read too, and never written.
    """
    # The same lines twice, where that one is the ledger, are no harm.
    older = lines_of(path.with_name(f"{on.data[:16]}{ENDING}"))
    found = each_once([line for line in [*older, *lines] if is_on(on, line)])
    return [trial_of(line) for line in found if line["key"] not in keys]


def each_once(lines: Sequence[Line]) -> list[Line]:
    """Return the lines on one subject without those whose settings or positions a later one has.

    Of those an older version kept no positions, or not the file of them; or somebody put two
    ledgers together.
    """
    found = {line["key"]: line for line in lines}
    return list({line.get("positions") or key: line for key, line in found.items()}.values())


def is_on(on: Subject, line: Line) -> bool:
    """Return whether a line's trial was made on this instrument and interval.

    Of a universe, where at least half of its instruments are among the trial's: so one that is left
    out, or comes, leaves the ledger as full as it was. A line of an older version names no
    instrument: it is where it was made on the same bars, or names none, to be on the safe side.
    """
    if "instrument" in line:
        common = set(on.names) & set(line.get("names", ()))
        same = (line["instrument"], line.get("interval")) == (on.instrument, on.interval)
        return same and 2 * len(common) >= len(on.names)
    return bool(line.get("data", on.data) == on.data)


def trial_of(line: Line) -> Trial:
    """Return the trial of a line."""
    rest = (line.get(name, "") for name in ("file", "sha256"))
    return Trial(line.get("positions", ""), line["sharpe"], *rest)


def counted(trials: Sequence[Trial], dates: pd.DatetimeIndex, but: Collection[str]) -> Counted:
    """Return those of the trials that count beside a run.

    A trial counts where at least half of the run's own dates are among the trial's dates: so a new
    day of bars, from which all folds move on, leaves the ledger as full as it was. One whose dates
    are not known, of an older version, counts always, and has no returns.

    Parameters
    ----------
    trials
        All on the run's instrument and interval.
    dates
        Of the run's own decisions that are judged.
    but
        The positions of the run itself: what it repeats, if at other costs, is not something tried
        beside it.
    """
    sharpes, returns, own = [], [], dates.as_unit("ns").asi8.tobytes()
    for trial in trials:
        if trial.positions in but:
            continue
        if trial.file:
            net = returns_of(trial)
            if not _has_half_of(own, _dates_of(trial)):
                continue
            returns.append(net)
        sharpes.append(trial.sharpe)
    return Counted(tuple(sharpes), tuple(returns))


# Of hundreds of trials most share their dates with others: each pair of dates is looked at once.
@lru_cache(maxsize=1 << 16)
def _has_half_of(dates: bytes, others: bytes) -> bool:
    """Return whether at least half of the dates are among the others, both nanoseconds in bytes."""
    first, second = (pd.Index(np.frombuffer(each, np.int64)) for each in (dates, others))
    return bool(2 * first.isin(second).sum() >= len(first))


@lru_cache(maxsize=1024)
def _dates_of(trial: Trial) -> bytes:
    return pd.DatetimeIndex(returns_of(trial).index).asi8.tobytes()


@lru_cache(maxsize=1024)  # of the same bytes: a digest is a part of the trial
def returns_of(trial: Trial) -> pd.Series:
    """Return the net returns of a trial by the timestamp of the decision, in its file.

    LedgerError where its file is missing or damaged: without it there would seem to be fewer
    trials.
    """
    fault = "other bytes than were written there"
    try:
        content = Path(trial.file).read_bytes()
        if hashlib.sha256(content).hexdigest() == trial.sha256:
            net = pd.read_parquet(io.BytesIO(content))[NET_RETURN]
            return net.set_axis(pd.DatetimeIndex(net.index).as_unit("ns"))
    except OSError as error:
        fault = str(error.strerror)
    raise LedgerError(
        f"{trial.file} must hold the positions of a trial in the ledger, got {fault}. Put it back "
        'from a copy; or take "file" out of its line, which then counts for the deflated Sharpe '
        "ratio alone. A run that began before needs --fresh then."
    )


def _positions_folder(path: Path) -> Path:
    real = path.resolve()
    return real.with_name(f"{real.name}-positions")
