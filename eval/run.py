"""Evaluate an agent, as `prefdisco evaluate` does, or run a suite of eval/*.yaml.

python eval/run.py agent=runs/selfdistill/checkpoint conditions=[baseline,discovery] limit=400 seeds=[0,1]
python eval/run.py suite=recipes seeds=[0,1,2]
python eval/run.py --help; python eval/run.py suite=recipes --dry-run
"""

import shlex
import sys

from prefdisco.cli import configure, friendly, main
from prefdisco.suites import Suite, run_suite, steps

USAGE = "usage: python eval/run.py suite=NAME [key=value ...] [--dry-run]"


@friendly("suite")
def suite(argv: list[str]) -> None:
    chosen, dry_run = configure(Suite, argv, USAGE)
    if dry_run:
        print(chosen.to_yaml(), *(shlex.join(command) for _, command in steps(chosen)), sep="\n")
    else:
        run_suite(chosen)


if __name__ == "__main__":
    if any(word.startswith("suite") for word in sys.argv[1:]):
        suite(sys.argv[1:])
    else:
        sys.exit(main(["evaluate", *sys.argv[1:]]))
