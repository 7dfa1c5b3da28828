"""Evaluate an agent; the same as `prefdisco evaluate`.

python eval/run.py agent=runs/selfdistill/checkpoint conditions=[baseline,discovery] limit=400 seeds=[0,1]
python eval/run.py --help
"""

import sys

from prefdisco.cli import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
