"""From bars to a trained direction network.

The public names stand in `__init__.pyi`. Each is imported when it is first used, so that serving a
model loads neither the training code nor scikit-learn.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
