"""What a checkpoint's file holds beside the weights: its record, of each format that is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from model.bars.artefacts import FlagRecord
from model.checkpoint.scaler import Scaler, UsualRanges
from model.features.own import FeatureRecord
from model.features.series import ContextRecord
from model.features.table import Layout, layout
from model.labels.barrier import Barrier
from model.labels.own import LabelRecord
from model.networks.registry import MOST_MEMBERS

FORMAT = 6  # that is written; the older ones are read


@dataclass(frozen=True)
class Golden:
    """One window's way from prices to its probability, as training computed it.

    Whoever serves the checkpoint computes it again and compares.

    Parameters
    ----------
    stamps
        (150,), the timestamps of the bars in nanoseconds since 1970.
    bars
        (150, 5): open, high, low, close, volume, and the columns of other series.
    features, scores
        (86,) each, or as many as there are, of the last bar: before and after the scaler.
    probability
        Of the window that ends there.
    """

    stamps: tuple[int, ...]
    bars: tuple[tuple[float, ...], ...]
    features: tuple[float, ...]
    scores: tuple[float, ...]
    probability: float


class MemberRecord(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A member in the record: all but its weights, with its network's config as the file has it."""

    architecture: str
    network: Raw
    seed: int
    temperature: Annotated[float, Meta(ge=0.01, le=100)]
    metrics: dict[str, float | None]
    history: list[dict[str, float | int]]


class Format2(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All of a checkpoint of format 2 but its weights; names, types and order are the JSON's."""

    format: int
    digest: str
    feature_names: tuple[str, ...]
    members: Annotated[tuple[MemberRecord, ...], Meta(min_length=1, max_length=MOST_MEMBERS)]
    scaler: Scaler
    label: Literal["open", "close"]
    horizon: Annotated[int, Meta(ge=1, le=10_000)]
    sequence_length: Annotated[int, Meta(ge=1, le=10_000)]
    enter: Annotated[float, Meta(ge=0.5, lt=1)] | None
    exit: Annotated[float, Meta(ge=0.5, lt=1)] | None
    trained_until: str
    instrument: str | None
    bar_interval: Annotated[float, Meta(gt=0)]  # seconds
    timezone: str | None
    stamp: Literal["open", "close"]
    parts: dict[str, dict[str, str | float | int | None]]
    metrics: dict[str, float | None]
    config: dict[str, str | float | int | bool | None]
    versions: dict[str, str]
    golden: Golden | None
    usual: UsualRanges | None


Share = Annotated[float, Meta(ge=0, le=1)]


class Format3(Format2, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The record of format 3."""

    hours: Annotated[tuple[Share, ...], Meta(min_length=24, max_length=24)] | None = None
    flags: tuple[FlagRecord, ...] | None = None


Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class Format4(Format3, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The record of format 4."""

    outcome: Literal["direction", "relative"] = "direction"
    instruments: dict[str, Sha256] | None = None


class Format5(Format4, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The record of format 5."""

    features: tuple[FeatureRecord, ...] = ()
    only: bool = False


class Record(Format5, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The record of format 6; what an older file does not hold is at its default."""

    # In the place that it has in the older formats.
    label: Literal["open", "close", "barrier", "own"]  # type: ignore[assignment]
    context: ContextRecord | None = None
    # Not written where they say nothing: such files are those of before there were these entries.
    prices: Annotated[str, Meta(min_length=1, max_length=200)] | UnsetType = UNSET
    barrier: Barrier | UnsetType = UNSET
    own_label: LabelRecord | UnsetType = UNSET

    @property
    def layout(self) -> Layout:
        """The columns of its feature rows."""
        return layout(self.features, only=self.only, context=self.context)


# Entries that a file leaves out where they say nothing.
UNSAID = ("prices", "barrier", "own_label")
FORMATS: dict[int, type[Format2]] = {2: Format2, 3: Format3, 4: Format4, 5: Format5, FORMAT: Record}
