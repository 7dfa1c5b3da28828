"""The data engine: from scenarios to training examples. `selfdistill` writes them, `filters` keeps, `dataset` stores."""
