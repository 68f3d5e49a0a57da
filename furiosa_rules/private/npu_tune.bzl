"""The rule that predicts what a model does at many batch sizes."""

load(":default_npu.bzl", "reset_transition")
load(":display_form.bzl", "display_form")
load(":execution_requirements.bzl", "EXECUTION_REQUIREMENTS", "worker_requirements")
load(":model_data.bzl", "add_data", "check_beside")
load(":npu_compiler_info.bzl", "compiler_of")
load(":npu_model_info.bzl", "NpuModelInfo")
load(":selection.bzl", "SELECTION_ATTRS", "selection_arguments")

_DOC = """\
Predicts throughput, latency and memory of a model for each NPU and many batch sizes, and says which is best and where throughput falls and
why: `furiosa tune` as a build step (docs/tune.md).

A target `x` writes `x.txt`, a table for each NPU, and `x.json`, the same for programs. Output groups: `table`, `json`.
"""

_ATTRS = SELECTION_ATTRS | {
    "batch_sizes": attr.int_list(
        doc = "The batch sizes; left out: 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48 and 64.",
    ),
    "compatibility": attr.string(
        doc = "As in `npu_model`; with `model`, what that says.",
    ),
    "data": attr.label_list(
        doc = "Files that `src` refers to, as in `npu_model`.",
        allow_files = True,
        cfg = reset_transition,
    ),
    "model": attr.label(
        doc = "An `npu_model` target, whose model file is taken with its `data`, `compatibility`, `input_shapes`, `dims`, `inputs`, `outputs` and `signature`; nothing else of it. In the place of `src`.",
        providers = [NpuModelInfo],
    ),
    "optimize": attr.int(
        doc = "How much each compilation tries for a schedule of less time, as in `npu_model`.",
        default = 1,
        values = [0, 1, 2],
    ),
    "src": attr.label(
        doc = "The model file, `.onnx` or `.tflite`.",
        allow_single_file = [".onnx", ".tflite"],
        cfg = reset_transition,
    ),
    "target_npus": attr.string_list(
        doc = "The NPUs; left out: all that the compiler knows.",
    ),
}

_TOOLCHAIN_TYPE = Label("//furiosa_rules:toolchain_type")
_JOBS = 2  # compilations at a time

def _resources(_os, _inputs):
    return {"cpu": _JOBS}

def _source(ctx):
    """The model file, what it refers to, the release, and what of the file is compiled."""
    if bool(ctx.attr.src) == bool(ctx.attr.model):
        fail("give either src, a model file, or model, an npu_model target")
    if ctx.attr.src:
        return ctx.file.src, ctx.files.data, ctx.attr.compatibility or "latest", selection_arguments(ctx.attr)
    for name in ["data", "compatibility"] + SELECTION_ATTRS.keys():
        if getattr(ctx.attr, name):
            fail("%s goes with src; with model it is that of %s" % (name, display_form(ctx.attr.model.label)))
    info = ctx.attr.model[NpuModelInfo]
    return info.source, info.data, info.compatibility, info.selection

def _check(ctx, toolchain):
    if not toolchain.supports_tune:
        fail("the compiler of the toolchain has no command `tune`; npu_tune works with the default one")
    for npu in ctx.attr.target_npus:
        if npu not in toolchain.target_npus:
            fail("target_npus holds '%s', but the compiler knows only %s" % (npu, ", ".join(["'%s'" % k for k in toolchain.target_npus])))
    for size in ctx.attr.batch_sizes:
        if size < 1:
            fail("batch_sizes holds %d, but a batch size is at least 1" % size)

def _impl(ctx):
    toolchain = ctx.toolchains[_TOOLCHAIN_TYPE].npu_compiler
    _check(ctx, toolchain)
    src, data, compatibility, selection = _source(ctx)
    table = ctx.actions.declare_file(ctx.label.name + ".txt")
    json = ctx.actions.declare_file(ctx.label.name + ".json")
    args = ctx.actions.args()
    args.use_param_file("@%s", use_always = True)
    args.set_param_file_format("multiline")
    args.add("tune")
    args.add(src)
    if toolchain.supports_data:
        add_data(args, src, data)
    else:
        check_beside(src, data)
    args.add_joined("--target-npu", ctx.attr.target_npus or toolchain.target_npus, join_with = ",")
    args.add_joined("--batch-sizes", ctx.attr.batch_sizes, join_with = ",")
    args.add_all(selection)
    args.add("--compatibility", compatibility)
    if ctx.attr.optimize != 1:
        args.add("--optimize", ctx.attr.optimize)
    args.add("--jobs", _JOBS)
    args.add("-o", table)
    args.add("-o", json)
    compiler = compiler_of(toolchain, src)
    ctx.actions.run(
        executable = compiler.executable,
        arguments = [args],
        tools = compiler.tools,
        inputs = [src] + data,
        outputs = [table, json],
        env = toolchain.env,
        execution_requirements = EXECUTION_REQUIREMENTS | worker_requirements(toolchain.worker_protocol),
        mnemonic = "NpuTune",
        progress_message = "Tuning %{label}",
        resource_set = _resources,
        toolchain = _TOOLCHAIN_TYPE,
    )
    return [
        DefaultInfo(files = depset([table, json]), runfiles = ctx.runfiles([table, json])),
        OutputGroupInfo(json = depset([json]), table = depset([table])),
    ]

npu_tune = rule(
    implementation = _impl,
    doc = _DOC,
    attrs = _ATTRS,
    toolchains = [_TOOLCHAIN_TYPE],
)
