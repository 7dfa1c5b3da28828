"""Public tasks and local files as problems, and the checkers that compare an answer with the gold one."""
