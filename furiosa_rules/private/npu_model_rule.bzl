"""The rule that compiles a model file to an ENF; the macro of its name (npu_model.bzl) takes its attributes in more forms."""

load(":build_setting.bzl", "BuildSettingInfo")
load(":default_npu.bzl", "DefaultNpuInfo", "reset_transition")
load(":display_form.bzl", "display_form")
load(":execution_requirements.bzl", "EXECUTION_REQUIREMENTS", "worker_requirements")
load(":model_data.bzl", "add_data", "check_beside")
load(":npu_compiler_info.bzl", "compiler_of")
load(":npu_model_info.bzl", "NpuModelInfo")
load(":selection.bzl", "SELECTION_ATTRS", "SELECTION_OPTIONS", "selection_arguments")
load(":share.bzl", "check_share")
load(":vendor_command.bzl", "check_vendor_attributes", "vendor_arguments")

AUTO = -1  # in the place of "auto", as an attribute of ints holds no string

# More of what they mean says the macro.
_ATTRS = SELECTION_ATTRS | {
    "batch_size": attr.int(doc = "Samples in one inference; -1: the compiler chooses; 0: the setting."),
    "compatibility": attr.string(doc = "The release of the vendor's SDK whose operators the NPU may take."),
    "copts": attr.string_list(doc = "More options for the compiler."),
    "data": attr.label_list(
        doc = "Files that `src` refers to.",
        allow_files = True,
        cfg = reset_transition,
    ),
    "host_trial": attr.bool(
        doc = "Whether the check of the ENF runs what is left to the host.",
        default = True,
    ),
    "max_host_operators": attr.int(
        doc = "How many of the model's operators may run on the host; -1: any number.",
        default = -1,
    ),
    "min_npu_coverage": attr.string(doc = "The least share of the model's multiply-accumulates that the NPU must do, `0` to `1`."),
    "optimize": attr.int(
        doc = "How much the compiler tries for a schedule of less time.",
        default = 1,
        values = [0, 1, 2],
    ),
    "src": attr.label(
        doc = "The model file, `.onnx` or `.tflite`.",
        allow_single_file = [".onnx", ".tflite"],
        cfg = reset_transition,
        mandatory = True,
    ),
    "target_npu": attr.string(doc = "The NPU; left out: the default of the bundle, the platform or the setting."),
    "_batch_size": attr.label(default = "//furiosa_rules/settings:batch_size", providers = [BuildSettingInfo]),
    "_default_npu": attr.label(default = "//furiosa_rules/settings:npu", providers = [DefaultNpuInfo]),
}

_TOOLCHAIN_TYPE = Label("//furiosa_rules:toolchain_type")

_RELEASES = ("0.6.3", "0.10", "latest")

# Options of the compiler that are the rule's business, and what a user wants instead.
_RULE_OPTIONS = SELECTION_OPTIONS | {
    "--analyze-memory": "the output group memory",
    "--auto-batch-size": "batch_size",
    "--batch": "batch_size",
    "--batch-size": "batch_size",
    "--chrome-trace": "the output group trace",
    "--compatibility": "compatibility",
    "--data": "data",
    "--dot-graph": "the output group dot",
    "--hermetic": "data, beside which the compiler reads nothing",
    "--max-host-operators": "max_host_operators",
    "--min-npu-coverage": "min_npu_coverage",
    "--optimize": "optimize",
    "--output": "the target's name",
    "--report": "the output group html",
    "--report-json": "the output group report",
    "--target-ir": "the command `furiosa compile`",
    "--target-npu": "target_npu",
    "-o": "the target's name",
}

def _target_npu(ctx, known):
    """The NPU to compile for: the attribute, else the default."""
    default = ctx.attr._default_npu[DefaultNpuInfo]
    npu = ctx.attr.target_npu or default.npu
    if npu not in known:
        fail("target_npu is '%s'%s, but the compiler knows only %s" % (
            npu,
            "" if ctx.attr.target_npu else " (from %s)" % default.origin,
            ", ".join(["'%s'" % k for k in known]),
        ))
    return npu

def _batch_size(ctx):
    """The batch size: the attribute, else the setting; 0 where the compiler chooses it."""
    size = ctx.attr.batch_size
    origin = ""
    if not size:
        value = ctx.attr._batch_size[BuildSettingInfo].value
        origin = " (from %s)" % display_form(ctx.attr._batch_size.label)
        if value == "auto":
            return 0
        if not value.removeprefix("-").isdigit():
            fail("batch_size is '%s'%s, but must be a number or auto" % (value, origin))
        size = int(value)
    elif size == AUTO:
        return 0
    if size < 1:
        fail("batch_size is %d%s, but must be at least 1" % (size, origin))
    return size

def _check_compatibility(release):
    if release and release not in _RELEASES:
        fail("compatibility is '%s', but must be one of %s" % (release, ", ".join(["'%s'" % r for r in _RELEASES])))

def _check_line_breaks(copts):
    for opt in copts:
        if "\n" in opt:
            fail("copts: %r holds a line break, which no option of the compiler has" % opt)

def _check_copts(copts):
    for opt in copts:
        instead = _RULE_OPTIONS.get(opt.split("=")[0])
        if instead:
            fail("copts: %s is not for npu_model; use %s" % (opt.split("=")[0], instead))

def _impl(ctx):
    toolchain = ctx.toolchains[_TOOLCHAIN_TYPE].npu_compiler
    src = ctx.file.src
    target_npu = _target_npu(ctx, toolchain.target_npus)
    batch_size = _batch_size(ctx)
    _check_compatibility(ctx.attr.compatibility)
    check_share("min_npu_coverage", ctx.attr.min_npu_coverage)
    if ctx.attr.max_host_operators < -1:
        fail("max_host_operators is %d, but must not be negative" % ctx.attr.max_host_operators)
    _check_line_breaks(ctx.attr.copts)
    if toolchain.vendor_command:
        check_vendor_attributes(ctx.attr, toolchain)
    else:
        _check_copts(ctx.attr.copts)
    if not toolchain.supports_data:
        check_beside(src, ctx.files.data)

    stem = ctx.label.name.removesuffix("_enf") or ctx.label.name
    enf = ctx.actions.declare_file(stem + ".enf")
    report = ctx.actions.declare_file(stem + ".report.json") if toolchain.supports_report else None
    dot = ctx.actions.declare_file(stem + ".dot") if toolchain.supports_dot_graph else None

    args = ctx.actions.args()
    if toolchain.vendor_command:
        vendor_arguments(args, toolchain, src, enf, dot, target_npu, batch_size, ctx.attr.copts)
    else:
        _arguments(ctx, args, toolchain, src, enf, report, dot, target_npu, batch_size)
    compiler = compiler_of(toolchain, src)
    ctx.actions.run(
        executable = compiler.executable,
        arguments = [args],
        tools = compiler.tools,
        inputs = [src] + ctx.files.data,
        outputs = [f for f in (enf, report, dot) if f],
        env = toolchain.env,
        execution_requirements = EXECUTION_REQUIREMENTS | worker_requirements(toolchain.worker_protocol),
        mnemonic = "NpuCompile",
        progress_message = "Compiling %%{label} for %s, batch size %s" % (target_npu, batch_size or "auto"),
        toolchain = _TOOLCHAIN_TYPE,
    )

    groups = {}
    if report:
        groups["report"] = depset([report])
    if dot:
        groups["dot"] = depset([dot])
    if report and toolchain.supports_pages:
        groups.update(_pages(ctx, compiler, toolchain.worker_protocol, enf, report, stem))
    if toolchain.supports_verify:
        groups["_validation"] = depset([_verify(ctx, toolchain, enf, stem)])

    return [
        DefaultInfo(files = depset([enf]), runfiles = ctx.runfiles([enf])),
        OutputGroupInfo(**groups),
        NpuModelInfo(
            auto_batch_size = not batch_size,
            batch_size = batch_size,
            compile_options = _options(ctx, target_npu, batch_size) + ctx.attr.copts,
            compatibility = ctx.attr.compatibility or "latest",
            data = ctx.files.data,
            dot_graph = dot,
            enf = enf,
            label = ctx.label,
            model_name = stem.split("/")[-1],
            report = report,
            selection = selection_arguments(ctx.attr),
            source = src,
            target_npu = target_npu,
            vendor_command = toolchain.vendor_command,
        ),
    ]

def _arguments(ctx, args, toolchain, src, enf, report, dot, target_npu, batch_size):
    """Adds the arguments of a compiler that has this repository's command line."""
    args.use_param_file("@%s", use_always = True)
    args.set_param_file_format("multiline")
    args.add("compile")
    args.add(src)
    args.add("-o", enf)
    args.add_all(_options(ctx, target_npu, batch_size))
    if toolchain.supports_data:
        add_data(args, src, ctx.files.data)
    if report:
        args.add("--report-json", report)
    if dot:
        args.add("--dot-graph", dot)
    args.add_all(ctx.attr.copts)

def _options(ctx, target_npu, batch_size):
    """The arguments that name no file, but `copts`."""
    options = ["--target-npu", target_npu]
    options += ["--batch-size", str(batch_size)] if batch_size else ["--auto-batch-size"]
    if ctx.attr.compatibility:
        options += ["--compatibility", ctx.attr.compatibility]
    if ctx.attr.min_npu_coverage:
        options += ["--min-npu-coverage", ctx.attr.min_npu_coverage]
    if ctx.attr.max_host_operators >= 0:
        options += ["--max-host-operators", str(ctx.attr.max_host_operators)]
    if ctx.attr.optimize != 1:
        options += ["--optimize", str(ctx.attr.optimize)]
    return options + selection_arguments(ctx.attr)

def _verify(ctx, toolchain, enf, stem):
    """Adds the action that verifies the ENF, and returns its stamp file."""
    stamp = ctx.actions.declare_file(stem + ".enf.verified")
    args = ctx.actions.args()
    args.use_param_file("@%s", use_always = True)
    args.set_param_file_format("multiline")
    args.add("enf")
    args.add("verify", enf)
    args.add("--stamp", stamp)
    if not ctx.attr.host_trial:
        args.add("--no-host-trial")
    ctx.actions.run(
        executable = toolchain.verifier.executable,
        arguments = [args],
        tools = toolchain.verifier.tools,
        inputs = [enf],
        outputs = [stamp],
        env = {},
        execution_requirements = EXECUTION_REQUIREMENTS | worker_requirements(toolchain.worker_protocol),
        mnemonic = "NpuVerify",
        progress_message = "Verifying the ENF of %{label}",
        toolchain = _TOOLCHAIN_TYPE,
    )
    return stamp

def _pages(ctx, compiler, worker_protocol, enf, report, stem):
    """Adds the action that writes what people look at, and returns its output groups.

    It is not part of NpuCompile: a build that asks for none of these neither makes nor caches them.
    """
    files = {
        "html": ("--report", ctx.actions.declare_file(stem + ".report.html")),
        "memory": ("--analyze-memory", ctx.actions.declare_file(stem + ".memory.html")),
        "trace": ("--chrome-trace", ctx.actions.declare_file(stem + ".trace.json")),
    }
    args = ctx.actions.args()
    args.use_param_file("@%s", use_always = True)
    args.set_param_file_format("multiline")
    args.add("enf")
    args.add("report", enf)
    args.add(report)
    for option, file in files.values():
        args.add(option, file)
    ctx.actions.run(
        executable = compiler.executable,
        arguments = [args],
        tools = compiler.tools,
        inputs = [enf, report],
        outputs = [file for _, file in files.values()],
        env = {},
        execution_requirements = EXECUTION_REQUIREMENTS | worker_requirements(worker_protocol),
        mnemonic = "NpuReport",
        progress_message = "Writing the report of %{label}",
        toolchain = _TOOLCHAIN_TYPE,
    )
    return {group: depset([file]) for group, (_, file) in files.items()}

npu_model = rule(
    implementation = _impl,
    doc = "Compiles a model for an NPU.",
    attrs = _ATTRS,
    provides = [NpuModelInfo],
    toolchains = [_TOOLCHAIN_TYPE],
)
