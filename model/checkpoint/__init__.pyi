from .schedule import Schedule as Schedule

__all__: list[str]
