"""A trained model traded inside Backtrader.

The public names stand in `__init__.pyi`. Each is imported when it is first used, so that importing
the package loads neither torch nor Backtrader.
"""

import lazy_loader

import model

if not hasattr(model, "__path__"):
    # A script's folder comes first where Python looks for modules.
    raise ImportError(
        f"{model.__file__} hides the package `model` of backtrader-bilstm, which has the same "
        "name. Rename that file."
    )

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
