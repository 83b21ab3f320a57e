"""The names of this folder that others use."""

from .analyze import analyze as analyze
from .options import MEMORY as MEMORY
from .options import RATES as RATES
from .options import AnalyzeOptions as AnalyzeOptions
from .result import Analysis as Analysis
from .result import GroupAnalysis as GroupAnalysis
from .result import Point as Point
from .result import load_analysis as load_analysis
from .result import save_analysis as save_analysis
