"""The errors and warnings of `model`, with the exit code that a command ends with.

ValueError
    BarsError                3   bars that cannot be used
        OneClassError        3   a part of them never goes up, or never does not
        ReadingError         2   a setting of reading that cannot be meant
    CheckpointError          4   a file that is no checkpoint which can be used here
    FeatureError             3   a feature of one's own that cannot be used
    LabelError               3   a label of one's own that cannot be used
    SettingsFileError        3   a file of settings that cannot be used
    UnknownArchitecture      2   no network of that name is registered
RuntimeError
    TrainingDiverged         5   a loss stopped being a number
    TrainingDisturbed        5   something else drew from torch's random numbers
    Interrupted          128+n   signal n stopped work that can go on later
OSError
    OutputError              6   a result cannot be written
        OutputInUse          7   another training writes the same result
UserWarning
    BarsWarning                  bars that were repaired or look wrong
    CheckpointWarning            a checkpoint that was not taken up

A setting that its class refuses is a plain ValueError, exit code 2. The exit codes of all commands,
those of `backtests` too, stand in `model.cli`. Below the errors stands what their messages are made
of: text, and settings that are spelled for whoever reads them.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Protocol


class BarsError(ValueError):
    """Bars that cannot be used; the message lists every kind of problem with place and remedy.

    Examples
    --------
    >>> read_bars("closes.csv")
    Traceback (most recent call last):
    model.errors.BarsError: closes.csv: no 'open', 'high', 'low' columns (found: date, close). ...
    """

    exit_code = 3
    args: Text

    def __str__(self) -> str:
        return as_python(self.args)


class ReadingError(BarsError):
    """A setting of reading that cannot be meant, whatever the file."""

    exit_code = 2


class OneClassError(BarsError):
    """A part of the data hardly ever goes up, or hardly ever does not: nothing to learn."""


class BarsWarning(UserWarning):
    """Bars that were repaired or that look wrong; the message says what was done."""

    args: Text

    def __str__(self) -> str:
        return as_python(self.args)


class FeatureError(ValueError):
    """A feature of one's own that cannot be used; the message says why and what to change."""

    exit_code = 3


class LabelError(ValueError):
    """A label of one's own that cannot be used; the message says why and what to change."""

    exit_code = 3


class SettingsFileError(ValueError):
    """A file of settings that cannot be used; the message says what in it, and where."""

    exit_code = 3


class UnknownArchitecture(ValueError):
    """No architecture of that name is registered."""

    exit_code = 2


class CheckpointError(ValueError):
    """A file that is no checkpoint which can be used here; the message says what differs."""

    exit_code = 4


class CheckpointWarning(UserWarning):
    """A checkpoint that could not be taken up, or that does not fit what it is given.

    Work goes on without it, or in spite of it; the message says how.
    """


class Saved(Protocol):
    """What an error needs of a checkpoint: importing its class here would make a circle."""

    def save(self, path: str | Path) -> None: ...


class TrainingDiverged(RuntimeError):
    """A loss or a gradient stopped being a number.

    Parameters
    ----------
    message
        What diverged, when, and what to do.
    checkpoint
        What was learnt in the epochs before, None where there is none.
    """

    exit_code = 5

    def __init__(self, message: str, checkpoint: Saved | None = None) -> None:
        super().__init__(message)
        self.checkpoint = checkpoint


class TrainingDisturbed(RuntimeError):
    """Something else drew from torch's random numbers: no training could give these bits again."""

    exit_code = 5


class Interrupted(RuntimeError):
    """A signal stopped work that can go on later.

    Parameters
    ----------
    message
        What was stopped, and how it goes on.
    number
        The number of the signal, which decides the exit code as shells count it.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        # As shells count a process that a signal ended.
        self.exit_code = 128 + number


class OutputError(OSError):
    """A result cannot be written where it should go; the message says where, why and what to do."""

    exit_code = 6

    def __str__(self) -> str:
        # Our message is whole: without the "[Errno 28]" that OSError puts in front.
        return self.strerror or super().__str__()


class OutputInUse(OutputError):
    """Another training writes the same result."""

    exit_code = 7


@dataclass(frozen=True)
class Setting:
    """A setting that a message names, alone or with the value to give it.

    Whoever prints the message spells it: as text it is Python, ticker='AAA', and for a command it
    is a flag, --ticker AAA.
    """

    name: str
    value: object = None

    def __str__(self) -> str:
        return f"`{self.name}`" if self.value is None else f"{self.name}={self.value!r}"

    @property
    def flag(self) -> str:
        flag = "--" + self.name.replace("_", "-")
        if self.value is None or self.value is True:
            return flag
        if not isinstance(self.value, dict):
            return shlex.join((flag, str(self.value)))
        # --columns.Price close; but a name that would be taken apart at these signs stands in JSON.
        if any(set(key) & set(".=") for key in self.value):
            return shlex.join((flag, json.dumps(self.value, ensure_ascii=False)))
        pairs = ((f"{flag}.{key}", value) for key, value in self.value.items())
        return shlex.join(word for pair in pairs for word in pair)


Part = str | Setting
Text = tuple[Part, ...]  # a message: what is said, and the settings named in it


def as_python(text: Text) -> str:
    """Return a message with its settings as a caller in Python writes them."""
    return "".join(map(str, text))


def as_flags(text: Text) -> str:
    """Return a message with its settings as a command takes them."""
    return "".join(part.flag if isinstance(part, Setting) else part for part in text)


def joined(choices: Sequence[Part], word: str = " or ") -> Text:
    return tuple(part for choice in choices for part in (word, choice))[1:]


def did_you_mean(name: object, known: Iterable[object]) -> str:
    """Return " Did you mean ...?" if something known is spelled nearly so, else nothing."""
    # Whoever writes OPEN means open: capitals are no distance.
    spelt = {str(word).lower(): str(word) for word in known if word}
    # .6, difflib's own: below it the guess is mostly another word.
    match = get_close_matches(str(name).lower(), spelt, 1, 0.6)
    return f" Did you mean {spelt[match[0]]!r}?" if match else ""
