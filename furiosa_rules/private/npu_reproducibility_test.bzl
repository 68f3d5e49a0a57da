"""The rule that compiles a model again in other surroundings."""

load(":model_data.bzl", "data_lines")
load(":npu_compiler_info.bzl", "compiler_of")
load(":npu_model_info.bzl", "NpuModelInfo")
load(":test_launcher.bzl", "TEST_ATTRS", "test_launcher")
load(":vendor_command.bzl", "refuse_vendor_enf")

_DOC = """\
Compiles a model again, with the compiler and the options that built it, and fails where an output is not the same, byte for byte, as the one
that was built: with other hash seeds, another time zone, locale, umask and folder, absolute paths, other numbers of threads, and by a worker
where the compiler is one. The log names the first section of the ENF that differs.
"""

_TOOLCHAIN_TYPE = Label("//furiosa_rules:toolchain_type")
_TOOLS_TYPE = Label("//furiosa_rules:tools_toolchain_type")

_ATTRS = TEST_ATTRS | {
    "model": attr.label(
        doc = "The `npu_model` target.",
        mandatory = True,
        providers = [NpuModelInfo],
    ),
}

def _impl(ctx):
    info = ctx.attr.model[NpuModelInfo]
    refuse_vendor_enf("model", info, "npu_reproducibility_test")
    toolchain = ctx.toolchains[_TOOLCHAIN_TYPE].npu_compiler
    compiler = compiler_of(toolchain, info.source)
    lines = [compiler.executable.short_path, info.source.short_path, "--enf", info.enf.short_path]
    for option, file in (("--report", info.report), ("--dot", info.dot_graph)):
        if file:
            lines += [option, file.short_path]
    lines += data_lines(info.source, info.data, is_hermetic = toolchain.supports_data)
    if toolchain.worker_protocol:
        lines += ["--worker", toolchain.worker_protocol]
    lines += ["--option=" + option for option in info.compile_options]
    files = [f for f in [compiler.executable, info.source, info.enf, info.report, info.dot_graph] if f] + info.data
    return test_launcher(ctx, ctx.toolchains[_TOOLS_TYPE].npu_tools.reproduce, lines, files, runfiles = [compiler.runfiles])

npu_reproducibility_test = rule(
    implementation = _impl,
    doc = _DOC,
    attrs = _ATTRS,
    test = True,
    toolchains = [_TOOLCHAIN_TYPE, _TOOLS_TYPE],
)
