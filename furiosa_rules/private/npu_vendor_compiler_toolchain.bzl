"""The rule that declares the vendor's own compiler."""

load(":default_npu.bzl", "reset_transition")
load(":npu_compiler_info.bzl", "NpuCompilerInfo")
load(":npu_tool_info.bzl", "tool_of")
load(":vendor_command.bzl", "VENDOR_COMMANDS")

_DOC = """\
Declares the vendor's own compiler, to be registered with `toolchain(toolchain_type = "@furiosa_rules//furiosa_rules:toolchain_type")`.

`npu_model` runs it with the options that the vendor documents; `command_line` says which of the vendor's commands it is:

    furiosa-compiler -o OUT.enf --target-npu NPU --batch-size N --dot-graph FILE --no-cache [copts...] MODEL    (SDK 0.10)
    furiosa-compile  -o OUT.enf --target-npu NPU --batch-size N --dot-graph FILE [copts...] MODEL               (SDK 0.6.3)
    furiosa compile  ... the same                                                                               (SDK 0.6.3)

It gets the environment `env` and no network. Its ENF is the vendor's: there is no report and no validation, and npu_model_test, npu_bundle and
the other rules that read this repository's ENF or report refuse it.
"""

_ATTRS = {
    "command_line": attr.string(
        doc = "Which of the vendor's commands `compiler` is.",
        default = "furiosa-compiler",
        values = VENDOR_COMMANDS.keys(),
    ),
    "compiler": attr.label(
        doc = "The vendor's command: a target that can be run, or an executable file, such as a script that runs the " +
              "installed one. What an installed compiler is, Bazel does not see: write its release into that script.",
        allow_files = True,
        cfg = "exec",
        executable = True,
        mandatory = True,
    ),
    "env": attr.string_dict(
        doc = "Environment variables of the command, e.g. `NPU_COMPILER_CONFIG_PATH`.",
    ),
    "ignores": attr.string_list(
        doc = "Attributes of `npu_model` for which the command has no option (`compatibility`, `max_host_operators`, `min_npu_coverage`, `optimize`) and which are left " +
              "out; models that set others of these are refused.",
    ),
    "target_npus": attr.string_list(
        doc = "The NPUs the compiler knows; `npu_model` refuses others before anything is built.",
        default = ["warboy", "warboy-2pe"],
    ),
}

_IGNORABLE = ("compatibility", "max_host_operators", "min_npu_coverage", "optimize")

def _impl(ctx):
    for attribute in ctx.attr.ignores:
        if attribute not in _IGNORABLE:
            fail("ignores: '%s' is not among the attributes that can be left out, %s" % (attribute, ", ".join(_IGNORABLE)))
    compiler = tool_of(ctx.attr.compiler)
    info = NpuCompilerInfo(
        compiler = compiler,
        env = ctx.attr.env,
        ignores = ctx.attr.ignores,
        onnx_compiler = compiler,
        supports_data = False,
        supports_dot_graph = True,
        supports_pages = False,
        supports_report = False,
        supports_tune = False,
        supports_verify = False,
        target_npus = ctx.attr.target_npus,
        vendor_command = ctx.attr.command_line,
        verifier = None,
        worker_protocol = "",
    )
    return [info, platform_common.ToolchainInfo(npu_compiler = info)]

npu_vendor_compiler_toolchain = rule(
    implementation = _impl,
    doc = _DOC,
    attrs = _ATTRS,
    # One compiler, with one path, for all models.
    cfg = reset_transition,
    provides = [NpuCompilerInfo, platform_common.ToolchainInfo],
)
