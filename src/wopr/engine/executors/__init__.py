"""Where functions run: on the event loop, in threads, in processes, in executors of others."""
