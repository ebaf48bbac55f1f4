"""The space of a search: which settings of training are tried, and from where to where."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from math import prod
from pathlib import Path
from typing import Annotated, Any

import msgspec

from model.errors import did_you_mean
from model.settings import require_fields, whole
from model.training.config import TrainConfig

Value = str | float | int | bool

# What a search must leave alone: the plan decides the shares of the parts; another label, horizon
# or outcome is another question, whose losses cannot be compared; the rest is where it is computed,
# or luck.
FIXED = {
    "train",
    "validation",
    "label",
    "horizon",
    "take_profit",
    "stop_loss",
    "commission",
    "slippage",
    "outcome",
    "fewest_instruments",
    "seed",
    "threads",
    "device",
    "precision",
}
SEARCHABLE = [field.name for field in fields(TrainConfig) if field.name not in FIXED]
# By their defaults: a setting with rules has them in its type.
WHOLE = {name for name in SEARCHABLE if type(getattr(TrainConfig, name)) is int}
# Settings by which the folds lie elsewhere, or a checkpoint reads other rows.
GEOMETRY = ("sequence_length", "features", "only")


NEAREST = 1e-6  # ends of a range, of their size

# What the library that reads the tables calls them, and a reader of the file.
KINDS = {
    "int": "a whole number",
    "float": "a number",
    "int | float | null": "a number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "bool | int | float | str": "a number, a text, true or false",
}


class SearchError(ValueError):
    """A search that cannot be made; the message says what of it, and what to do."""

    exit_code = 3


class Range(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What one setting may be: from low to high, or one of the choices.

    step: between two whole numbers, from low on as far as high allows. log: equal shares of a
    factor are as likely, rather than equal distances.
    """

    low: float | int | None = None
    high: float | int | None = None
    step: int = 1
    log: bool = False
    choices: list[Value] = []

    def __contains__(self, value: Value) -> bool:
        """Whether a search can try it."""
        if self.choices or isinstance(value, str) or self.low is None or self.high is None:
            return value in self.choices
        on_step = self.step == 1 or (value - self.low) % self.step == 0
        return self.low <= value <= self.high and on_step

    @property
    def values(self) -> Sequence[Value]:
        """All that it may be, of a range between whole numbers."""
        low, high = int(self.low or 0), int(self.high or 0)
        return self.choices or range(low, high + 1, self.step)

    @property
    def ends(self) -> list[Value]:
        """The values that decide whether the setting may be so."""
        return self.choices or [end for end in (self.low, self.high) if end is not None]


@dataclass(frozen=True)
class Space:
    """What a search may choose from, by the names of the settings."""

    ranges: Mapping[str, Range]

    def __contains__(self, config: object) -> bool:
        """Whether the settings lie within, so that they can be the first to be tried."""
        return all(getattr(config, name) in one for name, one in self.ranges.items())

    @property
    def size(self) -> int | None:
        """How many settings there are to choose from; None where they are without number."""
        values = self._values
        return None if len(values) < len(self.ranges) else prod(map(len, values.values()))

    def numbered(self, position: int) -> dict[str, Value]:
        """Return the settings at a position below `size`, in an order that is always the same."""
        found: dict[str, Value] = {}
        for name, values in self._values.items():
            position, own = divmod(position, len(values))
            found[name] = values[own]
        return found

    @property
    def _values(self) -> dict[str, Sequence[Value]]:
        """What each setting may be, of those that have not values without number."""
        return {
            name: one.values for name, one in self.ranges.items() if one.choices or name in WHOLE
        }

    def corners(self, config: TrainConfig) -> list[TrainConfig]:
        """Return the settings with every extreme of those by which the folds lie elsewhere."""
        names = [name for name in GEOMETRY if name in self.ranges]
        ends = [self.ranges[name].ends for name in names]
        return [with_settings(config, dict(zip(names, one, strict=True))) for one in product(*ends)]


@dataclass(frozen=True)
class SearchPlan:
    """How a search proceeds; every field is a flag of the command.

    Parameters
    ----------
    trials
        How many settings are tried; more of them later go on from those that are there.
    batch
        How many are proposed at once, from what was found before. It decides what is tried, and
        more processes than this have nothing to do.
    nested
        Search anew in each fold's own past, at as many times the cost as there are folds.
    """

    trials: Annotated[int, whole(1)] = 50
    batch: Annotated[int, whole(1)] = 8
    nested: bool = False

    def __post_init__(self) -> None:
        require_fields(self)


DEFAULT = Space(
    {
        "learning_rate": Range(low=3e-4, high=5e-3, log=True),
        "weight_decay": Range(low=1e-5, high=1e-2, log=True),
        "label_softness": Range(choices=[0.0, 0.5, 1.0, 2.0]),
        "batch_size": Range(choices=[32, 64, 128]),
    }
)


def read_space(path: Path | None, config: TrainConfig) -> Space:
    """Return the space that a TOML file describes, DEFAULT for none.

    config: the settings that are not searched. Raises SearchError, which names all faults together.

    A file has a table for each setting, as

        [learning_rate]
        low = 0.0003
        high = 0.003
        log = true

        [architecture]
        choices = ["bilstm", "transformer"]
    """
    if path is None:
        return DEFAULT
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # some editors sign
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SearchError(f"{path} must be a space of settings in TOML: {reason}.") from error
    ranges: dict[str, Range] = {}
    faults = [] if content else ["it names no setting"]
    if content and not any(isinstance(entry, dict) for entry in content.values()):
        faults, content = ["it has no table, as [learning_rate]; give settings with --config"], {}
    for name, entry in content.items():
        if name not in SEARCHABLE:
            why = "which no search may change" if name in FIXED else "which is no setting"
            hint = "" if name in FIXED else did_you_mean(name, SEARCHABLE)
            faults.append(f"{name}, {why}.{hint}")
            continue
        if not isinstance(entry, dict):
            faults.append(f"{name}: it must be a table with low and high, or choices, got {entry}")
            continue
        try:
            one = msgspec.convert(entry, Range)
        except msgspec.ValidationError as error:
            faults.append(f"{name}: {_in_words(str(error))}")
            continue
        ranges[name] = _in_floats(one) if isinstance(getattr(TrainConfig, name), float) else one
        faults += [f"{name}: {fault}" for fault in _faults_of(name, ranges[name], config)]
    if faults:
        listed = "".join(f"\n- {fault}{'' if fault[-1] in '.?' else '.'}" for fault in faults)
        raise SearchError(
            f"{path} must be a space of settings to search:{listed}\n"
            f"What can be searched: {', '.join(SEARCHABLE)}."
        )
    return Space(ranges)


def _in_words(fault: str) -> str:
    """Return what the library says of a table, as a file's reader calls things."""
    what, _, place = fault.partition(" - at `$.")
    for kind, words in KINDS.items():
        what = what.replace(f"`{kind}`", words)
    what = what.replace("Object contains unknown field", "it has no").removeprefix("Expected ")
    return f"{place.rstrip('`')} must be {what}" if place else what


def _in_floats(one: Range) -> Range:
    """Return a range of a setting that is no whole number: 1 and 1.0 would be two trainings."""

    def plain(value: Value | None) -> Any:
        return float(value) if type(value) is int else value

    return msgspec.structs.replace(
        one, low=plain(one.low), high=plain(one.high), choices=[plain(each) for each in one.choices]
    )


def with_settings(config: TrainConfig, wanted: Mapping[str, Value]) -> TrainConfig:
    """Return the settings with these in their place; ValueError for one that cannot be meant."""
    return TrainConfig(**{**vars(config), **wanted})


def _faults_of(name: str, one: Range, config: TrainConfig) -> list[str]:
    """Say what keeps a setting from being searched so."""
    bounded = one.low is not None or one.high is not None
    if bounded == bool(one.choices):
        return ["it must have low and high, or choices that are not empty"]
    faults: list[str] = []
    if len(set(one.choices)) < len(one.choices):
        faults.append(f"choices must differ, got {one.choices}")
    if bounded:
        if isinstance(getattr(TrainConfig, name), str | bool):
            return ["it is no number, and must have choices"]
        if one.low is None or one.high is None:
            return [f"it must have low and high, got no {'low' if one.low is None else 'high'}"]
        if not one.low < one.high:
            return [f"low must lie below high, got {one.low} and {one.high}: an empty range"]
        # As numbers of a computer: nearer ones would be tried again and again.
        if one.high - one.low < NEAREST * max(abs(one.low), abs(one.high)):
            return [f"low and high must differ by a millionth, got {one.low} and {one.high}"]
        if one.log and (one.low <= 0 or one.step != 1):
            got = f"low {one.low} and step {one.step}"
            faults.append(f"log must go without step, and from a low above 0, got {got}")
        if name not in WHOLE and one.step != 1:
            faults.append(f"step must be left out: it is for whole numbers, got {one.step}")
        elif one.step < 1 or one.step > max(1, one.high - one.low):
            faults.append(f"step must be from 1 to high less low, got {one.step}")
    for value in one.ends:
        if name in WHOLE and not isinstance(value, int):
            faults.append(f"it must be a whole number, got {value!r}")
            continue
        try:
            with_settings(config, {name: value})
        except (ValueError, TypeError) as error:
            faults.append(str(error))
    return faults
