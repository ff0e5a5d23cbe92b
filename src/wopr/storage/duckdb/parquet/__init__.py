"""Parquet: written in parts, exported, archived, and asked together with the tables."""
