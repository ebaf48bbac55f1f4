"""Provenance: a kept result is of this source, whichever file of whichever folder changes."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from model.provenance import code_digest, library_versions


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package `dwelling` with two folders of one file each, which can be imported."""
    for folder in ("", "attic", "cellar"):
        place = tmp_path / "dwelling" / folder
        place.mkdir()
        (place / "__init__.py").write_text("")
    (tmp_path / "dwelling" / "attic" / "box.py").write_text("1")
    (tmp_path / "dwelling" / "cellar" / "box.py").write_text("2")
    monkeypatch.syspath_prepend(tmp_path)
    code_digest.cache_clear()
    yield tmp_path / "dwelling"
    code_digest.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "dwelling"]:
        del sys.modules[name]


def digest_after_a_change() -> str:
    code_digest.cache_clear()
    return code_digest("dwelling")


@pytest.mark.parametrize("changed", ["__init__.py", "attic/__init__.py", "attic/box.py"])
def test_a_change_of_any_file_at_any_depth_changes_the_digest(house: Path, changed: str) -> None:
    before = code_digest("dwelling")
    (house / changed).write_text("other")
    assert digest_after_a_change() != before


def test_files_of_one_name_that_exchange_their_folders_change_the_digest(house: Path) -> None:
    before = code_digest("dwelling")
    (house / "attic" / "box.py").write_text("2")
    (house / "cellar" / "box.py").write_text("1")
    assert digest_after_a_change() != before


def test_a_part_of_a_package_does_not_depend_on_the_rest_of_it(house: Path) -> None:
    attic, file = code_digest("dwelling.attic"), code_digest("dwelling.attic.box")
    (house / "cellar" / "box.py").write_text("other")
    code_digest.cache_clear()
    assert (code_digest("dwelling.attic"), code_digest("dwelling.attic.box")) == (attic, file)


def test_the_digest_covers_every_file_of_the_model() -> None:
    assert code_digest("model") != code_digest("model.files")


def test_an_unknown_module_is_named() -> None:
    with pytest.raises(ModuleNotFoundError, match="'model.nothing'"):
        code_digest("model.nothing")


def test_the_versions_are_those_of_what_computes() -> None:
    assert {"numpy", "torch", "backtrader-bilstm"} <= set(library_versions())
