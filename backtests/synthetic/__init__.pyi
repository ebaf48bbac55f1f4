from .control import Control as Control
from .control import Store as Store
from .control import measure as measure
from .control import silence as silence
from .control import write_table as write_table
from .grid import judge_cells as judge_cells
from .markets import correlated_walks as correlated_walks
from .markets import market as market
from .markets import parse_market as parse_market
from .skills import DAYS as DAYS

__all__: list[str]
