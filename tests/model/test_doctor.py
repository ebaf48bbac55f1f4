"""The command python -m model.doctor."""

from pathlib import Path

import pytest

from model.bars.read import digest_bars, read_bars
from model.cli import run
from model.doctor import app, console
from model.features.table import VOLUME_FEATURES
from tests.helpers.bar_files import DAILY, HOURLY, PRICES, dated, saved


@pytest.fixture(autouse=True)
def wide_console(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables as on a screen wide enough for them."""
    monkeypatch.setattr(console, "width", 400)


def outcome(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        run(app, [str(argument) for argument in arguments])
    return int(stopped.value.code or 0)


def test_a_sound_file_is_described_and_usable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path, DAILY)
    assert outcome(path) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    for words in (
        "300",
        "2015-01-02 to 2016-02-25",
        "1 day",
        "252",
        digest_bars(read_bars(path)),
        "244 are needed",
        "train part",
        "validation part",
        "test part",
        "1 window before each later part, whose outcome is not known when that part begins",
        "% of them up",
        "tod_sin",
    ):
        assert words in printed.out


def test_every_file_of_a_folder_has_a_line_and_the_worst_decides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    split = DAILY.copy()
    split.loc[150:, PRICES] /= 10
    for name, table in (("a", DAILY), ("b", split[:240]), ("c", DAILY[:120])):
        saved(tmp_path, table).rename(tmp_path / f"{name}.csv")
    assert outcome(tmp_path) == 3
    printed = capsys.readouterr()
    a, b, c = printed.out.splitlines()
    assert a.startswith("a: 300 bars of 1 day from 2015-01-02") and "; 0 notes; " in a
    assert "; 1 note; " in b and b.endswith(" to train on with --batch-size 32")
    assert c.startswith("c.csv: refused: ") and "at least 244 are needed" in c
    assert printed.err == ""
    (tmp_path / "c.csv").unlink()
    assert outcome(tmp_path) == 0


def test_a_name_for_all_files_of_a_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(tmp_path, DAILY)
    assert outcome(tmp_path, "--instrument", "A") == 2
    assert "--instrument and --ticker must be left out" in capsys.readouterr().err


def test_a_second_file_is_no_name_of_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(saved(tmp_path, DAILY), "other.csv") == 2
    assert "other.csv" in capsys.readouterr().err


def test_bars_per_year_can_be_stated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(saved(tmp_path, DAILY), "--bars-per-year", 1234) == 0
    assert "1234" in capsys.readouterr().out


def test_doubts_are_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = DAILY.copy()
    table.loc[150:, PRICES] /= 10
    table.loc[100:109, PRICES] = table["close"][99]
    table.loc[200, "volume"] = 0
    assert outcome(saved(tmp_path, table.drop(index=range(270, 275)))) == 0
    printed = capsys.readouterr()
    for words in (
        "10:1 at 2015-07-31",
        "1, the longest 10 bars from 2015-05-22",
        "1 bar ",
        "1 longer than 4 days",
        "-90.",
    ):
        assert words in printed.out
    assert "note: " in printed.err and "an unadjusted 10:1 split?" in printed.err


def test_features_without_volume_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(saved(tmp_path, HOURLY.drop(columns="volume"))) == 0
    printed = capsys.readouterr()
    assert all(name in printed.out for name in VOLUME_FEATURES)
    assert printed.err.count("note: ") == 1


def test_a_smaller_batch_is_offered_where_the_bars_are_few(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(saved(tmp_path, DAILY[:240])) == 0
    assert "training with --batch-size 32" in capsys.readouterr().out


def test_too_few_bars_for_any_training_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(saved(tmp_path, DAILY[:120])) == 3
    printed = capsys.readouterr()
    assert "120" in printed.out and "bars.csv: 120 bars; at least 244 are needed" in printed.err


@pytest.mark.parametrize("n_bars", [1, 2])
def test_a_bar_or_two_are_refused_without_a_traceback(
    n_bars: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(saved(tmp_path, DAILY[:n_bars])) == 3
    assert "at least 244 are needed" in capsys.readouterr().err


def test_a_broken_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(saved(tmp_path, DAILY.rename(columns={"close": "cloze"}))) == 3
    assert "Did you mean 'cloze'?" in capsys.readouterr().err


def test_settings_of_training_are_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(saved(tmp_path, DAILY), "--sequence-length", 20, "--label", "close") == 0
    assert "20 for a window" in capsys.readouterr().out


@pytest.mark.parametrize(
    "flag, value, message",
    [
        (
            "--timezone",
            "America/NewYork",
            "--timezone must be a name such as 'America/New_York' or 'UTC', got 'America/NewYork'. "
            "Did you mean 'America/New_York'?",
        ),
        ("--date-format", "%Q", "--date-format %Q is no format"),
        ("--stamp", "clos", 'Did you mean "close"?'),
    ],
)
def test_a_setting_that_cannot_be_meant_is_wrong_use(
    flag: str, value: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(saved(tmp_path, dated(DAILY, "%Y/%m/%d")), flag, value) == 2
    assert message in capsys.readouterr().err


def test_without_a_file_the_sample_is_examined(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome() == 0
    assert "5031" in capsys.readouterr().out


def test_a_mistyped_flag_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome("--batchsize", "3") == 2
    assert "Did you mean --batch-size?" in capsys.readouterr().err
