"""Bazel in Bazel: npu_models downloads models from a folder, a server, a mirror and with credentials, each by its hash."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from inner_bazel import InnerBazel, copy_checkout, scratch
from onnx import TensorProto, helper, numpy_helper

_MODULE = """
module(name = "downloads")
bazel_dep(name = "furiosa_rules", version = "0.1.0")
local_path_override(module_name = "furiosa_rules", path = "{checkout}")
bazel_dep(name = "other", version = "1.0")
local_path_override(module_name = "other", path = "other")
npu_models = use_extension("@furiosa_rules//furiosa_rules:extensions.bzl", "npu_models")
"""
_BUILD = """
load("@furiosa_rules//furiosa_rules:defs.bzl", "npu_model")
npu_model(name = "model_enf", src = "@model", data = ["@model//:data"])
"""
_BUILD_FILE = """
load("@furiosa_rules//furiosa_rules:defs.bzl", "npu_model")
npu_model(name = "file_enf", src = "@model//file")
"""
_TOKEN = "Bearer only-for-this-test"


class _Hub(ThreadingHTTPServer):
    """Files over HTTP, on loopback; those below /private/ only with the token."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files
        self.asked: list[str] = []
        self.address = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: _Hub

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        content = self.server.files.get(unquote(self.path))
        if self.path.startswith("/private/") and self.headers["Authorization"] != _TOKEN:
            content, code = None, 401
        else:
            code = 404 if content is None else 200
        self.send_response(code)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *_: object) -> None:
        """The test shows what was asked."""


def _model(data: str | None) -> tuple[bytes, bytes]:
    """An ONNX model and its weights, which lie in the file `data` or, with None, in the model."""
    weights = np.arange(16, dtype=np.float32).reshape(4, 4)
    tensor = numpy_helper.from_array(weights, "w")
    if data:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=data)
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4]) for n in ("x", "y")]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [tensor]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    return model.SerializeToString(), weights.tobytes()


MODEL, DATA = _model("model one.onnx_data")
WHOLE, _ = _model(None)
SHA = {name: hashlib.sha256(content).hexdigest() for name, content in (("model", MODEL), ("data", DATA))}
REVISION = "0123456789abcdef0123456789abcdef01234567"
_HUB_FILES = {
    f"/{folder}owner/name/resolve/{REVISION}/onnx/{name}": content
    for folder in ("", "private/")
    for name, content in (("model.onnx", MODEL), ("model one.onnx_data", DATA))
}


@pytest.fixture(scope="module")
def hub() -> Iterator[_Hub]:
    with _Hub(_HUB_FILES) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def bazel() -> Iterator[InnerBazel]:
    workspace = scratch() / "downloads"
    (workspace / "other").mkdir(parents=True)
    (workspace / "BUILD.bazel").write_text(_BUILD)
    (workspace / "other/BUILD.bazel").write_text("")
    (workspace / "file").mkdir()
    (workspace / "file/BUILD.bazel").write_text(_BUILD_FILE)
    copy_checkout(scratch() / "checkout")
    with InnerBazel(workspace, "downloads") as inner:
        yield inner


@pytest.fixture
def cache(tmp_path: Path) -> str:
    """The flag for a repository cache that holds nothing yet, so that a download is one."""
    return f"--repository_cache={tmp_path / 'repository_cache'}"


def _declare(bazel: InnerBazel, tags: str, other: str = "") -> None:
    """Writes the module of the workspace, and that of a module it depends on."""
    module = _MODULE.format(checkout=scratch() / "checkout")
    (bazel.workspace / "MODULE.bazel").write_text(module + tags)
    head = 'module(name = "other", version = "1.0")\nbazel_dep(name = "furiosa_rules", version = "0.1.0")\n'
    (bazel.workspace / "other/MODULE.bazel").write_text(head + module.splitlines()[-1] + "\n" + other)


def _tag(kind: str, **values: object) -> str:
    """A tag for the model that the tests serve; `values` change or add attributes, None leaves one out."""
    attributes = {"name": "model", "sha256": SHA["model"], **values}
    if kind == "huggingface":
        place = {"repo": "owner/name", "revision": REVISION, "file": "onnx/model.onnx"}
        attributes = {**place, "data": {"onnx/model one.onnx_data": SHA["data"]}, **attributes}
    given = ", ".join(f"{k} = {v!r}" for k, v in attributes.items() if v is not None)
    return f"npu_models.{kind}({given})\n"


_USE = 'use_repo(npu_models, "model")\n'


def _build(bazel: InnerBazel, *flags: str) -> None:
    """Builds the ENF, whose action reads the file of weights too."""
    bazel.run("build", "//:model_enf", *flags)


def test_from_a_folder(bazel: InnerBazel, tmp_path: Path, cache: str) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(MODEL)
    (folder / "model one.onnx_data").write_bytes(DATA)
    urls = [(folder / "none.onnx").as_uri(), (folder / "model.onnx").as_uri()]
    tag = _tag("file", urls=urls, file="model.onnx", data={"model one.onnx_data": SHA["data"]})
    _declare(bazel, tag + _USE)
    _build(bazel, cache)


def test_by_http_file(bazel: InnerBazel, tmp_path: Path, cache: str) -> None:
    """As docs/rules.md has it: the label of the file, whose name has the suffix."""
    (tmp_path / "x").write_bytes(WHOLE)
    url, sha256 = (tmp_path / "x").as_uri(), hashlib.sha256(WHOLE).hexdigest()
    load = 'http_file = use_repo_rule("@bazel_tools//tools/build_defs/repo:http.bzl", "http_file")\n'
    _declare(
        bazel,
        f'{load}http_file(name = "model", downloaded_file_path = "m.onnx", sha256 = "{sha256}", url = "{url}")\n',
    )
    bazel.run("build", "//file:file_enf", cache)


def test_from_a_hub_through_a_mirror(bazel: InnerBazel, tmp_path: Path, cache: str, hub: _Hub) -> None:
    rules = tmp_path / "downloader.cfg"
    rules.write_text(f"rewrite huggingface\\.co/(.*) {hub.address}/$1\n")
    unused = _tag("huggingface", name="unused", revision="never-asked")
    _declare(bazel, _tag("huggingface") + unused + _USE)
    hub.asked.clear()
    _build(bazel, cache, f"--experimental_downloader_config={rules}")
    assert sorted(map(unquote, hub.asked)) == sorted(p for p in _HUB_FILES if "private" not in p)


def test_with_credentials(bazel: InnerBazel, tmp_path: Path, cache: str, hub: _Hub) -> None:
    helper_program = tmp_path / "credentials"
    helper_program.write_text(f"""#!/bin/sh
echo '{{"headers": {{"Authorization": ["{_TOKEN}"]}}}}'
""")
    helper_program.chmod(0o755)
    _declare(bazel, _tag("huggingface", endpoint=f"{hub.address}/private/") + _USE)
    refused = bazel.attempt("build", "//:model_enf", cache)
    assert refused.returncode != 0 and "401" in refused.stderr
    _build(bazel, cache, f"--credential_helper={helper_program}")


def test_another_file_than_named(bazel: InnerBazel, cache: str, hub: _Hub) -> None:
    _declare(bazel, _tag("huggingface", endpoint=hub.address, sha256="0" * 64) + _USE)
    refused = bazel.attempt("build", "//:model_enf", cache)
    assert refused.returncode != 0 and SHA["model"] in refused.stderr and "0" * 64 in refused.stderr


@pytest.mark.parametrize(
    ("tag", "says"),
    [
        (_tag("file", urls=[]), "'model': urls: name at least one"),
        (_tag("file", urls=["ftp://x/model.onnx"]), "urls: 'ftp://x/model.onnx' is no URL"),
        (_tag("file", urls=["https://model.onnx"]), "urls: 'https://model.onnx' is no URL"),
        (_tag("file", urls=["https://x/model.pb"]), "'model.pb' is neither .onnx nor .tflite"),
        (_tag("file", urls=["https://x/y"], file="a/m.onnx"), "file: 'a/m.onnx' names a folder"),
        (_tag("file", urls=["https://x/m.onnx"], sha256="abc"), "sha256 of 'm.onnx': 'abc' is not 64"),
        (
            _tag("file", urls=["https://x/m.onnx"], data={"../w": "0" * 64}),
            "data: '../w' is not a relative path",
        ),
        (
            _tag("file", urls=["https://x/m.onnx"], data={"BUILD": "0" * 64}),
            "data: 'BUILD' is not a relative path",
        ),
        (_tag("file", urls=["https://x/m.onnx"], data={"a:b": "0" * 64}), 'may not have the character ":"'),
        (
            _tag("file", urls=["https://x/m.onnx"], data={"m.onnx": "0" * 64}),
            "data: 'm.onnx' is the model itself",
        ),
        (_tag("huggingface", repo="a/b/c"), "repo: 'a/b/c' is no OWNER/NAME"),
        (_tag("huggingface", revision=""), "revision: '' is not"),
        (_tag("huggingface", file="/model.onnx"), "file: '/model.onnx' is not a relative path"),
        (_tag("huggingface") * 2, "two models have this name"),
    ],
)
def test_a_tag_that_cannot_be_right(bazel: InnerBazel, tag: str, says: str) -> None:
    _declare(bazel, tag + _USE)
    refused = bazel.attempt("query", "@model//:all")
    assert refused.returncode != 0
    assert says in refused.stderr and "npu_models, module 'downloads', 'model'" in refused.stderr, (
        refused.stderr
    )


def test_two_modules_may_name_the_same_file(bazel: InnerBazel, cache: str, hub: _Hub) -> None:
    tag = _tag("huggingface", endpoint=hub.address)
    _declare(bazel, tag + _USE, tag)
    _build(bazel, cache)
    _declare(bazel, tag + _USE, _tag("huggingface", endpoint=hub.address, sha256="0" * 64))
    refused = bazel.attempt("query", "@model//:all")
    assert refused.returncode != 0 and "another file of the same name" in refused.stderr
    assert "module 'downloads', 'model'" in refused.stderr and "module 'other', 'model'" in refused.stderr
