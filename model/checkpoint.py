"""The one file format: a trained network with all that serving it needs, saved atomically, loaded without running code."""
from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from model.bars import bar_interval, require_bars
from model.features import FEATURE_NAMES, LOOKBACK, FeatureEngineer
from model.files import write_atomically
from model.network import BiLSTMClassifier, NetworkConfig
from model.process import torch_threads
from model.scaling import Scaler

FORMAT = 1
LARGEST_FILE = 256 << 20
LARGEST_HEADER = 8 << 20
NO_DIGEST = "0" * 64
BATCH = 256


class CheckpointError(ValueError):
    """A file is no checkpoint that can be used here; the message names the file and the difference."""

    exit_code = 4


@dataclass(frozen=True)
class Golden:
    """One window's whole way, kept to check that a serving path computes what training computed.

    stamps (n,) in ns, bars (n, 5) open, high, low, close, volume; of the last bar: features (86,), scores (86,) after
    the scaler, and the probability of the window that ends there.
    """

    stamps: tuple[int, ...]
    bars: tuple[tuple[float, ...], ...]
    features: tuple[float, ...]
    scores: tuple[float, ...]
    probability: float


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The words and numbers of a checkpoint file: everything but the weights, as JSON."""

    format: int
    digest: str
    feature_names: tuple[str, ...]
    network: NetworkConfig
    scaler: Scaler
    label: Literal["open", "close"]
    horizon: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    sequence_length: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    temperature: Annotated[float, msgspec.Meta(gt=0)]
    enter: Annotated[float, msgspec.Meta(ge=0.5, lt=1)] | None
    exit: Annotated[float, msgspec.Meta(ge=0.5, lt=1)] | None
    trained_until: str
    instrument: str | None
    bar_interval: Annotated[float, msgspec.Meta(gt=0)]
    timezone: str | None
    stamp: Literal["open", "close"]
    parts: dict[str, dict[str, str | float | int | None]]
    metrics: dict[str, float | None]
    history: list[dict[str, float | int]]
    config: dict[str, str | float | int | bool | None]
    versions: dict[str, str]
    golden: Golden | None


@dataclass(frozen=True, eq=False, kw_only=True)
class Checkpoint:
    """A trained network and all that is needed to serve it.

    weights: the network's tensors by name. label, horizon: what a probability is about (`make_labels`). temperature:
    logits are divided by it. enter, exit: thresholds chosen in training, None where none were. trained_until: the stamp
    of the latest bar of which any price entered training or validation; a decision at an earlier close would look ahead.
    bar_interval, timezone, stamp: the clock of the bars. parts: dates and shares of each part. history: one entry an epoch.
    """

    network: NetworkConfig
    weights: dict[str, Tensor]
    scaler: Scaler
    label: str
    horizon: int
    sequence_length: int
    temperature: float
    enter: float | None
    exit: float | None
    trained_until: pd.Timestamp
    instrument: str | None
    bar_interval: pd.Timedelta
    timezone: str | None
    stamp: str
    parts: dict[str, dict[str, str | float | int | None]]
    metrics: dict[str, float | None]
    history: list[dict[str, float | int]]
    config: dict[str, str | float | int | bool | None]
    versions: dict[str, str]
    golden: Golden | None = None

    def save(self, path: str | Path) -> None:
        """Write the file in one step that survives a crash; OutputError where that is impossible."""
        data = self._file
        decode(data, "the checkpoint to be saved")  # what could not be loaded is never written
        write_atomically(path, data)

    @classmethod
    def load(cls, path: str | Path) -> Checkpoint:
        """Read a file that `save` wrote.

        No content can run code (safetensors holds numbers only). Raises CheckpointError, naming the file and the reason,
        unless the digest, the features, the network's shapes and dtypes, and every number are in order.
        """
        return decode(read_file(path), str(path))

    @cached_property
    def digest(self) -> str:
        """The SHA-256 over the whole file, as hex: the same for the same training."""
        return _record_of(self._file).digest

    @property
    def bars_needed(self) -> int:
        """How many bars make the first probability."""
        return LOOKBACK + self.sequence_length - 1

    def predict(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probability of "up" for each window of raw feature rows: (n, 86) -> (n - sequence_length + 1,).

        The one way from features to probability: training's evaluation, backtest and live all take it.
        """
        from_logits: NDArray[np.float64] = 0.5 * np.tanh(0.5 * self.logits(features) / self.temperature) + 0.5
        return from_logits

    def logits(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the uncalibrated logits of the windows: (n, 86) -> (n - sequence_length + 1,)."""
        if len(features) < self.sequence_length:
            raise ValueError(f"`features` must have at least {self.sequence_length} rows, got {len(features)}.")
        rows = torch.from_numpy(self.scaler.transform(features))
        windows = rows.unfold(0, self.sequence_length, 1).transpose(1, 2)  # (m, 50, 86), a view
        with torch_threads(1), torch.inference_mode():
            parts = [self._network(batch) for batch in torch.split(windows, BATCH)]
        return torch.cat(parts).double().numpy()

    def probabilities(self, bars: pd.DataFrame) -> pd.Series:
        """Return the probability of "up" decided at each bar's close, from the first bar that has its whole window.

        The index is `bars.index[149:]`. Raises BarsError for fewer bars, CheckpointError for another bar interval.
        """
        require_bars(bars, self.bars_needed, f"{LOOKBACK} for the features and {self.sequence_length - 1} for the window")
        self.require_interval(bar_interval(bars.index))
        features = FeatureEngineer().transform(bars)
        decided = features.index[self.sequence_length - 1:]
        return pd.Series(self.predict(features.to_numpy()), index=decided, name="probability")

    def require_interval(self, interval: pd.Timedelta) -> None:
        """Refuse bars of another interval than the network was trained on, with a CheckpointError."""
        if interval != self.bar_interval:
            raise CheckpointError(f"the checkpoint was trained on bars of {self.bar_interval}, got bars of {interval}. "
                                  "Give bars of that interval or train on these.")

    @cached_property
    def _network(self) -> BiLSTMClassifier:
        network = BiLSTMClassifier(self.network)
        network.load_state_dict(self.weights)
        return network.eval().requires_grad_(False)

    @cached_property
    def _file(self) -> bytes:
        """The whole file: one metadata entry, so that the order of entries, which safetensors leaves open, cannot vary."""
        plain = encode(self._record(NO_DIGEST), self.weights)
        return encode(self._record(hashlib.sha256(plain).hexdigest()), self.weights)

    def _record(self, digest: str) -> Record:
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "weights"}
        own |= {"trained_until": str(self.trained_until), "bar_interval": self.bar_interval.total_seconds()}
        return Record(format=FORMAT, digest=digest, feature_names=FEATURE_NAMES, **own)


def library_versions() -> dict[str, str]:
    """Return the versions that can change a result's bits."""
    return {name: importlib.metadata.version(name) for name in ("backtrader-bilstm", "numpy", "pandas", "scikit-learn", "torch")}


def encode(record: Record, weights: dict[str, Tensor]) -> bytes:
    """Return the file's bytes for a record and weights."""
    text = msgspec.json.encode(record).decode()
    return save_tensors({name: tensor.contiguous() for name, tensor in weights.items()}, metadata={"checkpoint": text})


def read_file(path: str | Path) -> bytes:
    """Return the file's bytes; CheckpointError where there is no file of a sensible size."""
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise CheckpointError(f"{path} must be at most {LARGEST_FILE} bytes long, got {size}. "
                                  "It is no checkpoint of this program.")
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}. Name a file that model.train wrote.") from error


def decode(data: bytes, name: str) -> Checkpoint:
    """Return the checkpoint in a file's bytes, after every check; CheckpointError with `name` and the reason otherwise."""
    try:
        return _checked(data)
    except Exception as error:  # whatever a damaged file provokes in the parsers, the caller sees one type
        raise CheckpointError(f"{name} cannot be used: {error} Take an undamaged copy or train again.") from error


def _checked(data: bytes) -> Checkpoint:
    header = _header(data)
    record = _record_of(data)
    undigested = data.replace(record.digest.encode(), NO_DIGEST.encode(), 1)
    if hashlib.sha256(undigested).hexdigest() != record.digest:
        raise CheckpointError("its content does not have the digest it states; it is damaged or was changed.")
    _require_features(record.feature_names)
    if not len(record.scaler.mean) == record.network.features == len(FEATURE_NAMES):
        raise CheckpointError(f"scaler and network must have {len(FEATURE_NAMES)} features, "
                              f"got {len(record.scaler.mean)} and {record.network.features}.")
    _require_tensors(header, record.network)
    weights = load_tensors(data)
    _require_finite(weights)
    about_the_file = ("format", "digest", "feature_names")
    own = {field: getattr(record, field) for field in record.__struct_fields__ if field not in about_the_file}
    own |= {"trained_until": pd.Timestamp(record.trained_until), "bar_interval": pd.Timedelta(seconds=record.bar_interval)}
    return Checkpoint(weights=weights, **own)


def _header(data: bytes) -> dict[str, Any]:
    """Return the safetensors header: 8 bytes of length, then JSON."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(LARGEST_HEADER, len(data) - 8):
        raise CheckpointError(f"it is not a safetensors file, or not a whole one ({len(data)} bytes).")
    header = msgspec.json.decode(data[8:8 + length], type=dict[str, Any])
    if not isinstance(header.get("__metadata__"), dict) or "checkpoint" not in header["__metadata__"]:
        raise CheckpointError("it is a safetensors file of another program.")
    return header


def _record_of(data: bytes) -> Record:
    text = _header(data)["__metadata__"]["checkpoint"]
    version = msgspec.json.decode(text, type=dict[str, Any]).get("format")
    if version != FORMAT:
        raise CheckpointError(f"it has format {version!r}, this program reads format {FORMAT}. "
                              "Use the version that wrote it, or upgrade.")
    record = msgspec.json.decode(text, type=Record)
    if msgspec.json.encode(record).decode() != text:
        raise CheckpointError("its record has missing or unknown entries.")
    if len(record.digest) != 64:
        raise CheckpointError("its digest is not 64 hexadecimal digits.")
    return record


def _require_features(names: Sequence[str]) -> None:
    if tuple(names) == FEATURE_NAMES:
        return
    foreign, missing = sorted(set(names) - set(FEATURE_NAMES)), sorted(set(FEATURE_NAMES) - set(names))
    moved = [f"{position}: {theirs} for {ours}" for position, (theirs, ours) in enumerate(zip(names, FEATURE_NAMES)) if theirs != ours]
    raise CheckpointError(f"its features are not the ones computed here (unknown: {foreign[:3]}, missing: {missing[:3]}, "
                          f"{len(moved)} out of place, first {moved[:1]}).")


def _require_tensors(header: dict[str, Any], config: NetworkConfig) -> None:
    """Compare names, dtypes and shapes with those of the network that the record describes, before any tensor is made."""
    with torch.device("meta"):  # shapes without memory
        expected = {name: ["F32", list(tensor.shape)] for name, tensor in BiLSTMClassifier(config).state_dict().items()}
    found = {name: [entry["dtype"], entry["shape"]] for name, entry in header.items() if name != "__metadata__"}
    differing = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if differing:
        name = differing[0]
        raise CheckpointError(f"{len(differing)} tensors are not those of its network; "
                              f"{name} must be {expected.get(name)}, got {found.get(name)}.")


def _require_finite(weights: dict[str, Tensor]) -> None:
    faulty = [name for name, tensor in weights.items() if not bool(torch.isfinite(tensor).all())]
    if faulty:
        raise CheckpointError(f"{len(faulty)} tensors hold values that are not finite, the first is {faulty[0]}.")
