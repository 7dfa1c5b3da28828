"""From a finished training run to a folder that can be published, and to the Hub."""
