"""The dashboard: pages made on the server from the questions of a queue."""
