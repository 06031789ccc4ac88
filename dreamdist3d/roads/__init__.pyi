from .base import Asset as Asset, RoadConfig as RoadConfig, check_road as check_road, lift_assets as lift_assets
