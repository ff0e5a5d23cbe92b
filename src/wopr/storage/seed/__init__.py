"""Somebody's four calls as a storage."""
