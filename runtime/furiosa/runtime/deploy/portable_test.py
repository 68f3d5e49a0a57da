"""What a portable runtime is made of, and what its wheels ask of an interpreter."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from furiosa.runtime.deploy import portable
from furiosa.runtime.errors import BundleError


def wheel(*tags: str) -> str:
    return "Wheel-Version: 1.0\n" + "".join(f"Tag: {tag}\n" for tag in tags)


PURE = wheel("py3-none-any")
NUMPY = wheel("cp311-cp311-manylinux_2_27_x86_64", "cp311-cp311-manylinux_2_28_x86_64")
PROTOBUF = wheel("cp310-abi3-manylinux2014_x86_64")


def test_wheels_name_the_interpreter():
    assert portable.requirements({"numpy": NUMPY, "protobuf": PROTOBUF, "threadpoolctl": PURE}) == {
        "python": [3, 11],
        "exact": True,
        "system": "linux",
        "machine": "x86_64",
        "glibc": [2, 27],
    }
    assert portable.requirements({"protobuf": PROTOBUF}) == {
        "python": [3, 11],  # what the runtime's own code needs
        "exact": False,
        "system": "linux",
        "machine": "x86_64",
        "glibc": [2, 17],
    }
    mac = portable.requirements({"numpy": wheel("cp314-cp314-macosx_14_0_arm64")})
    assert (mac["python"], mac["system"], mac["machine"], mac["glibc"]) == ([3, 14], "darwin", "arm64", None)
    assert portable.requirements({"threadpoolctl": PURE})["system"] is None


@pytest.mark.parametrize(
    ("wheels", "sentence"),
    [
        ({"a": NUMPY, "b": wheel("cp312-cp312-manylinux_2_27_x86_64")}, "b needs Python 3.12"),
        ({"a": NUMPY, "b": wheel("cp312-abi3-manylinux_2_27_x86_64")}, "b needs Python 3.12"),
        ({"a": wheel("cp312-abi3-manylinux_2_27_x86_64"), "b": NUMPY}, "b needs Python 3.11"),
        ({"a": wheel("cp310-cp310-manylinux_2_27_x86_64")}, "a needs Python 3.10"),
        (
            {"a": NUMPY, "b": wheel("cp311-cp311-manylinux_2_27_aarch64")},
            "a and b are for different platforms",
        ),
        ({"a": wheel("cp311-cp311-win_amd64")}, "a: a wheel for 'win_amd64' cannot be packed"),
        (
            {"a": wheel("pp311-pypy311_pp73-manylinux_2_27_x86_64")},
            "a: a wheel for 'pp311-pypy311_pp73' cannot",
        ),
        ({"a": "Wheel-Version: 1.0\n"}, "a: its file WHEEL names no tag"),
    ],
)
def test_wheels_that_no_interpreter_can_load(wheels, sentence):
    with pytest.raises(BundleError) as e:
        portable.requirements(wheels)
    assert e.value.message.startswith(sentence)


@pytest.fixture
def tree(tmp_path):
    """Files as Bazel has them: one wheel and a little of the project."""

    def make(*paths: str) -> list[str]:
        made = []
        for path in paths:
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(PURE if file.name == "WHEEL" else "")
            made.append(str(file))
        return made

    return make


def test_interpreters_that_cannot_load_the_runtime_can_read_what_tells_them_so():
    text = Path(portable.__file__).with_name("run.py").read_text("ascii")
    ast.parse(text, feature_version=(3, 6))
    assert "from __future__" not in text, "3.6 has no annotations there"


OWN = ("runtime/furiosa/runtime/deploy/run", "runtime/furiosa/runtime/deploy/run.py")


def test_places(tree):
    paths = tree(
        *OWN,
        "enf/furiosa/enf/isa.py",
        "bin/enf/furiosa/__init__.py",
        "bin/runtime/furiosa/__init__.py",
        "external/x/bin/f2py",
        "external/x/include/x.h",
        "external/x/share/man/man1/x.1",
        "external/x/site-packages/x/__init__.py",
        "external/x/site-packages/x/__pycache__/__init__.cpython-311.pyc",
        "external/x/site-packages/x/core/tests/test_x.py",
        "external/x/site-packages/x/x.pyi",
        "external/x/site-packages/x-1.dist-info/WHEEL",
        "external/x/site-packages/x-1.dist-info/licenses/LICENSE",
    )
    assert sorted(portable.files(paths)) == [
        "run",
        "run.py",
        "runtime/furiosa/enf/isa.py",
        "runtime/requires.json",
        "runtime/x-1.dist-info/WHEEL",
        "runtime/x-1.dist-info/licenses/LICENSE",
        "runtime/x/__init__.py",
    ]


@pytest.mark.parametrize(
    ("paths", "sentence"),
    [
        (OWN[:1], "the runtime's files do not hold run.py"),
        (
            (*OWN, "a/site-packages/x.py", "b/site-packages/x.py"),
            "the runtime has two files for runtime/x.py",
        ),
    ],
)
def test_files_that_are_refused(tree, paths, sentence):
    with pytest.raises(BundleError) as e:
        portable.files(tree(*paths))
    assert sentence in e.value.message
