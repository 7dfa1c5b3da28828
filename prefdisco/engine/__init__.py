"""The data engine, from scenarios to training examples: `selfdistill` writes, `filters` keeps, `dataset` stores."""
