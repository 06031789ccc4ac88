"""`python -m dreamdist3d` is `dreamdist3d`."""

import sys

from dreamdist3d.cli import main

if __name__ == "__main__":
    sys.exit(main())
