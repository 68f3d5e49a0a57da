"""What pyproject.toml cannot say: the tests that stand beside their code are no part of the package."""

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithoutTests(build_py):
    """build_py, without the modules `*_test.py`, `conftest.py` and `testing.py`."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        found = super().find_package_modules(package, package_dir)
        return [m for m in found if not m[1].endswith("_test") and m[1] not in ("conftest", "testing")]


setup(cmdclass={"build_py": BuildWithoutTests})
