"""A live store on a broker's maintained SDK.

What the command uses stands in `__init__.pyi` and is imported when it is first used: a command's
help loads neither torch nor Backtrader.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
