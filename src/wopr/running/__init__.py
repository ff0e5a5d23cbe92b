"""How one claimed task runs: an attempt in, an outcome out. Writes nothing."""
