"""What people ask in SQL: bounded before it is parsed, checked, run here or in a process apart."""
