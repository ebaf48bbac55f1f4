"""Runs beside each other: read from their files, paired where bars and folds agree."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from backtests.compare import app
from backtests.reports.results import write_results
from backtests.reports.runs import RunsError, bar_labels, differing, paired, read_runs
from backtests.simulation.account import Account, Costs
from backtests.walk_forward.folds import FoldModel, FoldPlan, Settings, lay_folds
from model.cli import run
from model.training.config import TrainConfig
from tests.helpers.folds import evaluate, save
from tests.helpers.makers import random_bars, random_checkpoint

PLAN = FoldPlan(folds=2, train_blocks=2)
CONFIG = PLAN.training(TrainConfig())


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of two seeds over the same bars, and one over others."""
    root = tmp_path_factory.mktemp("runs")
    found = {}
    for name, bars_seed, seed in (("first", 3, 1), ("second", 3, 2), ("elsewhere", 4, 1)):
        bars = random_bars(700, seed=bars_seed)
        bars.attrs = {"instrument": f"bars{bars_seed}", "timezone": None, "stamp": "open"}
        models = [
            FoldModel(fold, random_checkpoint(bars, bars.index[fold.test], seed=seed, enter=0.5))
            for fold in lay_folds(bars, PLAN, CONFIG)
        ]
        folder = root / name
        (folder / "checkpoints").mkdir(parents=True)
        config = replace(CONFIG, seed=seed)
        settings = Settings(PLAN, config, Account(), Costs())
        write_results(
            folder, evaluate(bars, models, save(models, folder / "checkpoints"), settings)
        )
        found[name] = folder
    return found


def test_a_run_is_read_from_its_files(folders: dict[str, Path]) -> None:
    first, _, other = runs = read_runs(list(folders.values()))
    summary = json.loads((folders["first"] / "summary.json").read_text())
    assert first.summary.verdict.sentence == summary["verdict"]["sentence"]
    assert first.equity.iloc[-1] - 1 == pytest.approx(summary["total"]["return"])
    assert (first.instrument, other.instrument) == ("bars3", "bars4")
    assert differing(runs) == ["seed"] and not differing(runs[::2])


def test_what_made_runs_differ_is_told_besides_their_settings(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    for name, seed, trials in (("first", 1, 0), ("elsewhere", 2, 5)):
        shutil.copytree(folders[name], tmp_path / name)
        path = tmp_path / name / "summary.json"
        summary = json.loads(path.read_text())
        summary["data"]["instrument"] = "latch"
        if trials:
            past = {"trials": trials, "settings": {"seed": 3}}
            summary["search"] = {"nested": True, "pasts": [past, past]}
        path.write_text(json.dumps(summary))
        text = f'market = "latch:strength=0.{seed}"\nmarket_seed = {seed}\njobs = {seed}\n'
        (tmp_path / name / "settings.toml").write_text(text)
    runs = read_runs([tmp_path / "first", tmp_path / "elsewhere"])
    assert differing(runs) == ["seed", "market", "market_seed", "search"]
    assert runs[1].settings["search"] == "10 trials, in each fold's past"
    assert runs[1].settings["seed"] == "by fold"
    # Two histories of one name are told apart by their digests.
    shown = bar_labels(runs)
    assert [one.split()[0] for one in shown] == ["latch"] * 2 and shown[0] != shown[1]
    assert bar_labels(runs[:1]) == ["latch"]


def test_only_runs_on_the_same_bars_and_folds_are_paired(folders: dict[str, Path]) -> None:
    runs = read_runs(list(folders.values()))
    [pair] = paired(runs)
    assert (pair.run.name, pair.first.name) == ("second", "first")
    ours, theirs = (
        pd.read_csv(folders[name] / "equity.csv")["equity"].pct_change()
        for name in ("second", "first")
    )
    assert pair.gain.value == pytest.approx((ours - theirs).mean())
    assert pair.gain.low < pair.gain.value < pair.gain.high
    assert pair.loss is not None and 0 <= pair.loss[1] <= 1


def test_the_paired_auc_is_the_difference_of_both(folders: dict[str, Path]) -> None:
    [pair] = paired(read_runs(list(folders.values())))
    auc = [run.summary.evidence.intervals["auc"].value for run in (pair.run, pair.first)]
    # Up to the last decision, whose bar has no return by close.
    assert pair.auc is not None and pair.auc.value == pytest.approx(auc[0] - auc[1], abs=0.01)


def test_a_run_less_itself_is_nothing(folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["first"], tmp_path / "again")
    [pair] = paired(read_runs([folders["first"], tmp_path / "again"]))
    assert pair.auc is not None and pair.loss is None
    assert not any(np.r_[list(vars(pair.gain).values()), list(vars(pair.auc).values())])


def compared(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        run(app, [str(argument) for argument in arguments])
    return int(left.value.code or 0)


def test_the_command_prints_tables_and_writes_a_page_with_links(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folders["first"].parent, tmp_path / "runs <b>")
    here = sorted((tmp_path / "runs <b>").iterdir())
    (tmp_path / "empty").mkdir()
    page = tmp_path / "pages" / "all.html"
    assert compared(*here, tmp_path / "empty", "--out", page) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert f"left out {tmp_path / 'empty'}: no run in it" in printed
    assert "settings that differ" in printed and "on the same bars and folds" in printed
    assert "elsewhere" in printed and "…" not in printed  # nothing is cut
    text = page.read_text()
    links = re.findall(r'<td><a href="([^"]+)">(\w+)</a>', text)
    assert links[0] == ("../runs%20%3Cb%3E/elsewhere/report.html", "elsewhere")
    assert text.count("growth of 1, log scale") == 1 and "seed" in text


def test_fewer_than_two_runs_are_no_comparison(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compared(folders["first"], tmp_path, "--out", tmp_path / "page.html") == 3
    said = " ".join(capsys.readouterr().err.split())
    assert f"needs the folders of two runs or more, got {folders['first']}. Name more" in said
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("summary.json", '{"version": 1}', "missing required field"),
        ("summary.json", "{", "Input data was truncated"),
        ("equity.csv", "date,equity\n", "equity.csv: it has no row"),
        ("equity.csv", "date,equity\n2020-01-01,0\n2020-01-02,1\n", "or begins with 0"),
        ("equity.csv", "date,equity\n2020-01-01,1\nyesterday,1\n", "rows without a date or an e"),
        ("predictions.csv", "fold,decided_at,probability,label\n1,2020-01-01,oops,1\n", "oops"),
        ("equity.csv", "date,close\n2020-01-01,1\n", "Usecols do not match columns"),
    ],
)
def test_a_damaged_run_is_named(
    folders: dict[str, Path], tmp_path: Path, file: str, text: str, reason: str
) -> None:
    shutil.copytree(folders["second"], tmp_path / "bad")
    (tmp_path / "bad" / file).write_text(text)
    with pytest.raises(RunsError, match=f"bad must hold the files of a run .*{reason}"):
        read_runs([folders["first"], tmp_path / "bad"])


def test_all_damaged_runs_are_named_together(folders: dict[str, Path], tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(folders["second"], tmp_path / name)
        (tmp_path / name / "equity.csv").unlink()
    with pytest.raises(RunsError, match=r"one must hold .*\n.*two must hold .*equity.csv"):
        read_runs([folders["first"], tmp_path / "one", tmp_path / "two"])


def test_a_run_that_is_named_twice_is_compared_once(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = folders["first"] / ".." / "first"
    page = tmp_path / "page.html"
    assert compared(folders["first"], again, folders["second"], "--out", page) == 0
    printed = capsys.readouterr().out
    assert f"left out {again}: named twice" in " ".join(printed.split())
    # Folders of one name would be told apart by their paths.
    assert str(folders["second"]) not in printed


def test_a_run_of_which_decisions_are_missing_is_refused(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(folders["second"], tmp_path / "cut")
    path = tmp_path / "cut" / "predictions.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:20] + lines[30:]))
    with pytest.raises(RunsError, match=r"predictions.csv: \d+ decisions have forecast and lab"):
        read_runs([folders["first"], tmp_path / "cut"])


def test_many_settings_that_differ_are_lines_in_the_terminal(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2):
        shutil.copytree(folders["first"], tmp_path / f"run{number}")
        path = tmp_path / f"run{number}" / "summary.json"
        summary = json.loads(path.read_text())
        summary["settings"]["more"] = {f"setting_{one}": number for one in range(15)}
        path.write_text(json.dumps(summary))
    page = tmp_path / "page.html"
    assert compared(tmp_path / "run1", tmp_path / "run2", "--out", page) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "run2: setting 0 2, setting 1 2, " in printed and "setting 14 2" in printed


def test_a_run_of_another_version_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["second"], tmp_path / "old")
    path = tmp_path / "old" / "summary.json"
    path.write_text(path.read_text().replace('"version": 3', '"version": 1', 1))
    with pytest.raises(RunsError, match="it is of version 1, this program's is 3"):
        read_runs([folders["first"], tmp_path / "old"])
