import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import redirect_stdout
from io import StringIO

import pandas as pd
import pytest

from backtests.evidence.baselines import HOLD
from backtests.ledger import app as ledger_app
from backtests.reports.page import REPORT
from backtests.reports.results import FILES
from backtests.run import app
from backtests.synthetic.markets import market
from backtests.walk import walk_bars
from backtests.walk_forward import folds as walk_forward
from backtests.walk_forward.plan import FoldPlan
from backtests.walk_pooled import walk_universe
from model.cli import BarsOptions, run
from model.errors import BarsError, TrainingDiverged
from model.precision import precision_hint
from model.settings_file import SETTINGS
from model.training.config import TrainConfig
from tests.helpers.makers import random_bars
from tests.helpers.processes import ROOT

QUICK = shlex.split("--folds 2 --train-blocks 2 --max-epochs 1 --jobs 1")


@pytest.fixture(scope="module")
def bars_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("bars") / "smoke.csv"
    market("ar1", n_bars=400, seed=3).bars.to_csv(path)
    return path


def walk(*arguments):
    """The exit code of the command in this process."""
    with pytest.raises(SystemExit) as left:
        run(app, [str(argument) for argument in arguments])
    return left.value.code


@pytest.fixture(scope="module")
def finished(bars_file, tmp_path_factory):
    """The command run as a script from another folder, and where it wrote."""
    folder = tmp_path_factory.mktemp("elsewhere")
    script = [sys.executable, ROOT / "backtests" / "run.py"]
    command = [*script, "--data", bars_file, "--ledger", "trials", *QUICK]
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return process, folder / "runs" / "smoke"


def test_the_script_writes_all_its_files(finished):
    process, folder = finished
    assert process.returncode == 0, process.stderr
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*FILES, REPORT, SETTINGS, "checkpoints", ".state", ".lock"]
    )
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == [
        "fold-01.ckpt",
        "fold-02.ckpt",
    ]


def test_it_says_data_folds_costs_and_verdict(finished):
    text = finished[0].stdout
    assert "smoke: 400 bars of 1 hour" in text
    assert "2 folds: each learns from 124 decisions and is judged on the next 62" in text
    assert "costs: 2 basis points per side: commission 1, half spread 0.5, slippage 0.5" in text
    assert precision_hint("fp32") in text
    assert "no edge: alpha" in text or "cannot tell: alpha" in text
    assert "probability of backtest overfitting: 1 trial; ten are needed\n" in text
    assert "1 new trial in trials\n" in text


def test_the_settings_that_a_run_leaves_make_it_again(finished, tmp_path):
    """From another folder, without any other flag, to the same bytes."""
    settings = finished[1] / SETTINGS
    assert walk("--config", settings, "--out", tmp_path, "--ledger", tmp_path / "trials") == 0
    for name in [*FILES, REPORT, "checkpoints/fold-01.ckpt", "checkpoints/fold-02.ckpt"]:
        assert (tmp_path / name).read_bytes() == (finished[1] / name).read_bytes(), name
    ours, theirs = ((folder / SETTINGS).read_text() for folder in (finished[1], tmp_path))
    assert [line for line in theirs.splitlines() if line not in ours.splitlines()] == [
        f'out = "{tmp_path}"',
        f'ledger = "{tmp_path / "trials"}"',
    ]


def test_python_walks_as_the_command_does_and_returns_what_its_files_hold(
    bars_file, finished, tmp_path
):
    """In its folder, where the networks are found: to the same bytes."""
    folder, ledger = tmp_path / "walked", finished[1].parent.parent / "trials"
    shutil.copytree(finished[1], folder)
    bars, config = BarsOptions(bars_file).read(), TrainConfig(max_epochs=1)
    plan = FoldPlan(folds=2, train_blocks=2)
    results = walk_bars(bars, config, plan=plan, folder=folder, jobs=1, ledger=ledger)
    for name in (*FILES, REPORT):
        assert (folder / name).read_bytes() == (finished[1] / name).read_bytes(), name
    for name in ("folds", "predictions", "trades"):
        assert list(getattr(results, name)) == list(pd.read_csv(folder / f"{name}.csv"))
    assert [line.name for line in results.plot().data] == [HOLD, "strategy"]
    assert repr(results) == f"Results({results.title}: {results.verdict.word})"
    assert results.plot().layout.title.text == results.title
    shown = results._repr_html_()
    assert "fold-01.ckpt" in shown and '<div style="overflow-x: auto">' in shown


def test_a_registered_run_says_so_and_comes_before_its_results(bars_file, tmp_path, capsys):
    out, ledger = tmp_path / "out", tmp_path / "trials"
    asked = ("--data", bars_file, "--out", out, "--ledger", ledger, *QUICK)
    # Killed after the registration, as it were: it stands, and no result does.
    assert walk(*asked, "--register") == 0
    said = capsys.readouterr().out
    written = json.loads((out / "registration.json").read_text())
    summary = json.loads((out / "summary.json").read_text())
    assert summary["registration"] == written and written["trials"] == 0
    assert written["data"]["sha256"] == summary["data"]["sha256"] and written["ledger"] is None
    sentence = f"registered on {written['at']}, before its test bars were touched, with 0 trials"
    assert f"the run was {sentence}" in said and sentence in (out / REPORT).read_text()
    # Again: it is the same run, registered when it was.
    assert walk(*asked, "--register") == 0
    assert json.loads((out / "summary.json").read_text()) == summary
    capsys.readouterr()
    # At other costs it is another run, of which nothing was registered.
    assert walk(*asked, "--commission", "3") == 0
    assert "not registered before its test bars were touched" in capsys.readouterr().out
    assert json.loads((out / "summary.json").read_text())["registration"] is None
    assert walk(*asked, "--commission", "3", "--register") == 2
    assert "--register must come before the results" in " ".join(capsys.readouterr().err.split())
    other = tmp_path / "other"
    assert walk(*asked[:3], other, *asked[4:], "--register") == 0
    again = json.loads((other / "registration.json").read_text())
    assert again["trials"] >= 1 and again["keys"] == written["keys"]
    assert len(again["ledger"]) == 64
    # In another folder, but the ledger knows that this very run was judged before.
    said = " ".join(capsys.readouterr().out.split())
    assert again["judged"] and not written["judged"]
    assert "one of them is this very run, judged before" in said
    assert "before its test bars were touched" not in said
    # Files of results without their summary, as of a run that was killed while it wrote them.
    (other / "summary.json").unlink()
    (other / "registration.json").unlink()
    assert walk(*asked[:3], other, *asked[4:], "--register") == 2
    assert "other has results" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"at": 1}'])
def test_what_is_no_registration_is_refused(bars_file, tmp_path, capsys, text):
    out = tmp_path / "out"
    out.mkdir()
    (out / "registration.json").write_text(text)
    assert walk("--data", bars_file, "--out", out, "--ledger", tmp_path / "trials", *QUICK) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "registration.json must be the registration of a run" in said


def test_the_ledger_shows_the_trial_as_the_summary_has_it(finished, bars_file, capsys):
    ledger = finished[1].parent.parent / "trials"
    with pytest.raises(SystemExit) as left:
        run(ledger_app, ["--data", str(bars_file), "--ledger", str(ledger), "--json"])
    [page] = json.loads(capsys.readouterr().out)
    summary = json.loads((finished[1] / "summary.json").read_text())
    evidence = summary["evidence"]
    assert not left.value.code and (page["instrument"], page["interval"]) == ("smoke", "1 hour")
    assert [(one["deflated"], one["sharpe"], one["decisions"]) for one in page["trials"]] == [
        (
            evidence["sharpe"]["deflated"],
            evidence["benchmarks"]["strategy"]["sharpe"],
            evidence["decisions"],
        )
    ]
    assert page["overfitting"] == summary["overfitting"]


def test_a_trial_whose_positions_are_missing_is_said_before_any_training(
    finished, bars_file, tmp_path, capfd
):
    shutil.copy(finished[1].parent.parent / "trials", tmp_path / "trials")
    at = ["--data", bars_file, "--ledger", tmp_path / "trials", "--out", tmp_path, "--seed", 5]
    assert walk(*at, *QUICK) == 3
    printed = capfd.readouterr()
    assert f"{tmp_path}/trials-positions/smoke-1-hour-" in printed.err and not printed.out
    assert "must hold the positions of a trial in the ledger, got No such file" in printed.err


def test_a_planted_market_is_an_instrument_of_its_own(known):
    """Another of its histories has the same name and dates."""
    [trial] = [json.loads(line) for line in known["ledger"].splitlines()]
    assert trial["instrument"] == f"echo {known['data']['sha256'][:8]}"


def test_it_says_a_line_for_each_fold(finished):
    lines = [
        line
        for line in finished[0].stdout.splitlines()
        if "best epoch 1 of 1, validation loss 0." in line
    ]
    assert len(lines) == 2


def test_the_predictions_are_on_the_bars(finished, bars_file):
    decided = pd.read_csv(finished[1] / "predictions.csv")["decided_at"]
    assert decided.tolist() == pd.read_csv(bars_file)["date"].iloc[-124:].tolist()


def test_the_settings_are_in_the_summary(known):
    settings = known["settings"]
    assert settings["costs_in_basis_points_per_side"]["commission"] == 7
    assert (
        settings["training"]["seed"],
        settings["training"]["train"],
        settings["training"]["validation"],
    ) == (5, 0.7, 0.3)
    assert settings["account"]["cash"] == 5


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """The summary of a walk over a market whose best forecast is known, and what it printed.

    The settings are others than the defaults.
    """
    folder = tmp_path_factory.mktemp("known")
    market_flags = shlex.split("--market echo:strength=0.8 --market-bars 500")
    own = shlex.split("--commission 7 --seed 5 --validation-share 0.3 --cash 5")
    with redirect_stdout(StringIO()) as printed:
        assert (
            walk(*market_flags, "--out", folder, "--ledger", folder / "trials", *QUICK, *own) == 0
        )
    return json.loads((folder / "summary.json").read_text()) | {
        "printed": printed.getvalue(),
        "ledger": (folder / "trials").read_text(),
    }


def test_a_market_s_best_forecast_stands_beside_ours(known):
    assert "the best forecast there is: AUC 0." in known["printed"]
    assert known["best_possible"]["auc"] > 0.8 and known["best_possible"]["accuracy"] > 0.7


def test_daily_bars_are_told_by_their_dates(tmp_path, capfd):
    bars = random_bars(400)
    bars.to_csv(tmp_path / "daily.csv")
    given = ["--data", tmp_path / "daily.csv", "--out", tmp_path, "--ledger", tmp_path / "trials"]
    assert walk(*given, *QUICK) == 0
    said = capfd.readouterr()
    assert f"to {bars.index[-1]:%Y-%m-%d}, " in said.out
    assert "is judged on the next" in said.out and "fold 2: trained until 20" in said.out
    assert "00:00:00" not in said.out + said.err


@pytest.fixture(scope="module")
def universe(bars_file, tmp_path_factory):
    """Two instruments in a folder, walked over, of which the folds of one always fail.

    A third file is left out, as it is none.
    """
    folder, out = tmp_path_factory.mktemp("universe"), tmp_path_factory.mktemp("out")
    shutil.copy(bars_file, folder / "sound.csv")
    market("ar1", n_bars=400, seed=4).bars.to_csv(folder / "bad.csv")
    (folder / "none.csv").write_text("no bars at all")
    honest = walk_forward.fit

    def fit(past, *others):
        if past.attrs["instrument"] == "bad":
            raise TrainingDiverged("the loss is nan")
        return honest(past, *others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walk_forward, "fit", fit)
        given = ["--data", folder, "--on-faulty", "drop", "--out", out, "--ledger", out / "trials"]
        with redirect_stdout(StringIO()) as printed:
            code = walk(*given, *QUICK)
        return code, out, " ".join(printed.getvalue().split())


def test_a_universe_is_finished_but_for_what_failed(universe):
    code, out, _ = universe
    assert code == 8
    found = json.loads((out / "universe.json").read_text())
    assert [row["market"] for row in found["markets"]] == ["sound"]
    assert found["failed"] == [
        {"fold": f"bad fold {number}", "reason": "the loss is nan"} for number in (1, 2)
    ]
    [left_out] = found["left_out"]
    assert left_out["file"] == "none.csv" and "none.csv" in left_out["reason"]
    assert not (out / "bad" / "summary.json").exists() and (out / "report.html").exists()


def test_what_a_universe_will_take_is_told_before_it_starts(universe):
    told = universe[2].split("training 4 folds of up to ")[1]
    assert told.index("GB of memory for each at a time") < told.index("fold 1")


def test_an_instrument_of_a_universe_has_the_files_that_it_has_alone(universe, finished):
    """But for its name."""
    for name in ("equity.csv", "trades.csv", "predictions.csv", "months.csv"):
        assert (universe[1] / "sound" / name).read_bytes() == (finished[1] / name).read_bytes(), (
            name
        )


def test_a_universe_with_bad_files_is_refused_before_any_training(bars_file, tmp_path, capfd):
    (tmp_path / "short.csv").write_text(
        "".join(bars_file.read_text().splitlines(keepends=True)[:100])
    )
    files = [bars_file, tmp_path / "short.csv", tmp_path / "none.csv"]
    assert walk("--data", *files, "--out", tmp_path / "out", *QUICK) == 3
    printed = capfd.readouterr()
    assert "leave them out with --on-faulty drop." in printed.err
    assert "cannot be used:" in printed.err and "fold 1" not in printed.out
    assert "short" in printed.err and "none.csv" in printed.err


def test_architectures_are_compared_on_the_same_folds(bars_file, tmp_path, capsys):
    """With their members trained once, and again none."""
    ledger = tmp_path / "trials"
    alone = ["--data", bars_file, "--out", tmp_path, "--ledger", ledger, *QUICK]
    assert walk(*alone, "--architecture", "bilstm,ensemble") == 0
    printed = capsys.readouterr().out
    for member in ("bilstm 42", "transformer 42"):
        assert printed.count(f"fold 1 {member}: best epoch 1 of 1") == 1
    assert "architectures on the same folds" in printed
    assert "ensemble fold 2: trained until" in printed
    trials = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert [trial["training"]["architecture"] for trial in trials] == ["bilstm", "ensemble"]
    assert (tmp_path / "architectures.csv").exists()
    assert (tmp_path / "ensemble" / "report.html").exists()
    settings = json.loads((tmp_path / "summary.json").read_text())["settings"]
    assert settings["training"]["architecture"] == "bilstm"
    assert walk(*alone) == 0
    assert "found finished" in capsys.readouterr().out
    assert not (tmp_path / "architectures.csv").exists()


@pytest.mark.parametrize(
    "names, message",
    [
        ("bilstm,bilstm", "--architecture must name each but once, got bilstm,bilstm."),
        ("bilstm,lstm", "--architecture must be one of bilstm, transformer, "),
    ],
)
def test_architectures_that_cannot_be_compared_are_refused(tmp_path, capfd, names, message):
    assert walk("--out", tmp_path, "--architecture", names, *QUICK) == 2
    assert message in " ".join(capfd.readouterr().err.split())


@pytest.fixture(scope="module")
def dearer(bars_file, finished, tmp_path_factory):
    """A run at other costs and with other cash over the results of the first, and a fresh one.

    By what the first of them printed, and the folders of both.
    """
    out = tmp_path_factory.mktemp("dearer")
    shutil.copytree(finished[1], out / "again")
    for name in ("ledger", "copy"):
        (out / name).mkdir()
        shutil.copy(finished[1].parent.parent / "trials", out / name)
        shutil.copytree(
            finished[1].parent.parent / "trials-positions", out / name / "trials-positions"
        )
    at = ["--data", bars_file, *QUICK, "--commission", 30, "--cash", 5]
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as printed:
        patch.setattr(walk_forward, "fit", None)  # nothing is trained
        assert walk(*at, "--ledger", out / "ledger/trials", "--out", out / "again") == 0
    assert walk(*at, "--ledger", out / "copy/trials", "--out", out / "fresh") == 0
    return printed.getvalue(), out / "again", out / "fresh"


def test_at_other_costs_nothing_is_trained_and_the_bytes_are_those_of_a_fresh_run(dearer):
    _, again, fresh = dearer
    for name in [*FILES, REPORT, "checkpoints/fold-01.ckpt", "checkpoints/fold-02.ckpt"]:
        assert (again / name).read_bytes() == (fresh / name).read_bytes(), name


def test_it_says_what_is_replaced_reused_and_counted(dearer):
    printed, again, _ = dearer
    [replaced] = re.findall(
        rf"{re.escape(str(again))}: the results there are replaced; (.*)", printed
    )
    assert sorted(replaced.split("; ")) == [
        "cash was 100000.0, is 5.0",
        "commission was 1.0, is 30.0",
    ]
    assert "fold 2, network found, thresholds chosen anew: trained until" in printed
    assert f"no new trial: the same positions stand in {again.parent / 'ledger/trials'}" in printed


@pytest.fixture(scope="module")
def killed(bars_file, tmp_path_factory):
    """A run that was killed as soon as its first fold was finished, by its arguments and folder."""
    folder = tmp_path_factory.mktemp("killed")
    arguments = ["--data", bars_file, "--out", folder, "--ledger", folder / "trials", *QUICK]
    process = subprocess.Popen(
        [sys.executable, ROOT / "backtests" / "run.py", *arguments], stdout=subprocess.DEVNULL
    )
    while not (folder / ".state" / "fold-01.json").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    return arguments, folder


def test_after_a_kill_the_same_command_goes_on_to_the_same_bytes(killed, finished, capsys):
    """Not even a checkpoint left of another run does harm.

    It would be refused beside its twin, or trade in its stead.
    """
    arguments, folder = killed
    assert not (folder / "summary.json").exists()
    shutil.copy(
        finished[1] / "checkpoints" / "fold-02.ckpt", folder / "checkpoints" / "fold-07.ckpt"
    )
    assert walk(*arguments) == 0
    assert "fold 1, found finished: trained until" in capsys.readouterr().out
    for name in [*FILES, REPORT, "checkpoints/fold-01.ckpt", "checkpoints/fold-02.ckpt"]:
        assert (folder / name).read_bytes() == (finished[1] / name).read_bytes(), name


def test_what_is_no_bars_is_refused_before_anything_is_made(tmp_path):
    descending = random_bars(400)[::-1]
    for walk, bars, words in (
        (walk_bars, "bars.csv", "`bars` must be a DataFrame of one instrument, got str"),
        (walk_bars, {"a": random_bars(400)}, "got dict. Give what read_bars returns; several"),
        (walk_bars, descending, "timestamps must increase"),
        (walk_bars, random_bars(400)[["close"]], "open"),
        (walk_universe, [random_bars(400)] * 2, "`universe` must be a dict of bars by name, got l"),
    ):
        with pytest.raises(BarsError, match=words):
            walk(bars, folder=tmp_path / "out")
    assert not (tmp_path / "out").exists()
