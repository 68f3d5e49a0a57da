"""The rule of all models of a matrix."""

load(":npu_model_info.bzl", "NpuModelInfo")
load(":npu_model_matrix_info.bzl", "NpuModelMatrixInfo")

def _impl(ctx):
    enfs = [m[NpuModelInfo].enf for m in ctx.attr.models]
    return [
        DefaultInfo(files = depset(enfs), runfiles = ctx.runfiles(enfs)),
        NpuModelMatrixInfo(models = [m.label for m in ctx.attr.models]),
    ]

npu_model_matrix = rule(
    implementation = _impl,
    doc = "The ENFs of the models of a matrix.",
    attrs = {
        "models": attr.label_list(
            doc = "The models.",
            mandatory = True,
            providers = [NpuModelInfo],
        ),
    },
    provides = [NpuModelMatrixInfo],
)
