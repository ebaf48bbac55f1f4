"""A trained model traded inside Backtrader.

The public names stand in `__init__.pyi`. Each is imported when it is first used, so that importing
the package loads neither torch nor Backtrader.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
