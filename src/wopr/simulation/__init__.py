"""The engine on a simulated clock: virtual time, a storage in memory, faults by a seed."""
