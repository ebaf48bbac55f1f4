from .control import Control as Control
from .control import Store as Store
from .control import measure as measure
from .control import silence as silence
from .control import write_table as write_table
from .grid import judge_cells as judge_cells
from .markets import correlated_walks as correlated_walks
from .markets import market as market
from .markets import parse_market as parse_market
from .pooled import REQUIRED as REQUIRED
from .pooled import faults_of as faults_of
from .pooled import measure_pooled as measure_pooled
from .pooled import planted_universe as planted_universe
from .pooled import require_pooled_control as require_pooled_control
from .skills import DAYS as DAYS

__all__: list[str]
