"""Who carries a verb out: the engine of this process, or the owner of the file."""
