"""Run one experiment or a sweep: `python run.py method=gpart task=glue/sst2 d=23040`."""

import sys

from experiments.cli import main

if __name__ == "__main__":
    sys.exit(main())
