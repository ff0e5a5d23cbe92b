"""The wopr command."""
