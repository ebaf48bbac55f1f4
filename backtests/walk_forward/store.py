"""A run's folder while it works: its lock, its finished folds and members, how it began."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from backtests.walk_forward.folds import Fold, FoldModel
from backtests.walk_forward.ledger import Trial
from backtests.walk_forward.thresholds import Choice
from model.checkpoint.checkpoint import Checkpoint
from model.errors import CheckpointError
from model.files import locked, require_writable, write_atomically

CHECKPOINTS, STATE, MEMBERS, LOCK = "checkpoints", ".state", "members", ".lock"
SUMMARY = "summary.json"  # of a run, with everything in one
EARLIER = "earlier"  # models that other settings trained in this folder
START = "start.json"

Record = dict[str, Any]  # one JSON file of a run's state


class FolderInUse(RuntimeError):
    """Another run writes into the folder."""

    exit_code = 7


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold the folder against other runs; FolderInUse at once where one holds it.

    The lock ends with its process, however that ends.
    """
    require_writable(folder / SUMMARY)  # now, rather than when all is trained
    refusal = FolderInUse(
        f"{folder} must not be used by two runs at once, and another one is at work there. "
        "Wait for it, or give another folder with --out."
    )
    state = folder / STATE
    swept = (folder, folder / CHECKPOINTS, state, state / MEMBERS)
    with locked(folder / LOCK, refusal, *swept):
        yield


@dataclass(frozen=True)
class Keys:
    """By what a fold's model is found again.

    trained: the digest of all that decides its weights. chosen: of all that decides its thresholds
    too, the costs among them.
    """

    trained: str
    chosen: str


class RunState:
    """The finished folds of a run, each found by its keys.

    A fold counts as finished once its record is written, which happens after its checkpoint is.
    Checkpoints that are damaged or were replaced count as nothing: their folds are trained again.
    Models of other settings are laid aside before they would be replaced, and found again when
    those settings come back.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkpoints = folder / CHECKPOINTS
        self._records = folder / STATE
        self._earlier = self._records / EARLIER
        for place in (self.checkpoints, self._records):
            require_writable(place / "probe")

    def forget(self) -> None:
        """Start over: drop the records of all finished folds, and how the run began."""
        for record in [*self._records.glob("*.json"), *self._earlier.glob("*")]:
            record.unlink()

    def trials_at_start(self, key: str, trials: list[Trial]) -> list[Trial]:
        """Return the other trials that the run with this key began with.

        These are the given ones at its first start. When it goes on after an interruption they are
        those kept then: its verdict must not change with what was tried in the meantime.
        """
        path = self._records / START
        begun = _read(path)
        if begun and begun["key"] == key and "trials" in begun:
            return [Trial(*trial) for trial in begun["trials"]]
        _write(path, {"key": key, "trials": trials})
        return trials

    def finished(self, fold: Fold, keys: Keys) -> FoldModel | None:
        """Return the fold's model if an earlier run finished it under the same keys."""
        record = _read(self._record(fold))
        if not record or record["key"] != keys.chosen:
            return None
        model = _model(fold, record, self.checkpoints / fold.checkpoint)
        # The file is what is traded: the thresholds in it must be those of the record.
        whole = model and (model.checkpoint and model.checkpoint.digest) == record["digest"]
        return model if whole else None

    def trained(self, fold: Fold, key: str) -> FoldModel | None:
        """Return the model that other costs, or a run before the last one, left of this fold.

        Its weights are those that training would give again, its thresholds are of that run.

        key: of all that decides the weights.
        """
        for path, checkpoint in (
            (self._record(fold), self.checkpoints / fold.checkpoint),
            (self._earlier / f"{key}.json", self._earlier / f"{key}.ckpt"),
        ):
            record = _read(path)
            if not record or record.get("trained") != key:
                continue
            if model := _model(fold, record, checkpoint):
                return model
        return None

    def keep(self, model: FoldModel, keys: Keys) -> None:
        """Save a fold's checkpoint, then the record that makes it count."""
        self._lay_aside(self._record(model.fold), keys.trained)
        # A process that is killed in between leaves a checkpoint without a record: no fold.
        if model.checkpoint:
            model.checkpoint.save(self.checkpoints / model.name)
        record = {
            "key": keys.chosen,
            "trained": keys.trained,
            "digest": model.checkpoint.digest if model.checkpoint else None,
            "reason": model.reason,
            "choice": asdict(model.choice),
            "importance": dict(model.importance),
            "machine": dict(model.machine),
        }
        _write(self._record(model.fold), record)

    def require_own(self) -> None:
        """Raise ValueError for a checkpoint of somebody else in the folder: it would be traded."""
        own = {path.name for path in self._own()}
        there = {path.name for path in self.checkpoints.glob("*.ckpt")}
        if foreign := sorted(there - own):
            raise ValueError(
                f"{self.checkpoints} must hold this run's checkpoints alone, "
                f"got {', '.join(foreign)}. "
                "Move what is not of this run elsewhere, or choose another folder with --out."
            )

    def sweep(self, models: Sequence[FoldModel]) -> None:
        """Remove what an earlier run left: checkpoints and records of folds that are not these.

        A run of eight folds leaves three that a run of five in the same folder would trade too.
        """
        kept = {model.name for model in models if model.checkpoint}
        kept |= {self._record(model.fold).name for model in models} | {START}
        for record in self._records.glob("fold-*.json"):
            if record.name not in kept:
                self._lay_aside(record)
        for path in [*self._own(), *self._records.glob("*.json")]:
            if path.name not in kept:
                path.unlink()

    def _lay_aside(self, path: Path, but: str = "") -> None:
        """Move the model of a record to those of earlier runs, unless its key is `but`."""
        record, checkpoint = _read(path), self.checkpoints / f"{path.stem}.ckpt"
        key = record and record.get("trained")  # records of an older version have none
        if not record or not key or key == but or not checkpoint.exists():
            return
        self._earlier.mkdir(exist_ok=True)
        # The record first: killed in between, the fold is still whole, and the copy finds no file.
        _write(self._earlier / f"{key}.json", record)
        checkpoint.replace(self._earlier / f"{key}.ckpt")

    def _own(self) -> list[Path]:
        return list(self.checkpoints.glob("fold-*.ckpt"))  # as FoldModel.name spells it

    def _record(self, fold: Fold) -> Path:
        return self._records / f"fold-{fold.number:02d}.json"


class MemberStore:
    """The members of folds that have several, each found by the digest of all that decides it.

    It serves all configurations of a run: an ensemble takes the members that another one trained,
    and one more seed trains but one more.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / STATE / MEMBERS

    def find(self, key: str) -> Checkpoint | None:
        """Return a member; None where it was not trained, or its file is damaged."""
        try:
            return Checkpoint.load(self._path(key))
        except CheckpointError:
            return None

    def find_all(self, keys: Sequence[str]) -> list[Checkpoint]:
        """Return the members with these keys if all are there, else none."""
        found = [member for key in keys if (member := self.find(key))]
        return found if len(found) == len(keys) else []

    def keep(self, key: str, checkpoint: Checkpoint) -> None:
        if self.find(key) is None:
            require_writable(self._path(key))
            checkpoint.save(self._path(key))

    def forget(self) -> None:
        for path in self._folder.glob("*.ckpt"):
            path.unlink()

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.ckpt"


def _model(fold: Fold, record: Record, file: Path) -> FoldModel | None:
    """Return the model of a record; None where its checkpoint is not the one that was recorded."""
    choice = Choice(**record["choice"])
    reason, importance, machine = (record[name] for name in ("reason", "importance", "machine"))
    model = FoldModel(fold, None, choice, reason, importance, machine)
    if record["digest"] is None:  # finished without a checkpoint
        return model
    try:
        checkpoint = Checkpoint.load(file)
    except CheckpointError:
        return None
    # A sound checkpoint of another training, copied here, is not the fold's. One that was killed
    # between its thresholds and their record is.
    recorded = replace(checkpoint, enter=choice.enter, exit=choice.exit)
    return replace(model, checkpoint=checkpoint) if recorded.digest == record["digest"] else None


def _read(path: Path) -> Record | None:
    """Return a record; None where there is none that can be read."""
    try:
        record: Record = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return record


def _write(path: Path, record: Record) -> None:
    write_atomically(path, (json.dumps(record, indent=1) + "\n").encode())
