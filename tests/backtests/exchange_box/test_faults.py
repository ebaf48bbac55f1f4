"""The faults of the exchange in a box, by script and at random."""

from pathlib import Path

import pytest

from backtests.exchange_box.faults import AT_RANDOM, KINDS, Fault, FaultPlan, random_faults
from backtests.exchange_box.faults import read_faults as read
from model.errors import BarsError


def test_a_script_is_read(tmp_path: Path) -> None:
    first = '[[fault]]\nkind = "cut stream"\nbar = 3\n'
    second = '[[fault]]\nkind = "status"\nstatus = 429\ntimes = 2\n'
    (tmp_path / "faults.toml").write_text(first + second)
    assert read(tmp_path / "faults.toml") == [
        Fault("cut stream", 3),
        Fault("status", status=429, times=2),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind =", "must be a script of faults in TOML"),
        ("", r"must hold tables \[\[fault\]\], got none"),
        ('[[fault]]\nkind = "cut steam"', "fault 1: unknown kind of fault: 'cut steam'. Did you"),
        ('[[fault]]\nkind = "halt"\nbars = 3', "unknown setting of a fault: 'bars'"),
        ("[[fault]]\nbar = 3", "fault 1: .*missing 1 required"),
        ('[[fault]]\nkind = "halt"\nbar = -3', "`bar` must be a whole number from 0, got -3"),
    ],
)
def test_a_script_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "faults.toml").write_text(text)
    with pytest.raises(BarsError, match=words):
        read(tmp_path / "faults.toml")


def test_a_script_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BarsError, match="No such file"):
        read(tmp_path / "none.toml")


def test_a_fault_comes_from_its_bar_on_and_so_often() -> None:
    plan = FaultPlan([Fault("status", 3, times=2, path="POST")])
    taken = [
        bool(plan.take("status", bar, path))
        for bar, path in [
            (2, "POST /v2"),
            (3, "GET /v2"),
            (4, "POST /v2"),
            (9, "POST"),
            (9, "POST"),
        ]
    ]
    assert taken == [False, False, True, True, False] and len(plan.done) == 2
    assert not plan.take("halt", 9)


def test_faults_at_random_come_again_with_their_seed() -> None:
    faults = random_faults(1, 1_000, 0.1)
    assert faults == random_faults(1, 1_000, 0.1) != random_faults(2, 1_000, 0.1)
    assert 60 < len(faults) < 140
    assert {fault.kind for fault in faults} == set(AT_RANDOM) <= set(KINDS)
