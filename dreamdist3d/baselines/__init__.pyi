from .make import Made as Made, make_baseline as make_baseline
from .settings import BaselineConfig as BaselineConfig, preset as preset
