"""The file of a queue that moves: what is read from it, and how one is filled."""
