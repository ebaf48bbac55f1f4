"""The examples that a user copies: each runs as it stands, in a folder of its own, and trades."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from tests.helpers.processes import ROOT, environment

NOTEBOOKS = sorted((ROOT / "strategy_plugin" / "examples").glob("*.ipynb"))
EXAMPLES = sorted((ROOT / "strategy_plugin" / "examples").glob("*.py"))


def test_there_are_seven_examples_of_less_than_sixty_lines() -> None:
    assert len(EXAMPLES) == 7
    assert all(len(path.read_text().splitlines()) < 60 for path in EXAMPLES)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_changes_the_equity(example: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(example)],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    figures = re.findall(r"(?:equity|log return) +([-+,.0-9]+)", done.stdout)
    if example.stem == "live_feed":
        assert "1200 decisions made again, 0 differences" in done.stdout
    if example.stem == "once_a_day":
        assert done.stdout.endswith("orders sent: 1\n") and done.stdout.count(" sent: ") == 2
        return
    assert figures and any(figure not in ("100,000.00", "+0.000") for figure in figures)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[NotebookNode]]:
    """What the cells of each notebook leave, all run by one kernel: imports are what takes time."""
    whole = nbformat.v4.new_notebook()
    ends = {}
    for notebook in NOTEBOOKS:
        cells = nbformat.read(notebook, as_version=4).cells
        # Outputs are those of whoever runs it.
        assert not any(cell.get("outputs") for cell in cells)
        # Each begins without the names of the one before.
        whole.cells += [nbformat.v4.new_code_cell("%reset -f"), *cells]
        ends[notebook.stem] = len(whole.cells)
    place = {"metadata": {"path": str(tmp_path_factory.mktemp("notebooks"))}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
        NotebookClient(whole, timeout=300, resources=place).execute()
    starts = dict(zip(ends, [0, *ends.values()], strict=False))
    return {
        name: [one for cell in whole.cells[starts[name] : end] for one in cell.get("outputs", [])]
        for name, end in ends.items()
    }


# What jupyter's libraries warn of is theirs.
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", [path.stem for path in NOTEBOOKS])
def test_a_notebook_runs_and_shows_tables_a_chart_and_progress(
    outputs: dict[str, list[NotebookNode]], name: str
) -> None:
    # Nothing is printed: neither lines nor warnings.
    assert {output.output_type for output in outputs[name]} <= {"display_data", "execute_result"}
    shown = [output.data for output in outputs[name]]
    pages = [data["text/html"] for data in shown if "text/html" in data]
    assert any(re.search("no edge: |cannot tell: |edge: ", page) for page in pages)
    assert any("application/vnd.plotly.v1+json" in data for data in shown)
    assert any('<progress value="1.0000"' in page for page in pages)


def test_fit_shows_its_epochs_in_a_notebook(outputs: dict[str, list[NotebookNode]]) -> None:
    texts = [output.data.get("text/html", "") for output in outputs["first_model"]]
    assert any("bilstm 42: epoch 1 of at most 1, validation loss 0." in text for text in texts)
    [checkpoint] = [text for text in texts if "<b>Checkpoint(" in text]
    assert "trained until" in checkpoint and "log_loss" in checkpoint and "validation" in checkpoint
