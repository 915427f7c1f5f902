"""A run, and the memory that it took at most: python -m benchmarks.faults.peak FLAGS_OF_RUN

The last line of the output is the megabytes.
"""

from __future__ import annotations

import sys

from benchmarks.faults.harm import peak_mb
from streamparts.cli import main

if __name__ == "__main__":
    code = main(["run", *sys.argv[1:]])
    print(peak_mb())
    sys.exit(code)
