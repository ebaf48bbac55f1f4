"""The file format: a record, weights or file that does not fit is refused with the difference."""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from model.checkpoint.checkpoint import Checkpoint
from model.checkpoint.format import checkpoint_errors, decode
from model.checkpoint.record import Golden
from model.errors import CheckpointError
from model.features.table import FEATURE_NAMES
from tests.helpers.forging import JsonObject, forged, network_in, record_in, refusal

OLDER = Path(__file__).parents[2] / "house" / "golden" / "format-2.ckpt"


def test_the_forger_writes_files_that_load(small: bytes) -> None:
    assert forged(small) == small
    assert refusal(forged(small, lambda record: record.update(horizon=3))) == ""


def test_the_digest_is_a_sha256_with_zeros_in_its_own_place(small: bytes) -> None:
    digest = record_in(small)["digest"]
    assert hashlib.sha256(small.replace(digest.encode(), b"0" * 64)).hexdigest() == digest


def test_a_file_of_an_older_format_is_written_as_it_was(tmp_path: Path) -> None:
    older = Checkpoint.load(OLDER)
    older.save(tmp_path / "again.ckpt")
    assert (tmp_path / "again.ckpt").read_bytes() == OLDER.read_bytes()
    assert (older.format, older.hours) == (2, None)
    with pytest.raises(CheckpointError, match="format 2 cannot hold `hours`"):
        replace(older, hours=(1.0, *[0.0] * 23)).save(tmp_path / "again.ckpt")
    with pytest.raises(CheckpointError, match="format 2 cannot hold `outcome`"):
        replace(older, outcome="relative").save(tmp_path / "again.ckpt")


def renamed(record: JsonObject) -> None:
    record["feature_names"][3] = "bar_close_zz"


def swapped(record: JsonObject) -> None:
    names = record["feature_names"]
    names[0], names[85] = names[85], names[0]


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (
            lambda record: record.update(format=7),
            "it has format 7, this program reads the formats 2 to 6. Use the version that wrote ",
        ),
        (lambda record: record.update(format=1), "it has format 1, this program reads the formats"),
        (lambda record: record.update(format=2), "it is damaged (Object contains unknown field"),
        (lambda record: record.update(hours=[1.0]), "Expected `array` of length >= 24"),
        (
            lambda record: record.update(outcome="luck"),
            "Invalid enum value 'luck' - at `$.outcome`",
        ),
        (
            lambda record: record.update(instruments={"gold": "12"}),
            "Expected `str` matching regex '^[0-9a-f]{64}$' - at `$.instruments[...]`",
        ),
        (
            lambda record: record.update(hours=[0.5] * 24),
            "hours must be shares that sum to 1, got a sum of 12.",
        ),
        (
            renamed,
            "(unknown: ['bar_close_zz'], missing: ['bar_close_z'], "
            "1 out of place: ['bar_close_zz for bar_close_z'])",
        ),
        (
            swapped,
            "(unknown: [], missing: [], "
            f"2 out of place: ['{FEATURE_NAMES[85]} for {FEATURE_NAMES[0]}'])",
        ),
        (
            lambda record: record["feature_names"].pop(),
            f"(unknown: [], missing: ['{FEATURE_NAMES[85]}'], 0 out of place: [])",
        ),
        (lambda record: record["feature_names"].append("new"), "(unknown: ['new'], missing: []"),
        (
            lambda record: record["feature_names"].append("ma_dist_5"),
            "features are not the ones computed here",
        ),
        (
            lambda record: network_in(record).update(features=85),
            "must have 86 features, got 86 and 85",
        ),
        (
            lambda record: record["scaler"].update(
                mean=[0.0] * 85, scale=[1.0] * 85, kept=[True] * 85
            ),
            "got 85 and 86",
        ),
        (
            lambda record: record["scaler"]["kept"].pop(),
            "mean, scale and kept must be equally long",
        ),
        (lambda record: record["scaler"]["scale"].__setitem__(4, 0.0), "scale and clip above 0"),
        (
            lambda record: network_in(record).update(hidden=3),
            "0.head.weight must be ('F32', (1, 6)), got ('F32', (1, 4))",
        ),
        (
            lambda record: network_in(record).update(layers=2),
            "0.lstm.bias_hh_l1 must be ('F32', (8,)), got None",
        ),
        (
            lambda record: network_in(record).update(hidden=200_000),
            "`hidden` must be a whole number from 1 to 2048, got 200000",
        ),
        (lambda record: network_in(record).update(dropout=1.0), "`dropout` must be a number"),
        (
            lambda record: network_in(record).update(colour=1),
            "missing, repeated or differently written entries",
        ),
        (
            lambda record: network_in(record).pop("hidden"),
            "missing, repeated or differently written entries",
        ),
        (
            lambda record: network_in(record).update(hidden="2"),
            "Expected `int`, got `str` - at `$.hidden`",
        ),
        (
            lambda record: record["members"][0].update(architecture="os.system"),
            "must be one of bilstm, transformer, ",
        ),
        (
            lambda record: record["members"][0].update(architecture="ensemble"),
            "must be one of bilstm, transformer, ",
        ),
        (
            lambda record: record["members"][0].update(architecture="transformer"),
            "missing, repeated or differently written entries",
        ),
        (
            lambda record: record.update(members=[]),
            "Expected `array` of length >= 1 - at `$.members`",
        ),
        (
            lambda record: record["members"].append(record["members"][0]),
            "10 tensors are not those of its networks; 1.head.bias must",
        ),
        (
            lambda record: record["members"][0].update(colour=1),
            "unknown field `colour` - at `$.members[0]`",
        ),
        (
            lambda record: record["members"][0].pop("seed"),
            "missing required field `seed` - at `$.members[0]`",
        ),
        (lambda record: record.update(label="high"), "Invalid enum value 'high' - at `$.label`"),
        (lambda record: record.update(stamp="noon"), "at `$.stamp`"),
        (lambda record: record.update(horizon=0), "at `$.horizon`"),
        (lambda record: record.update(sequence_length=10**6), "at `$.sequence_length`"),
        (
            lambda record: record["members"][0].update(temperature=0.0),
            "at `$.members[0].temperature`",
        ),
        (
            lambda record: record["members"][0].update(temperature="1"),
            "Expected `float`, got `str` - at `$.members[0].temperature`",
        ),
        (lambda record: record.update(enter=1.0), "at `$.enter`"),
        (
            lambda record: record.update(enter=0.5, exit=0.6),
            "exit must not be above enter, got 0.6 and 0.5.",
        ),
        (lambda record: record.update(bar_interval=0.0), "at `$.bar_interval`"),
        (
            lambda record: record.update(trained_until="now"),
            "trained_until must be a timestamp without zone, got 'now'.",
        ),
        (
            lambda record: record.update(trained_until="NaT"),
            "trained_until must be a timestamp without zone, got 'NaT'.",
        ),
        (
            lambda record: record.update(trained_until="2020-01-01 00:00:00+01:00"),
            "trained_until must be a timestamp without zone",
        ),
        (lambda record: record.update(trained_until="soon"), "it is damaged ("),
        (
            lambda record: record["members"][0].update(history=[{"loss": "x"}]),
            "at `$.members[0].history[0][...]`",
        ),
        (lambda record: record.update(code="print()"), "unknown field `code`"),
        (lambda record: record.pop("versions"), "missing required field `versions`"),
    ],
)
def test_a_record_that_does_not_fit_is_refused_with_the_difference(
    small: bytes, edit: Callable[[JsonObject], object], reason: str
) -> None:
    assert reason in refusal(forged(small, edit))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"horizon":1', '"horizon":NaN', "JSON is malformed"),
        ('"horizon":1', '"horizon":1e999', "at `$.horizon`"),
        ('"horizon":1', '"horizon":' + "9" * 5000, "it is damaged ("),
        ('"temperature":0.2', '"temperature":Infinity', "JSON is malformed"),
        ('"temperature":0.2', '"temperature":1e999', "Number out of range"),
        (
            '"temperature":0.2',
            '"temperature":2e-1',
            "missing, repeated or differently written entries",
        ),
        (
            '"horizon":1',
            '"horizon":2,"horizon":1',
            "missing, repeated or differently written entries",
        ),
        ('"horizon":1', '"horizon": 1', "missing, repeated or differently written entries"),
        ('{"format":6', '{"format":"1"', "Expected `int`, got `str` - at `$.format`"),
        ('{"format":6', '{"fromat":1', "missing required field `format`"),
        ('{"format":6', '[{"format":1', "it is damaged ("),
    ],
)
def test_a_record_that_is_not_as_save_writes_it_is_refused(
    small: bytes, old: str, new: str, reason: str
) -> None:
    assert reason in refusal(forged(small, rewrite=lambda text: text.replace(old, new, 1)))


def changed(name: str, value: float) -> Callable[[JsonObject], None]:
    """Return an edit of an entry, of the record or else of its member; exit goes with enter."""

    def edit(record: JsonObject) -> None:
        (record if name in record else record["members"][0]).update({name: value})
        record.update(exit=min(record["enter"], 0.5) if name == "enter" else record["exit"])

    return edit


@pytest.mark.parametrize(
    ("name", "accepted", "refused"),
    [
        ("horizon", (1, 10_000), (0, 10_001)),
        ("sequence_length", (1, 10_000), (0, 10_001)),
        ("temperature", (0.01, 100.0), (0.009, 100.5)),
        ("enter", (0.5, 0.999), (0.499, 1.0)),
        ("exit", (0.5,), (0.499, 1.0)),
        ("bar_interval", (1e-9,), (0.0, -1.0)),
    ],
)
def test_numbers_up_to_their_bounds_are_taken(
    small: bytes, name: str, accepted: tuple[float, ...], refused: tuple[float, ...]
) -> None:
    assert [refusal(forged(small, changed(name, value))) for value in accepted] == [""] * len(
        accepted
    )
    for value in refused:
        assert f"{name}`" in refusal(forged(small, changed(name, value)))


def test_of_many_foreign_features_the_first_are_named(small: bytes) -> None:
    said = refusal(
        forged(
            small,
            lambda record: record.update(feature_names=["a", "b", "c", "d", *FEATURE_NAMES[4:]]),
        )
    )
    missing = sorted(FEATURE_NAMES[:4])[:3]
    assert (
        f"(unknown: ['a', 'b', 'c'], missing: {missing}, "
        f"4 out of place: ['a for {FEATURE_NAMES[0]}'])" in said
    )


def with_bias(value: Tensor | None) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    def change(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        rest = {name: tensor for name, tensor in weights.items() if name != "0.head.bias"}
        return rest if value is None else rest | {"0.head.bias": value}

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            with_bias(torch.tensor([math.nan])),
            "1 tensors hold values that are not finite, the first is 0.head.bias.",
        ),
        (
            with_bias(torch.tensor([-math.inf])),
            "1 tensors hold values that are not finite, the first is 0.head.bias.",
        ),
        (
            with_bias(torch.zeros(1, dtype=torch.float64)),
            "0.head.bias must be ('F32', (1,)), got ('F64', (1,)).",
        ),
        (
            with_bias(torch.zeros(1, dtype=torch.float16)),
            "0.head.bias must be ('F32', (1,)), got ('F16', (1,)).",
        ),
        (
            with_bias(torch.zeros(1, dtype=torch.int32)),
            "0.head.bias must be ('F32', (1,)), got ('I32', (1,)).",
        ),
        (
            with_bias(torch.zeros(1, dtype=torch.complex64)),
            "0.head.bias must be ('F32', (1,)), got ('C64', (1,)).",
        ),
        (with_bias(torch.zeros(2)), "0.head.bias must be ('F32', (1,)), got ('F32', (2,))."),
        (with_bias(torch.zeros(())), "0.head.bias must be ('F32', (1,)), got ('F32', ())."),
        (with_bias(None), "0.head.bias must be ('F32', (1,)), got None."),
        (
            lambda weights: weights | {"foreign": torch.zeros(1)},
            "1 tensors are not those of its networks; foreign must be None, got",
        ),
        (
            lambda weights: {
                name.replace("lstm", "gru"): tensor for name, tensor in weights.items()
            },
            "16 tensors are not those",
        ),
        (lambda weights: {}, "10 tensors are not those of its networks"),
    ],
)
def test_weights_that_are_not_the_networks_are_refused_with_the_difference(
    small: bytes, change: Callable[[dict[str, Tensor]], dict[str, Tensor]], reason: str
) -> None:
    assert reason in refusal(forged(small, weights=change(load_tensors(small))))


def test_a_file_of_another_program_is_named_as_such(small: bytes) -> None:
    for metadata in (None, {"format": "pt"}):
        foreign = save_tensors(load_tensors(small), metadata=metadata)
        assert "it is a safetensors file of another program" in refusal(foreign)


def test_a_record_without_a_digest_is_refused(small: bytes) -> None:
    for digest in ("", "0" * 64, "f" * 63, "ä" * 64):
        changed = save_tensors(
            load_tensors(small),
            metadata={
                "checkpoint": json.dumps(
                    record_in(small) | {"digest": digest}, separators=(",", ":"), ensure_ascii=False
                )
            },
        )
        assert "digest" in refusal(changed) or "differently written" in refusal(changed)


def test_what_was_read_of_a_file_cannot_be_changed(small: bytes) -> None:
    record, [member] = decode(small)
    golden = Golden((), (), (), (), 0.5)
    for part, name in (
        (record, "horizon"),
        (record.members[0], "seed"),
        (member, "seed"),
        (golden, "probability"),
    ):
        with pytest.raises(AttributeError):
            setattr(part, name, 1)


FULL = [
    MemoryError(),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    KeyboardInterrupt(),
]


@pytest.mark.parametrize("fault", FULL, ids=["python", "torch", "Ctrl-C"])
@pytest.mark.parametrize(
    "place", ["model.checkpoint.format.tensors_in", "model.checkpoint.format.asdict"]
)
def test_want_of_memory_is_no_fault_of_what_is_read_or_written(
    small: bytes,
    checkpoint: Checkpoint,
    monkeypatch: pytest.MonkeyPatch,
    fault: BaseException,
    place: str,
) -> None:
    def fail(*_: object) -> NoReturn:
        raise fault

    monkeypatch.setattr(place, fail)
    with pytest.raises(type(fault)) as raised, checkpoint_errors("FILE"):
        decode(small)
    assert raised.value is fault
    with pytest.raises(type(fault)) as raised:
        assert replace(checkpoint).digest  # nothing of it is made yet
    assert raised.value is fault


def test_a_refusal_ends_a_command_with_its_own_code() -> None:
    assert CheckpointError("").exit_code == 4
