from . import cost as cost
from . import walk as walk
from . import walk_pooled as walk_pooled

__all__: list[str]
