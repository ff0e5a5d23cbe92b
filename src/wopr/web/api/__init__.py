"""The REST API, version 1: the faces of a queue as JSON over HTTP."""
