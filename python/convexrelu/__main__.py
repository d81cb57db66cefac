"""``python -m convexrelu``."""

import sys

from convexrelu.cli import main

sys.exit(main())
