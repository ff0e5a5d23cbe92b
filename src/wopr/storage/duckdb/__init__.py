"""The DuckDB storage: one file, one owner, one writer thread."""
