from .contests import CONTESTS as CONTESTS

__all__: list[str]
