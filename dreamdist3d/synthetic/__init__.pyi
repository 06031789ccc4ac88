from .make import make_dataset as make_dataset
from .settings import DatasetConfig as DatasetConfig
