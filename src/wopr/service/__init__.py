"""The queue as a service: the worker process, its logs, and what it tells the outside."""
