"""An application over a job service in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.serve_app.api.fakes import World, make_world


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Without keys; `clip.mp4` lies below its media root."""
    root = tmp_path / "media"
    root.mkdir()
    (root / "clip.mp4").write_bytes(bytes(range(256)) * 40)
    return make_world(tmp_path, media_roots=[root])
