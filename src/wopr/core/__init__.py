"""One queue from the inside: what tasks, handles, flows, handlers and faces hold."""
