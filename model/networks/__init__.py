"""BiLSTM, Transformer, and networks of your own.

The classes in `__init__.pyi` are imported when they are first used: whoever only checks the name of
an architecture does not wait for torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
