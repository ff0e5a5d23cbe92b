"""Scripts of others come into the package only as they were checked."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from support.paths import ROOT


def test_a_package_with_another_checksum_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    script = shutil.copy(ROOT / "scripts" / "vendor", tmp_path / "scripts")
    packages = tmp_path / "packages"
    packages.mkdir()
    for name in ("htmx.org-4.0.1", "uplot-1.6.32", "axe-core-4.14.1"):
        (packages / f"{name}.tgz").write_bytes(b"something else")
    command = [sys.executable, script, "--from", packages]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "it is another file" in done.stderr
    assert not (tmp_path / "src").exists()
