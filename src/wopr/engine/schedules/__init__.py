"""What is fired by time, with one owner."""
