"""Limits brought to the pools, and the bound of what may wait."""
