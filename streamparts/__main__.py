"""python -m streamparts ... is the command `streamparts ...`."""

import sys

from streamparts.cli import main

sys.exit(main())
