"""Limits brought to the pools, and the bound of what may wait.

They are counted where tasks are claimed: in the gate of a pool (``engine/pools/gate.py``).
"""
