"""The dashboard in a terminal: what flows, what does not and why, and keys that act on it."""
