"""What moves from one home to another: which tables, in which order, and how they are compared."""
