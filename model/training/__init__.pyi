from .data import describe_features as describe_features
from .data import describe_labels as describe_labels
from .data import describe_purge as describe_purge
from .data import prepare as prepare
from .data import require_enough_bars as require_enough_bars
from .fitting import fit as fit
from .resume import resumption as resumption

__all__: list[str]
