"""One run: `python launch.py --config dreamdist3d/mini.yaml [--train | --test | --export] [key=value ...]`."""

import sys

from dreamdist3d.cli import launch_main

if __name__ == "__main__":
    sys.exit(launch_main())
