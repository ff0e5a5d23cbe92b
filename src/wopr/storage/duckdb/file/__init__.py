"""The files of a database: found, locked, opened, checked, repaired, compacted."""
