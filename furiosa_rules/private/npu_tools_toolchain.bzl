"""The rule that declares the tools beside the compiler."""

load(":default_npu.bzl", "reset_transition")
load(":npu_tool_info.bzl", "tool_of")
load(":npu_tools_info.bzl", "NpuToolsInfo")

_DOC = """\
Declares the tools that the rules run beside the compiler, to be registered with
`toolchain(toolchain_type = "@furiosa_rules//furiosa_rules:tools_toolchain_type")`. Those of this repository are the default, and each attribute is one of them
where it is left out; their command lines are no public interface, so another one is a wrapper of it, or itself for other machines.
"""

def _tool(default, doc):
    return attr.label(
        doc = doc,
        default = default,
        allow_files = True,
        cfg = "exec",
        executable = True,
    )

_TOOLS = {
    "accuracy": _tool("//runtime:furiosa_accuracy", "What `npu_accuracy_test` runs."),
    "budget": _tool("//compiler:furiosa_budget", "What `npu_budget_test` runs."),
    "bundler": _tool("//runtime:furiosa_bundler", "What `npu_bundle` and `npu_bundle_layer` run."),
    "compare": _tool("//runtime:furiosa_compare", "What `npu_model_test` runs."),
    "lint": _tool("//compiler:furiosa_lint", "What `npu_lint` runs."),
    "quantizer": _tool("//compiler:furiosa_quantizer", "What `npu_calibration` and `npu_quantized_model` run."),
    "reproduce": _tool("//compiler:furiosa_reproduce", "What `npu_reproducibility_test` runs."),
}

def _impl(ctx):
    info = NpuToolsInfo(**{name: tool_of(getattr(ctx.attr, name)) for name in _TOOLS})
    return [info, platform_common.ToolchainInfo(npu_tools = info)]

npu_tools_toolchain = rule(
    implementation = _impl,
    doc = _DOC,
    attrs = _TOOLS,
    # The same tools, with the same paths, for all models.
    cfg = reset_transition,
    provides = [NpuToolsInfo, platform_common.ToolchainInfo],
)
