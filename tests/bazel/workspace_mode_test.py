"""Bazel in Bazel: the rules in WORKSPACE mode, with a compiler toolchain given by label."""

from __future__ import annotations

from pathlib import Path

from inner_bazel import InnerBazel, copy_checkout, scratch

# Debian's Bazel is built without the Internet, and has the repositories that WORKSPACE mode always asks for beside it.
_DEBIAN = Path("/usr/share/bazel")
_DEBIAN_REPOSITORIES = {
    "bazel_skylib": "tools/skylib",
    "platforms": "tools/platforms",
    "rules_cc": "rules/cc",
    "rules_java": "rules/java",
    "rules_java_builtin": "rules/java",
    "rules_license": "rules/license",
    "rules_python": "rules/python",
}


def _flags() -> list[str]:
    overrides = {
        name: _DEBIAN / path for name, path in _DEBIAN_REPOSITORIES.items() if (_DEBIAN / path).is_dir()
    }
    return ["--noenable_bzlmod", "--enable_workspace"] + [
        f"--override_repository={name}={path}" for name, path in overrides.items()
    ]


def test_models_are_compiled_by_the_toolchain_given_by_label() -> None:
    workspace = copy_checkout(scratch() / "checkout") / "tests/bazel/workspace_mode"
    with InnerBazel(workspace, "workspace_mode", _flags()) as bazel:
        bazel.run("build", "//:model_enf", "//:defaults")
        outputs = bazel.outputs("//:model_enf + //:defaults")
        assert sorted(outputs) == ["defaults.enf", "model.enf"]
        assert outputs["model.enf"].read_text() == "model.onnx\nwarboy\n2\n-v\n"
        assert outputs["defaults.enf"].read_text() == "model.onnx\nwarboy-2pe\n1\n"

        setting = "--@furiosa_rules//furiosa_rules/settings:"
        bazel.run("build", f"{setting}target_npu=warboy", f"{setting}batch_size=4", "//:defaults")
        assert outputs["defaults.enf"].read_text() == "model.onnx\nwarboy\n4\n"
