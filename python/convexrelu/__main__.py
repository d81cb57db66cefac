"""``python -m convexrelu``."""

import sys

from convexrelu.cli import main

if __name__ == "__main__":
    sys.exit(main())
