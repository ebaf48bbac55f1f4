"""Provenance: which source code, libraries and processor made a result."""

import hashlib
import importlib.metadata
from functools import cache
from importlib.util import find_spec
from pathlib import Path


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that can change the bits of a trained model."""
    return {
        name: importlib.metadata.version(name)
        for name in ("backtrader-bilstm", "numpy", "pandas", "scikit-learn", "torch")
    }


def machine() -> dict[str, str]:
    """Return what, beside the code, can change the bits of a result.

    These are the libraries and the processor's vector instructions, which decide in what order sums
    are taken.
    """
    import torch  # here, as a command that prints its help has no use for it

    return {**library_versions(), "processor": torch.backends.cpu.get_cpu_capability()}


@cache
def code_digest(*names: str) -> str:
    """Return one SHA-256 over the source of packages and modules, folders with all in them.

    Whatever keeps a result for later (forecasts, folds, training states) keeps this beside it, so
    that no result outlives the code that made it. Each file counts under its module's full name:
    two files that exchange their places change the digest, and so does an `__init__.py` of any
    folder.

    names: dotted names, as in `code_digest("model", "backtests.evidence.bootstrap")`. Raises
    ModuleNotFoundError for an unknown one.
    """
    sources: dict[str, Path] = {}
    for name in names:
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"no module is called {name!r}", name=name)
        origin = Path(spec.origin)
        if spec.submodule_search_locations is None:  # a module, not a package
            sources[name] = origin
        else:
            folder = origin.parent
            sources |= {
                f"{name}/{path.relative_to(folder).as_posix()}": path
                for path in folder.rglob("*.py")
            }
    digest = hashlib.sha256()
    for name, path in sorted(sources.items()):
        content = path.read_bytes()
        # The length keeps what ends one file from passing for the start of the next.
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()
