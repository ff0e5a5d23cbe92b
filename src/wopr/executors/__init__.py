"""Where functions run: the event loop, threads, processes, or somebody else's executor."""
