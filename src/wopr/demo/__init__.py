"""The demo: real work on real files, a killed worker, and the proof that nothing was lost."""
