"""The rule that declares an NPU compiler."""

load(":default_npu.bzl", "reset_transition")
load(":npu_compiler_info.bzl", "NpuCompilerInfo")
load(":npu_tool_info.bzl", "tool_of")

_DOC = """\
Declares an NPU compiler, to be registered with `toolchain(toolchain_type = "@furiosa_rules//furiosa_rules:toolchain_type")`.

`npu_model` runs the compiler as `COMPILER @FILE`; FILE holds one argument a line:

    compile MODEL -o OUT.enf --target-npu NPU (--batch-size N | --auto-batch-size) --hermetic [--data=[LOCATION]=FILE ...] [--report-json FILE] [--dot-graph FILE] [copts...]

It must write every named output and end with exit code 0, or explain itself on stderr and end with another code. It gets no
environment variables and no network.
"""

_ATTRS = {
    "compiler": attr.label(
        doc = "The compiler: a target that can be run, or an executable file.",
        allow_files = True,
        cfg = "exec",
        executable = True,
        mandatory = True,
    ),
    "onnx_compiler": attr.label(
        doc = "What runs for ONNX models where that is not the compiler: a program with the same command line that has fewer libraries. It " +
              "speaks the compiler's worker protocol.",
        allow_files = True,
        cfg = "exec",
        executable = True,
    ),
    "supports_data": attr.bool(
        doc = "Whether `compile` (and `tune`) take `--hermetic`, after which they open no file that is not named, and `--data " +
              "[LOCATION=]FILE` for each file of external data; a `=` of LOCATION, which is what the model calls it, is doubled. " +
              "Without it `data` has to lie in or below the folder of `src`.",
        default = True,
    ),
    "supports_dot_graph": attr.bool(
        doc = "Whether `compile` takes `--dot-graph FILE`. Without it `npu_model` has no output group `dot`.",
        default = True,
    ),
    "supports_pages": attr.bool(
        doc = "Whether `COMPILER enf report ENF REPORT --report FILE --analyze-memory FILE --chrome-trace FILE` writes pages and a " +
              "trace from an ENF and its report. Without it, or without a report, `npu_model` has no output groups `html`, " +
              "`memory` and `trace`.",
        default = True,
    ),
    "supports_report": attr.bool(
        doc = "Whether `compile` takes `--report-json FILE`. Without it `npu_model` has no output group `report`.",
        default = True,
    ),
    "supports_tune": attr.bool(
        doc = "Whether `COMPILER tune MODEL ...` writes the tables of `npu_tune`, which is refused without it.",
        default = True,
    ),
    "supports_verify": attr.bool(
        doc = "Whether `COMPILER enf verify FILE --stamp STAMP` checks an ENF and writes STAMP if it is valid. " +
              "Without it `npu_model` has no validation.",
        default = True,
    ),
    "target_npus": attr.string_list(
        doc = "The NPUs the compiler knows; `npu_model` refuses others before anything is built.",
        default = ["warboy", "warboy-2pe"],
    ),
    "verifier": attr.label(
        doc = "What runs `enf verify` where that is not the compiler: a program with the same command line that also has the " +
              "runtimes of host clusters, and so can try them. It speaks the compiler's worker protocol.",
        allow_files = True,
        cfg = "exec",
        executable = True,
    ),
    "worker_protocol": attr.string(
        doc = "Where the compiler runs as a multiplex persistent worker (`COMPILER --persistent_worker`), the protocol that it speaks: " +
              "`json` or `proto`. It must honour the request's sandbox folder and answer cancellations.",
        values = ["", "json", "proto"],
    ),
}

def _impl(ctx):
    info = NpuCompilerInfo(
        compiler = tool_of(ctx.attr.compiler),
        env = {},
        ignores = [],
        onnx_compiler = tool_of(ctx.attr.onnx_compiler or ctx.attr.compiler),
        supports_data = ctx.attr.supports_data,
        supports_dot_graph = ctx.attr.supports_dot_graph,
        supports_pages = ctx.attr.supports_pages,
        supports_report = ctx.attr.supports_report,
        supports_tune = ctx.attr.supports_tune,
        supports_verify = ctx.attr.supports_verify,
        target_npus = ctx.attr.target_npus,
        vendor_command = "",
        verifier = tool_of(ctx.attr.verifier or ctx.attr.compiler),
        worker_protocol = ctx.attr.worker_protocol,
    )
    return [info, platform_common.ToolchainInfo(npu_compiler = info)]

npu_compiler_toolchain = rule(
    implementation = _impl,
    doc = _DOC,
    attrs = _ATTRS,
    # One compiler, with one path, for all models.
    cfg = reset_transition,
    provides = [NpuCompilerInfo, platform_common.ToolchainInfo],
)
