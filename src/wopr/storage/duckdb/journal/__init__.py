"""The journal: acknowledged changes in one synced append, before DuckDB has them."""
