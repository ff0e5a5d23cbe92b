"""What one part asks of another, as protocols: storage, backend, and the answers of both."""
