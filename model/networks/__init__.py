"""BiLSTM, Transformer, and networks of your own.

Imported when they are first used: the names of architectures are checked without torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
