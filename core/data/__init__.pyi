"""The names of this folder that others use."""

from .base import BATCH_SIZE as BATCH_SIZE
from .base import Batch as Batch
from .base import Dataset as Dataset
from .base import Frame as Frame
from .base import Objects as Objects
from .base import streamed as streamed
from .npz import NpzDataset as NpzDataset
from .opening import kind_of as kind_of
from .opening import open_dataset as open_dataset
from .options import DataOptions as DataOptions
from .registry import KINDS as KINDS
from .registry import Kind as Kind
from .registry import Opening as Opening
from .stream import ImageSource as ImageSource
from .stream import ImageStream as ImageStream
from .stream import Sample as Sample
from .synthetic import SyntheticDataset as SyntheticDataset
