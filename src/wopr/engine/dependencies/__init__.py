"""Tasks that wait for others: who waits, for whom, and how they are let go."""
