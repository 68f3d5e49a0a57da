"""Bazel in Bazel: a compilation reads the files that its target declares, and no others, whatever the strategy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from inner_bazel import InnerBazel, copy_checkout, scratch
from onnx import TensorProto, helper, numpy_helper

_MODULE = """
module(name = "split_models")
bazel_dep(name = "furiosa_rules", version = "0.1.0")
local_path_override(module_name = "furiosa_rules", path = "{checkout}")
bazel_dep(name = "rules_python", version = "1.8.5")
local_repository = use_repo_rule("@bazel_tools//tools/build_defs/repo:local.bzl", "local_repository")
local_repository(name = "weights", path = "{weights}")
"""
_BUILD = {
    "": """
        load("@furiosa_rules//furiosa_rules:defs.bzl", "npu_model", "npu_model_test", "npu_reproducibility_test", "npu_tune")
        exports_files(["model.onnx", "model.onnx.data"])
        npu_model(name = "root_enf", src = "model.onnx", data = ["model.onnx.data"])
        npu_model(name = "forgotten_enf", src = "model.onnx")
        npu_model(name = "repository_enf", src = "model.onnx", data = ["@weights//files:model.onnx.data"])
        npu_model(name = "nested_enf", src = "nested/model.onnx", data = glob(["nested/weights/**"]))
        npu_model(name = "nested_forgotten_enf", src = "nested/model.onnx", data = ["model.onnx.data"])
        npu_model_test(name = "repository_test", model = "repository_enf")
        npu_reproducibility_test(name = "reproducibility_test", model = "repository_enf")
        npu_tune(name = "tune", model = "repository_enf", batch_sizes = [1])
    """,
    "generated": """
        load("@furiosa_rules//furiosa_rules:defs.bzl", "npu_model", "npu_model_test")
        genrule(name = "copy", srcs = ["//:model.onnx.data"], outs = ["model.onnx.data"], cmd = "cp $< $@")
        npu_model(name = "data_enf", src = "model.onnx", data = ["model.onnx.data"])
        npu_model_test(name = "data_test", model = "data_enf")
        genrule(name = "both", srcs = ["model.onnx", "//:model.onnx.data"], outs = ["x/model.onnx", "x/model.onnx.data"],
            cmd = "cp $(SRCS) $(RULEDIR)/x")
        npu_model(name = "both_enf", src = "x/model.onnx", data = ["x/model.onnx.data"])
        npu_model(name = "model_enf", src = "x/model.onnx", data = ["//:model.onnx.data"])
    """,
}
_BUILT = (
    "//:repository_enf",
    "//:root_enf",
    "//generated:both_enf",
    "//generated:data_enf",
    "//generated:model_enf",
)
_WAYS = {
    "multiplex": (),
    "singleplex": ("--noworker_multiplex",),
    "sandboxed worker": ("--noworker_multiplex", "--worker_sandboxing"),
    "sandboxed multiplex worker": ("--experimental_worker_multiplex_sandboxing", "--worker_sandboxing"),
    "mapped paths": ("--noworker_multiplex", "--worker_sandboxing", "--experimental_output_paths=strip"),
    "json": ("--extra_toolchains=@furiosa_rules//tests/bazel/checks:json_toolchain",),
    "sandboxed": ("--strategy=NpuCompile=sandboxed",),
    "local": ("--strategy=NpuCompile=local",),
}


def _save(path: Path, location: str, seed: int) -> None:
    """Writes a quantised convolution, and its weights beside it, as exporters do."""
    weights = np.random.default_rng(seed).integers(-127, 128, (16, 16, 3, 3)).astype(np.int8)
    constants = [numpy_helper.from_array(weights, "w")]
    for name in "xwy":
        constants.append(numpy_helper.from_array(np.float32(0.05), f"{name}_scale"))
        constants.append(numpy_helper.from_array(np.int8(0), f"{name}_zero"))
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "x_scale", "x_zero"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "x_scale", "x_zero"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["wd"]),
        helper.make_node("Conv", ["xd", "wd"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "y_scale", "y_zero"], ["yq"]),
        helper.make_node("DequantizeLinear", ["yq", "y_scale", "y_zero"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 16, 6, 6])
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y], constants), opset_imports=[helper.make_opsetid("", 17)]
    )
    (path.parent / location).parent.mkdir(parents=True, exist_ok=True)
    for old in (path, path.parent / location):
        old.unlink(missing_ok=True)
    onnx.save(model, path, save_as_external_data=True, location=location, size_threshold=1000)


@pytest.fixture(scope="module")
def workspace() -> Path:
    """A repository with models whose weights lie in files of their own, and another one with such files."""
    root = scratch() / "split_models"
    weights = scratch() / "weights"
    for package, text in _BUILD.items():
        (root / package).mkdir(parents=True)
        (root / package / "BUILD.bazel").write_text(text.replace("\n        ", "\n"))
    checkout = copy_checkout(scratch() / "checkout")
    (root / "MODULE.bazel").write_text(_MODULE.format(checkout=checkout, weights=weights))
    _save(root / "model.onnx", "model.onnx.data", 0)
    _save(root / "nested/model.onnx", "weights/model.onnx.data", 0)
    (root / "generated/model.onnx").write_bytes((root / "model.onnx").read_bytes())
    (weights / "files").mkdir(parents=True)
    (weights / "MODULE.bazel").touch()
    (weights / "WORKSPACE").touch()
    (weights / "files/BUILD.bazel").write_text('exports_files(["model.onnx.data"])')
    (weights / "files/model.onnx.data").write_bytes((root / "model.onnx.data").read_bytes())
    return root


@pytest.fixture(scope="module")
def bazel(workspace: Path) -> Iterator[InnerBazel]:
    with InnerBazel(workspace, "split") as inner:
        yield inner


def _enfs(bazel: InnerBazel, *targets: str) -> dict[str, bytes]:
    bazel.run("build", *targets)
    return {t: f.read_bytes() for t in targets for f in bazel.outputs(t).values() if f.suffix == ".enf"}


@pytest.mark.parametrize("way", _WAYS)
def test_a_file_that_is_not_declared_is_not_read(bazel: InnerBazel, way: str) -> None:
    """Although it lies beside the model, where a worker or a compiler outside of a sandbox could read it."""
    for target, location in (
        ("//:forgotten_enf", "model.onnx.data"),
        ("//:nested_forgotten_enf", "weights/model.onnx.data"),
    ):
        done = bazel.attempt("build", *_WAYS[way], target)
        assert done.returncode == 1, done.stderr
        assert f'model.onnx has external data in "{location}", not among the files' in done.stderr
        assert f'data = ["{location}"]' in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("way", _WAYS)
def test_declared_files_are_read_wherever_they_lie(bazel: InnerBazel, way: str) -> None:
    built = bazel.workspace / "bazel-bin"
    for old in built.rglob("*.enf"):
        old.unlink()  # or what another way has built would be taken
    bazel.run("build", *_WAYS[way], *_BUILT, "//:nested_enf")
    enfs = [
        (built / t.removeprefix("//").replace("_enf", ".enf").replace(":", "/").lstrip("/")).read_bytes()
        for t in _BUILT
    ]
    assert len(set(enfs)) == 1


def test_other_rules_read_them_too(bazel: InnerBazel) -> None:
    bazel.run("build", "//:tune")
    tests = ("//:repository_test", "//:reproducibility_test", "//generated:data_test")
    # to zip what tests write, Bazel 7 needs the program zip
    bazel.run("test", "--nozip_undeclared_test_outputs", *tests)


def test_an_edited_file_is_compiled_again(bazel: InnerBazel, workspace: Path) -> None:
    targets = ("//:root_enf", "//:nested_enf", *(t for t in _BUILT if t.startswith("//generated")))
    before = _enfs(bazel, *targets, "//:repository_enf")
    _save(workspace / "model.onnx", "model.onnx.data", 1)
    _save(workspace / "nested/model.onnx", "weights/model.onnx.data", 1)
    after = _enfs(bazel, *targets, "//:repository_enf")
    assert {t for t in before if before[t] != after[t]} == set(targets)
    other = scratch() / "weights/files/model.onnx.data"
    other.write_bytes((workspace / "model.onnx.data").read_bytes())
    again = _enfs(bazel, *targets, "//:repository_enf")
    assert {t for t in after if after[t] != again[t]} == {"//:repository_enf"}
    assert again["//:repository_enf"] == again["//:root_enf"]
