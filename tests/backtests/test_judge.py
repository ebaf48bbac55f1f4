"""The command that judges a file of returns."""

import json

import numpy as np
import pandas as pd
import pytest

from backtests.judge import app
from model.cli import run

N = 300


@pytest.fixture(scope="module")
def table():
    draw = np.random.default_rng(5)
    return pd.DataFrame(
        {
            "date": pd.date_range("2020-01-01", periods=N, freq="B"),
            "fund": draw.normal(0.0002, 0.01, N),
            "benchmark": draw.normal(0.0002, 0.01, N),
        }
    )


@pytest.fixture
def file(tmp_path, table):
    table.to_csv(tmp_path / "fund.csv", index=False)
    return str(tmp_path / "fund.csv")


def left(*arguments):
    with pytest.raises(SystemExit) as stopped:
        run(app, arguments)
    return int(stopped.value.code or 0)


def test_it_prints_what_is_judged_the_figures_and_the_verdict(file, capsys):
    assert left(file) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "fund.csv: 300 returns of 1 day from 2020-01-01 to 2021-02-23" in printed
    assert "252 a year, beside the benchmark" in printed and "alpha over the benchmark" in printed
    assert "Not looked at: forecasts, for there are none; fills at the close" in printed
    assert "written to" not in printed


def test_out_holds_the_page_and_the_evidence_that_json_prints(file, tmp_path, capsys):
    assert left(file, "--out", str(tmp_path / "out"), "--json", "--worth", "0.03") == 0
    printed = capsys.readouterr().out
    assert printed == (tmp_path / "out" / "evidence.json").read_text()
    assert json.loads(printed)["evidence"]["worth"] == pytest.approx(0.03 / 252)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "evidence.json",
        "report.html",
        "settings.toml",
    ]
    assert left("--config", str(tmp_path / "out" / "settings.toml")) == 0
    assert capsys.readouterr().out == printed  # of the same file, at the same worth
    assert left(file, "--out", str(tmp_path / "out")) == 0
    assert "report.html, evidence.json" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ((), "the benchmark"),
        (("--neutral",), "cash"),
        (("--benchmark", "fund", "--returns", "benchmark"), "fund"),
    ],
)
def test_flags_choose_the_benchmark(file, flags, name, capsys):
    assert left(file, "--json", *flags) == 0
    assert json.loads(capsys.readouterr().out)["benchmark"]["name"] == name


def test_a_file_without_a_benchmark_is_never_an_edge(tmp_path, table, capsys):
    sure = table[["date", "fund"]].assign(fund=table["fund"] + 0.01)
    sure.to_csv(tmp_path / "sure.csv", index=False)
    assert left(str(tmp_path / "sure.csv")) == 0
    assert "cannot tell: No benchmark is given" in capsys.readouterr().out
    assert left(str(tmp_path / "sure.csv"), "--neutral") == 0
    assert "edge: alpha" in capsys.readouterr().out


def test_bad_input_is_one_message_and_exit_code_3(tmp_path, table, capsys):
    table[:30].to_csv(tmp_path / "few.csv", index=False)
    assert left(str(tmp_path / "few.csv")) == 3
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("error: ")
    assert "a verdict needs at least 50 returns, got 30." in printed.err


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (("--benchmark", "SPX"), 3, "--benchmark SPX must name one column, got 0 of that name"),
        (("--neutral", "--benchmark", "fund"), 2, "--neutral and --benchmark exclude each other"),
        (("--worth", "0"), 2, "--worth must be a finite number above 0, got 0.0."),
        (("--bars-per-year", "-1"), 2, "--bars-per-year must be a finite number above 0"),
    ],
)
def test_a_flag_that_cannot_be_meant_is_one_message(file, flags, code, message, capsys):
    assert left(file, *flags) == code
    printed = capsys.readouterr()
    assert printed.out == "" and message in printed.err
