"""What starts next in a category, and what came of it."""
