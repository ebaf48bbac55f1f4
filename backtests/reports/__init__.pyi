from .judgement import EVIDENCE as EVIDENCE
from .judgement import Judgement as Judgement
from .judgement import evidence_json as evidence_json
from .judgement import write_judgement as write_judgement
from .page import REPORT as REPORT
from .page import figure_rows as figure_rows
from .page import grid_table as grid_table
from .page import interval_grid as interval_grid
from .results import COMPARISON as COMPARISON
from .results import FILES as FILES
from .results import comparison_table as comparison_table
from .results import describe_settings as describe_settings
from .runs import is_run as is_run
from .runs import read_runs as read_runs
from .runs_page import compare_runs as compare_runs
from .terminal import architecture_table as architecture_table
from .terminal import describe_halves as describe_halves
from .terminal import describe_together as describe_together
from .terminal import pooled_tables as pooled_tables
from .terminal import shown as shown
from .terminal import tables as tables
from .terminal import universe_table as universe_table
from .universe import UNIVERSE_FILES as UNIVERSE_FILES
from .universe import gather_universe as gather_universe
from .universe import write_universe as write_universe
from .universe_page import write_universe_report as write_universe_report

__all__: list[str]
