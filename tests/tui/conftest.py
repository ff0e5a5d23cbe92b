"""Pictures are files of their own that a browser shows."""

from __future__ import annotations

from pytest_textual_snapshot import SVGImageExtension

# The plugin says this in the words of an older syrupy, which names the files .raw otherwise.
SVGImageExtension.file_extension = "svg"
