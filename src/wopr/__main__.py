"""``python -m wopr`` is ``wopr``."""

from __future__ import annotations

from wopr.cli.main import main

if __name__ == "__main__":
    main()
