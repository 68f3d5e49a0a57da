"""The archive of a python_tool: what is found in it, by which interpreter, and that it is the same wherever it is packed."""

from __future__ import annotations

import importlib.machinery
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PACK = Path(__file__).with_name("pack.py")
PROGRAM = """\
import json, sys
import space.part
from package import answer, data

def main():
    '''DOCUMENTATION'''
    assert __spec__.loader.get_data(data()) == b"{}"
    print(answer(), space.part.NAME, sys.argv[1:])
    return 3
"""
SOURCES = {
    "program/__init__.py": "",
    "program/main.py": PROGRAM,
    "package/__init__.py": (
        "import os\ndef answer(): return {'a', 'b', 'c', 'd'} >= {'a'}\n"
        "def data(): return os.path.join(os.path.dirname(__file__), 'data.json')\n"
    ),
    "package/data.json": "{}",
    "package/template.py": "{{ no Python }}\n",
    "space/part.py": "NAME = __name__\n",  # a package without __init__.py
}


def _pack(folder: Path, sources: dict[str, str], words: list[str] | None = None, seed: str = "0") -> Path:
    for name, text in sources.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    archive = folder / "program.zip"
    lines = [str(archive), "program.main:main"]
    lines += words if words is not None else [w for n in sources for w in ("file", n, str(folder / n))]
    (folder / "lines").write_text("\n".join(lines) + "\n", encoding="utf-8")
    subprocess.run(
        [sys.executable, "-I", "-S", PACK, f"@{folder / 'lines'}"],
        check=True,
        env={"PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
    )
    return archive


def _run(archive: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", archive, *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, env={}, cwd="/")


def test_a_program_runs_with_its_packages_and_data(tmp_path: Path) -> None:
    done = _run(_pack(tmp_path, SOURCES), "a", "b c")
    assert (done.stdout, done.returncode) == ("True space.part ['a', 'b c']\n", 3), done.stderr


def test_modules_are_bytecode_and_other_files_are_what_they_were(tmp_path: Path) -> None:
    with zipfile.ZipFile(_pack(tmp_path, SOURCES)) as archive:
        names = archive.namelist()
        assert archive.read("package/template.py") == b"{{ no Python }}\n"
    assert "package/__init__.pyc" in names and "package/__init__.py" not in names
    assert names == sorted(names) and "space/" in names


def test_folder_and_order_do_not_reach_the_archive(tmp_path: Path) -> None:
    first = _pack(tmp_path / "one", SOURCES, seed="0").read_bytes()
    assert _pack(tmp_path / "two", dict(reversed(SOURCES.items())), seed="0").read_bytes() == first
    assert str(tmp_path).encode() not in first


def test_two_files_for_one_place_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("A = 1\n")
    (tmp_path / "b").write_text("A = 2\n")
    words = ["file", "a.py", str(tmp_path / "a"), "file", "a.py", str(tmp_path / "b")]
    with pytest.raises(subprocess.CalledProcessError) as error:
        _pack(tmp_path, {}, words)
    assert error.value.returncode == 1
    assert "is another a.py than one of the other dependencies has" in error.value.stderr
    assert len(error.value.stderr.splitlines()) == 1 and not (tmp_path / "program.zip").exists()
    same = _pack(tmp_path, {}, words[:3] * 2)
    assert "a.pyc" in zipfile.ZipFile(same).namelist()


def test_another_version_of_python_is_told_so(tmp_path: Path) -> None:
    archive = _pack(tmp_path, SOURCES)
    with zipfile.ZipFile(archive) as f:
        (tmp_path / "__main__.py").write_bytes(
            f.read("__main__.py").replace(str(sys.version_info[:2]).encode(), b"(3, 2)")
        )
    done = _run(tmp_path / "__main__.py")
    assert done.returncode == 1
    assert done.stderr.startswith("ERROR: this program was packed by Python 3.2 and is run by 3.")


def test_a_shared_library_is_loaded_from_beside_the_archive_by_another_interpreter_too(
    tmp_path: Path,
) -> None:
    """With the library of a wheel that the environment has: `xxhash` is a package with one."""
    import xxhash

    [library] = [
        p
        for p in Path(xxhash.__file__).parent.iterdir()
        if p.name.endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES))
    ]
    child = "import xxhash; print(xxhash.xxh64(b'').hexdigest(), xxhash._xxhash.__file__)"
    sources = {
        "program/main.py": (
            "import subprocess, sys\n"
            "def main():\n"
            f"    exec({child!r})\n"
            "    path = 'import sys; sys.path.append(sys.argv[1]); '\n"
            f"    code = path + {child!r}\n"
            "    return subprocess.run([sys.executable, '-I', '-S', '-c', code, sys.path[0]]).returncode\n"
        ),
    }
    for module in Path(xxhash.__file__).parent.glob("*.py"):
        sources[f"xxhash/{module.name}"] = module.read_text()
    words = [w for n in sources for w in ("file", n, str(tmp_path / n))]
    archive = _pack(tmp_path, sources, [*words, "native", f"xxhash/{library.name}"])
    for module in (tmp_path / "xxhash").iterdir():
        module.unlink()
    os.symlink(library.resolve(), tmp_path / "xxhash" / library.name)
    done = _run(archive)
    expected = f"ef46db3751d8e999 {tmp_path / 'xxhash' / library.name}\n"
    assert (done.returncode, done.stdout) == (0, expected * 2), done.stderr


@pytest.mark.parametrize("words", [[], ["lines"]])
def test_other_arguments_are_refused(words: list[str]) -> None:
    done = subprocess.run([sys.executable, PACK, *words], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "ERROR: usage: pack.py @FILE\n")
