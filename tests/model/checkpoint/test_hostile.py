"""Hostile checkpoints: nothing in them runs, and they cost neither time nor memory."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

import pytest
import torch
from safetensors.torch import save as save_tensors

from model.checkpoint.checkpoint import Checkpoint
from model.checkpoint.format import LARGEST_HEADER
from model.errors import CheckpointError
from model.networks.registry import MOST_MEMBERS
from model.networks.transformer import TransformerConfig
from tests.helpers.forging import JsonObject, forged, network_in
from tests.helpers.payloads import PAYLOADS, Payload


def torch_zip(payload: Payload) -> bytes:
    buffer = BytesIO()
    torch.save({"weights": payload}, buffer)
    return buffer.getvalue()


def torch_legacy(payload: Payload) -> bytes:
    buffer = BytesIO()
    torch.save(payload, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def tar(payload: Payload) -> bytes:
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("pickle", "tensors", "storages", "sys_info"):
            member = tarfile.TarInfo(name)
            member.size = len(pickle.dumps(payload))
            archive.addfile(member, BytesIO(pickle.dumps(payload)))
    return buffer.getvalue()


def deflated_zip(payload: Payload) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(payload))
    return buffer.getvalue()


def metadata(payload: Payload) -> bytes:
    text = pickle.dumps(payload, protocol=0).decode("latin1")
    return save_tensors(
        {"weight": torch.zeros(1)}, metadata={"checkpoint": text, "__reduce__": text}
    )


CONTAINERS = {
    "pickle": pickle.dumps,
    "torch zip": torch_zip,
    "torch legacy": torch_legacy,
    "tar": tar,
    "zip": deflated_zip,
    "safetensors metadata": metadata,
}


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("container", CONTAINERS)
def test_a_hostile_file_is_refused_and_nothing_in_it_runs(
    tmp_path: Path, payload: str, container: str
) -> None:
    canary = tmp_path / "canary"
    path = tmp_path / "hostile.ckpt"
    path.write_bytes(CONTAINERS[container](PAYLOADS[payload](str(canary))))
    with pytest.raises(CheckpointError, match="hostile.ckpt cannot be used: "):
        Checkpoint.load(path)
    assert not canary.exists()


@pytest.mark.parametrize("payload", PAYLOADS)
def test_the_hostile_payloads_do_run_where_pickles_are_read(tmp_path: Path, payload: str) -> None:
    canary = tmp_path / "canary"
    pickle.loads(pickle.dumps(PAYLOADS[payload](str(canary))))
    assert canary.exists()


def headed(header: bytes, body: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + body


def recorded(text: str) -> bytes:
    return headed(json.dumps({"__metadata__": {"checkpoint": text}}).encode())


def inflated_zip(_: bytes) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(1 << 28))
    return buffer.getvalue()


def many_large_networks(record: JsonObject) -> None:
    network_in(record).update(hidden=2048, layers=16)
    record["members"] *= MOST_MEMBERS


def many_large_transformers(record: JsonObject) -> None:
    config = TransformerConfig(width=2048, layers=16, heads=64, feed_forward=8192)
    record["members"][0].update(architecture="transformer", network=asdict(config))
    record["members"] *= MOST_MEMBERS
    record["sequence_length"] = 10_000


FULL = LARGEST_HEADER - 1000
BOMBS: dict[str, Callable[[bytes], bytes]] = {
    "header of 2^63 bytes": lambda small: (1 << 63).to_bytes(8, "little") + small[8:],
    "header of 2^64 - 1 bytes": lambda small: b"\xff" * 8 + small[8:],
    "header of 99 MB of blanks": lambda small: (99 << 20).to_bytes(8, "little") + b" " * (99 << 20),
    "header of blanks up to the limit": lambda small: headed(b" " * FULL),
    "deflated zip": inflated_zip,
    "lists nested in the header": lambda small: headed(b"[" * FULL),
    "objects nested in an entry": lambda small: headed(b'{"a":' * (FULL // 5)),
    "lists nested in the record": lambda small: recorded('{"format":1,"parts":' + "[" * FULL),
    "lists nested in a skipped entry": lambda small: recorded(
        '{"a":' + "[" * (FULL // 2) + "]" * (FULL // 2) + ',"format":1}'
    ),
    "empty lists in the header": lambda small: headed(b'{"a":[' + b"[]," * (FULL // 3) + b"[]]}"),
    "empty lists in the metadata": lambda small: headed(
        b'{"__metadata__":{"checkpoint":[' + b"[]," * (FULL // 3) + b"[]]}}"
    ),
    "empty entries of the history": lambda small: forged(
        small,
        lambda record: record["members"][0].update(history=[]),
        rewrite=lambda text: text.replace(
            '"history":[]', '"history":[' + "{}," * (FULL // 3) + "{}]"
        ),
    ),
    "many tensors": lambda small: save_tensors(
        {f"{number}": torch.zeros(1) for number in range(20_000)}
    ),
    "many entries": lambda small: headed(
        b"{" + b",".join(b'"%x":0' % number for number in range(FULL // 9)) + b"}"
    ),
    "a shape of 2^60": lambda small: small.replace(
        b'"shape":[1,4]', b'"shape":[1152921504606846976]'
    ),
    "a shape of 2^200": lambda small: small.replace(b'"shape":[1,4]', b'"shape":[%d]' % 2**200),
    "a shape of many sides": lambda small: headed(
        b'{"a":{"dtype":"F32","shape":[' + b"1," * (FULL // 2) + b'1],"data_offsets":[0,4]}}'
    ),
    "a network of terabytes": lambda small: forged(
        small, lambda record: network_in(record).update(hidden=10**7, layers=10**4)
    ),
    "the largest network": lambda small: forged(
        small, lambda record: network_in(record).update(hidden=2048, layers=16)
    ),
    "as many of the largest networks as there may be": lambda small: forged(
        small, many_large_networks
    ),
    "the largest transformers": lambda small: forged(small, many_large_transformers),
    "a million members": lambda small: forged(
        small, lambda record: record.update(members=[{}] * (FULL // 4))
    ),
    "a window of 10^18 rows": lambda small: forged(
        small, lambda record: record.update(sequence_length=10**18)
    ),
    "a number of a million digits": lambda small: forged(
        small, rewrite=lambda text: text.replace('"horizon":1', '"horizon":' + "9" * 10**6)
    ),
    "a million features": lambda small: forged(
        small, lambda record: record.update(feature_names=["a"] * (FULL // 8))
    ),
    "a scaler of a million columns": lambda small: forged(
        small,
        lambda record: record["scaler"].update(
            {
                "mean": [0.0] * (FULL // 14),
                "scale": [1.0] * (FULL // 14),
                "kept": [True] * (FULL // 14),
            }
        ),
    ),
    "an endless digest": lambda small: small.replace(
        b'digest\\":\\"', b'digest\\":\\"' + b"0" * 10**6
    ),
}
SPARSE: dict[
    str, Callable[[bytes], tuple[bytes, int]]
] = {  # the start of a file, and its size with the zeros that follow
    "200 MB of zeros": lambda small: (b"", 200 << 20),
    "200 MB after the weights": lambda small: (small, 200 << 20),
    "a terabyte after the weights": lambda small: (small, 1 << 40),
    "200 MB of one tensor": lambda small: (
        headed(b'{"a":{"dtype":"F32","shape":[50000000],"data_offsets":[0,200000000]}}'),
        200 << 20,
    ),
    "200 MB where the record allows them": lambda small: (
        forged(small, lambda record: network_in(record).update(hidden=1024, layers=4)),
        200 << 20,
    ),
}

# A child of its own for each file: its peak of memory starts at what it has inherited.
MEASURED = """
import os, resource, sys
from model import Checkpoint, CheckpointError

def spent():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024

try:
    Checkpoint.load("none")
except CheckpointError:
    pass
for path in sys.argv[1:]:
    if not os.fork():
        seconds, peak = spent()
        try:
            Checkpoint.load(path)
        except CheckpointError:
            print(spent()[0] - seconds, spent()[1] - peak, flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def costs(small: bytes, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[float, float]]:
    """Seconds of computing and mebibytes of memory that the refusal of each bomb takes."""
    folder = tmp_path_factory.mktemp("bombs")
    for number, name in enumerate(BOMBS | SPARSE):
        data, size = (BOMBS[name](small), 0) if name in BOMBS else SPARSE[name](small)
        (folder / f"{number:02d}").write_bytes(data)
        os.truncate(folder / f"{number:02d}", max(size, len(data)))
    command = [sys.executable, "-c", MEASURED, *sorted(folder.iterdir())]
    finished = subprocess.run(command, capture_output=True, check=True, text=True)
    lines = [tuple(map(float, line.split())) for line in finished.stdout.splitlines()]
    shutil.rmtree(folder)
    return dict(zip(BOMBS | SPARSE, lines, strict=True))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", BOMBS | SPARSE)
def test_a_bomb_is_refused_within_a_second_and_64_mebibytes(
    costs: dict[str, tuple[float, float]], name: str
) -> None:
    seconds, mebibytes = costs[name]
    assert seconds <= 1
    assert mebibytes <= 64
