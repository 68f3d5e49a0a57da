"""The files of a model: which may be read, what the model calls them, and what an error says of others."""

from __future__ import annotations

import os
import threading
import unicodedata
from contextlib import suppress
from pathlib import Path

import pytest

from furiosa.compiler import model_files
from furiosa.compiler.errors import CompileError, InvalidModel, IoError
from furiosa.compiler.model_files import DataFile, ModelFiles, Undeclared, parse_data

WHO = 'constant "c"'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch) -> Path:
    """A folder with a model, its data, and other files; each file holds its own path."""
    for name in (
        "m/m.onnx",
        "m/w.bin",
        "m/sub/w.bin",
        "m/old/v.bin",
        "gen/m/w.bin",
        "gen/m/v.bin",
        "repo/v.bin",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(files: ModelFiles, location: str) -> str:
    return bytes(files.read(location, WHO, 0, files.size(location, WHO))).decode()


def hermetic(*data: DataFile | str, path: str = "m/m.onnx") -> ModelFiles:
    return ModelFiles(path, [parse_data(d) if isinstance(d, str) else d for d in data], is_hermetic=True)


def refused(files: ModelFiles, location: str, match: str, error: type[CompileError] = Undeclared) -> None:
    with pytest.raises(error, match=match):
        files.size(location, WHO)


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("w.bin", DataFile("w.bin")),
        ("/a/w.bin", DataFile("/a/w.bin")),
        ("w.bin=x/w.bin", DataFile("x/w.bin", "w.bin")),
        ("=x/w.bin", DataFile("x/w.bin", "")),
        ("a==b=c=d", DataFile("c=d", "a=b")),
        ("a====b=c", DataFile("c", "a==b")),
        ("===c", DataFile("c", "=")),
        ("a==b", DataFile("a==b")),
    ],
)
def test_what_an_option_says(text: str, data: DataFile) -> None:
    assert parse_data(text) == data


def test_the_model_is_read_and_nothing_but_files() -> None:
    assert ModelFiles("m/m.onnx").model() == b"m/m.onnx"
    for path in ("m", "gone.onnx"):
        with pytest.raises(IoError, match=f"cannot read the model {path}: "):
            ModelFiles(path).model()


@pytest.mark.parametrize("path", ["m/m.onnx", "./m/../m/m.onnx", "ABSOLUTE"])
def test_without_a_declaration_all_of_the_folder_may_be_read(path: str, folder: Path) -> None:
    files = ModelFiles(str(folder / "m/m.onnx") if path == "ABSOLUTE" else path)
    assert [read(files, w) for w in ("w.bin", "sub/w.bin", "./sub//w.bin")] == [
        "m/w.bin",
        *["m/sub/w.bin"] * 2,
    ]
    assert ModelFiles("m/m.onnx").read("w.bin", WHO, 2, 3).tobytes() == b"w.b"
    os.chdir("m")
    assert read(ModelFiles("m.onnx"), "w.bin") == "m/w.bin"


def test_what_is_not_declared_may_not_be_read() -> None:
    refused(hermetic(), "w.bin", r'^m/m.onnx has external data in "w.bin", not among .* data = \["w.bin"\]')
    refused(
        hermetic("m/sub/w.bin"), "w.bin", 'data in "w.bin", .*; m/sub/w.bin is declared, but lies in another'
    )
    assert read(hermetic("m/w.bin"), "w.bin") == "m/w.bin"
    assert read(hermetic("m/sub/w.bin"), "sub/w.bin") == "m/sub/w.bin"
    assert read(hermetic("./m/../m/w.bin"), "./w.bin") == "m/w.bin"
    assert read(hermetic(os.path.abspath("m/w.bin")), "w.bin") == "m/w.bin"
    with pytest.raises(Undeclared) as caught:
        hermetic("m/w.bin").size("a", WHO)
    everything = str(caught.value.of_all(["a", "b", "w.bin", "c", "a", "../up", "d", "e"]))
    assert '"a", "b", "c" and 2 more files' in everything and '["a", "b", "c", …]' in everything


def test_files_that_lie_elsewhere() -> None:
    """Generated, of another package or repository: an end of their path is what the model calls them."""
    assert read(hermetic("gen/m/w.bin"), "w.bin") == "gen/m/w.bin"
    assert read(hermetic("gen/m/w.bin"), "m/w.bin") == "gen/m/w.bin"
    assert read(hermetic("repo/v.bin", "m/w.bin"), "v.bin") == "repo/v.bin"
    refused(hermetic("gen/m/w.bin"), ".bin", "not among")
    refused(hermetic("gen/m/w.bin"), "sub/w.bin", "lies in another folder")
    both = hermetic("gen/m/v.bin", "repo/v.bin")
    refused(both, "v.bin", "may be any of gen/m/v.bin, repo/v.bin: name one of them only", InvalidModel)
    assert read(both, "m/v.bin") == "gen/m/v.bin"
    # what lies in the model's folder is no other file of that name
    assert read(hermetic("m/w.bin", "gen/m/w.bin", "m/sub/w.bin"), "w.bin") == "m/w.bin"
    refused(hermetic("m/old/v.bin"), "v.bin", "m/old/v.bin is declared, but lies in another folder")
    assert read(hermetic("=m/old/v.bin"), "v.bin") == "m/old/v.bin"
    # without a declaration of all files the folder comes after those that were named
    assert read(ModelFiles("m/m.onnx", [DataFile("gen/m/w.bin")]), "w.bin") == "gen/m/w.bin"
    assert read(ModelFiles("m/m.onnx", [DataFile("repo/v.bin")]), "w.bin") == "m/w.bin"


def test_a_file_at_a_given_location() -> None:
    assert read(hermetic("a/b.bin=repo/v.bin"), "a/b.bin") == "repo/v.bin"
    assert read(hermetic("./a//b.bin=repo/v.bin"), "a/b.bin") == "repo/v.bin"
    refused(hermetic("a/b.bin=repo/v.bin"), "v.bin", "not among")
    refused(
        hermetic("w.bin=gone.bin"),
        "w.bin",
        'constant "c" has its data in the file "w.bin", which is missing',
        IoError,
    )


@pytest.mark.parametrize(
    "location", ["../gen/m/w.bin", "/etc/passwd", "", "sub/../../gen/m/w.bin", "C:\\w", "a\0b", ".."]
)
@pytest.mark.parametrize("files", [ModelFiles("m/m.onnx"), ModelFiles("m/m.onnx", is_hermetic=True)])
def test_locations_lead_down(files: ModelFiles, location: str) -> None:
    refused(files, location, "must lie in the model's own folder", InvalidModel)


def test_links(folder: Path) -> None:
    """A sandbox is a folder of links; what is declared may lead anywhere, what is not may not leave the folder."""
    os.symlink(folder / "repo/v.bin", "m/v.bin")
    refused(ModelFiles("m/m.onnx"), "v.bin", "a link that leads out of the model's folder", InvalidModel)
    assert read(hermetic("m/v.bin"), "v.bin") == "repo/v.bin"
    os.mkdir("box")
    for name in ("m.onnx", "w.bin"):
        os.symlink(folder / "m" / name, f"box/{name}")
    assert read(ModelFiles("box/m.onnx"), "w.bin") == "m/w.bin"
    refused(hermetic(path="box/m.onnx"), "w.bin", "not among")  # although it is beside the real model
    os.symlink("m", "folder")
    assert read(hermetic("folder/w.bin", path="folder/m.onnx"), "w.bin") == "m/w.bin"


def test_names_are_compared_as_they_are_written() -> None:
    Path("m/É.bin").write_text("composed")
    refused(hermetic("m/w.bin"), "W.bin", r"m/w.bin is declared, but spelt otherwise \(upper and lower case")
    refused(hermetic("m/É.bin"), unicodedata.normalize("NFD", "É.bin"), "is declared, but spelt otherwise")
    assert read(hermetic("m/É.bin"), "É.bin") == "composed"


def test_what_is_no_file(folder: Path) -> None:
    refused(hermetic("m/sub"), "sub/w.bin", "m/sub is declared, but a folder: declare the files")
    os.mkfifo("m/pipe")
    os.mkdir("m/empty")
    for location in ("pipe", "empty"):
        for files in (ModelFiles("m/m.onnx"), hermetic(f"m/{location}")):
            refused(
                files,
                location,
                f'm/m.onnx: cannot read the external data "{location}" of {WHO}: [iI][ts] ',
                IoError,
            )


def test_a_model_of_bytes_has_no_folder() -> None:
    refused(
        ModelFiles(), "w.bin", 'external data \\("w.bin"\\), which need a model in a folder', InvalidModel
    )
    assert read(ModelFiles(data=[DataFile("repo/v.bin")]), "v.bin") == "repo/v.bin"
    refused(ModelFiles(data=[DataFile("repo/v.bin")]), "w.bin", "the model has external data")


def test_many_files() -> None:
    """Some exporters write one for each constant: no more stay open than a few."""
    names = [f"{i}.bin" for i in range(100)]
    for name in names:
        Path("m", name).write_text(name)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    files = hermetic(*(f"m/{name}" for name in names))
    assert [read(files, name) for name in names] == names
    if before:
        assert len(os.listdir("/proc/self/fd")) < before + 20


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/dev/zero", "neither a regular file nor a pipe"),
        ("/dev/null", "neither a regular file nor a pipe"),
        ("sparse", "a model file may have up to"),
        ("m", "Is a directory"),
        ("nowhere", "No such file"),
    ],
)
def test_sources_that_are_special_or_endless_are_refused_before_they_are_read(folder, path, words) -> None:
    with open("sparse", "wb") as f:
        f.truncate(model_files.MAX_MODEL + 1)
    with pytest.raises(IoError, match=words) as e:
        ModelFiles(path).model()
    assert path in str(e.value)


def test_a_pipe_is_read_up_to_a_limit(folder, monkeypatch) -> None:
    for content, limit in ((b"x" * 300_000, 300_000), (b"x" * 300_001, 300_000)):
        monkeypatch.setattr(model_files, "MAX_MODEL", limit)
        os.mkfifo("pipe")
        writer = threading.Thread(target=_write, args=("pipe", content), daemon=True)
        writer.start()
        if len(content) <= limit:
            assert ModelFiles("pipe").model() == content
        else:
            with pytest.raises(IoError, match="the pipe gives more than 300,000 bytes"):
                ModelFiles("pipe").model()
        writer.join(30)
        os.unlink("pipe")


def _write(path: str, content: bytes) -> None:
    with suppress(BrokenPipeError):  # the reader has had enough
        Path(path).write_bytes(content)
