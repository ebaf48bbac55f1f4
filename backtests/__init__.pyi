from . import walk as walk

__all__: list[str]
