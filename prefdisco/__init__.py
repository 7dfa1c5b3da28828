"""prefdisco: train and evaluate agents that find out what a person prefers before they answer.

Importing the package imports nothing heavy; each module brings what it needs.
"""

__version__ = "0.1.0"
