"""Settings, the files they come from, and the points at which tests crash the process."""
