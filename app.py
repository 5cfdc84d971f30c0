"""Understudy's entry point: hand the command line over."""

from __future__ import annotations

import os
import sys

# Matrices are small here: NumPy's BLAS would only keep a second core busy with waiting. To be set before NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from interfaces.cli.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
