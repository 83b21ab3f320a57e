"""The names of this folder that others use."""

from .options import METHODS as METHODS
from .options import StudyOptions as StudyOptions
from .result import Study as Study
from .result import StudyMean as StudyMean
from .result import StudyRow as StudyRow
