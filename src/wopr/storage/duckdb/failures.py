"""What an error of DuckDB says about its cause."""

from __future__ import annotations


def lacks_memory(error: Exception) -> bool:
    """Whether the memory limit, which queries share, was the cause."""
    return type(error).__name__ == "OutOfMemoryException" or "failed to pin block" in str(error)


def may_be_the_rows(error: Exception) -> bool:
    """Whether one bad row of a batch can have caused the error, rather than the disk."""
    name = type(error).__name__
    return isinstance(error, TypeError | ValueError | OverflowError) or name in {
        "ConversionException",
        "InvalidInputException",
        "ConstraintException",
    }
