"""The two compiled parts, for every Python from 3.11 on (the limited API); the rest is in pyproject.toml.

    QTRAIN_PURE=1      none of both: a wheel for any machine, where PyTorch and NumPy do their work
    QTRAIN_COMPILED=1  an extension that does not build is an error; without it the install goes on without it

On Windows clang-cl compiles them, if it is there: the kernel's vectors are those of GCC and Clang.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from setuptools import Distribution, Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.sdist import sdist
from setuptools.modified import newer_group

PURE, COMPILED = (os.environ.get(name) == "1" for name in ("QTRAIN_PURE", "QTRAIN_COMPILED"))
#: Python 3.11: the first whose limited API has buffers.
LIMITED_API = "0x030B0000"
#: Of each extension, what it is compiled with beside what all are. What regenerates weights has the same bits
#: wherever it is built: no fused multiply-add, no fast arithmetic.
FLAGS = {
    "qtrain_cli.quantum._kernels": ["-ffp-contract=fast", "-fno-math-errno", "-pthread"],
    "qtrain_cli.portable._steps": ["-fno-fast-math", "-ffp-contract=off", "-fno-math-errno"],
}
#: Endings of what lies in the folders and is made there.
MADE = (".so", ".pyd", ".pyc", ".ckpt")
UNIX, WINDOWS = ["-O3", "-std=c++17", "-g0"], ["/O2", "/std:c++17", "/EHsc"]
#: What clang-cl passes on to Clang, and what Windows has no use for.
FOR_CLANG, NOT_ON_WINDOWS = "/clang:", ("-pthread",)


class BuildKernels(build_ext):
    """Picks the flags by the compiler, and compiles as many sources at once as there are cores; what an
    earlier build, of whatever kind, has compiled of the same sources is taken."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.build_temp = str(Path("build", f"kernels.{self.plat_name}"))

    def build_extensions(self) -> None:
        windows = self.compiler.compiler_type == "msvc"
        if windows:
            self._take_clang()
        for extension in self.extensions:
            own = FLAGS[extension.name]
            extension.extra_compile_args = self._on_windows(own) if windows else [*UNIX, *own]
            extension.extra_link_args = [] if windows else [flag for flag in own if flag == "-pthread"]
        self.compiler.compile = partial(_compiled, self.compiler, self.compiler.compile)
        super().build_extensions()

    def _take_clang(self) -> None:
        found = shutil.which("clang-cl")
        if found:
            self.compiler.initialize()
            self.compiler.cc = found

    def _on_windows(self, flags: list[str]) -> list[str]:
        return [*WINDOWS, *(FOR_CLANG + flag for flag in flags if flag not in NOT_ON_WINDOWS)]


def _compiled(
    compiler: Any, compile_one: Callable[..., object], sources: list[str], output_dir: str, **how: Any
) -> list[str]:
    """The objects of all sources, in their order."""
    objects: list[str] = compiler.object_filenames(sources, output_dir=output_dir)

    def compiled(source: str, made: str) -> None:
        if newer_group([source, *how["depends"], __file__], made):
            compile_one([source], output_dir=output_dir, **how)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(compiled, sources, objects))
    return objects


class Source(sdist):
    """With what builds it, what tests it, and the samples."""

    def make_distribution(self) -> None:
        for folder in (".packaging", "qtrain_cli", "samples", "tests"):
            found = (path for path in Path(folder).rglob("*") if path.is_file())
            self.filelist.extend(path.as_posix() for path in found if path.suffix not in MADE)
        self.filelist.append("CHANGELOG.md")
        self.filelist.remove_duplicates()
        super().make_distribution()


class Limited(Distribution):
    """A wheel with extensions is for every Python from 3.11 on; one without is for any."""

    def has_ext_modules(self) -> bool:
        return not PURE


def extension(name: str) -> Extension:
    """All sources of the folder `native` beside the module."""
    folder = Path(*name.split(".")[:-1], "native")
    return Extension(
        name,
        sorted(path.as_posix() for path in folder.glob("*.cpp")),
        depends=sorted(path.as_posix() for kind in ("*.h", "*.inc") for path in folder.glob(kind)),
        define_macros=[("Py_LIMITED_API", LIMITED_API)],
        language="c++",
        optional=not COMPILED,
        py_limited_api=True,
    )


setup(
    distclass=Limited,
    cmdclass={"build_ext": BuildKernels, "sdist": Source},
    ext_modules=[] if PURE else [extension(name) for name in FLAGS],
    options={} if PURE else {"bdist_wheel": {"py_limited_api": "cp311"}},
)
