"""Values and decisions, pure: no I/O, no event loop; time comes in as an argument."""
