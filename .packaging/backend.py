"""Setuptools' own backend, with `setup.py` beside it: `[build-system]` in pyproject.toml names this file."""

from __future__ import annotations

from setuptools import build_meta

_OURS = ".packaging/setup.py"


class _Backend(build_meta._BuildMetaBackend):
    def run_setup(self, setup_script: str = _OURS) -> None:
        super().run_setup(setup_script)


_backend = _Backend()
get_requires_for_build_wheel = _backend.get_requires_for_build_wheel
get_requires_for_build_sdist = _backend.get_requires_for_build_sdist
get_requires_for_build_editable = _backend.get_requires_for_build_editable
prepare_metadata_for_build_wheel = _backend.prepare_metadata_for_build_wheel
prepare_metadata_for_build_editable = _backend.prepare_metadata_for_build_editable
build_wheel = _backend.build_wheel
build_sdist = _backend.build_sdist
build_editable = _backend.build_editable
