from .downloading import download as download
from .reconciling import reconcile as reconcile
from .session import trade_live as trade_live

__all__: list[str]
