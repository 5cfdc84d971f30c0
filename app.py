"""Understudy's entry point: hand the command line over."""

from __future__ import annotations

import sys

from interfaces.cli.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
