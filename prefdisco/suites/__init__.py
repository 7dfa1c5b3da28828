"""Suites: what belongs together, run by one command and read in one table. A YAML file in `eval/` each.

    python eval/run.py suite=recipes              # every recipe, three seeds, one table
    python eval/run.py suite=recipes seeds=[0] only=[selfdistill,fast_thinking]
    python eval/run.py suite=conditions agents=[pocket-base,runs/selfdistill/checkpoint] limit=400

A suite either trains: a run of it is a training, or a model that is there already, and `evaluations` are played with
the result of each (trainings.py). Or it trains nothing and asks a question about the agents that it is given
(agents.py). Every part is the command that a person would type, printed before it runs, in a folder of its own; what is
complete is not run again, so that the same command goes on after a kill.
"""

from prefdisco.suites.config import Suite
from prefdisco.suites.running import run_suite, steps
from prefdisco.suites.trainings import script, table

__all__ = ["Suite", "run_suite", "script", "steps", "table"]
