"""The rule that links compiled models into a bundle."""

load(":default_npu.bzl", "bundle_transition")
load(":display_form.bzl", "display_form")
load(":execution_requirements.bzl", "EXECUTION_REQUIREMENTS")
load(":npu_bundle_info.bzl", "NpuBundleInfo")
load(":npu_model_info.bzl", "NpuModelInfo")
load(":npu_model_matrix_info.bzl", "NpuModelMatrixInfo")
load(":vendor_command.bzl", "refuse_vendor_enf")

_DOC = """\
Links compiled models into one deployable archive, `<name>.tar`, with a manifest.

A model's name in the bundle is its target's name without a trailing `_enf`, or the one that `names` gives it. The archive depends on nothing but the ENFs and
their names. It is also in the runfiles. Every build checks it (`--norun_validations` switches that off).

With `target_npu` the models are compiled for that NPU, whatever the platform or the settings say; a model that names another one
itself is refused.

Output groups: `tree` (the unpacked archive, a directory), `manifest` (manifest.json and manifest.binpb).
"""

_ATTRS = {
    "models": attr.label_list(
        doc = "The `npu_model` targets. One that is there twice, under its label and an alias, is one model.",
        cfg = bundle_transition,
        providers = [[NpuModelInfo], [NpuModelMatrixInfo]],
    ),
    "names": attr.label_keyed_string_dict(
        doc = "`npu_model` targets with the names that they have in the bundle, besides `models`: `{\":resnet50_warboy_b1_enf\": \"resnet50\"}`.",
        cfg = bundle_transition,
        providers = [[NpuModelInfo], [NpuModelMatrixInfo]],
    ),
    "target_npu": attr.string(
        doc = "The NPU that all models of the bundle are for; models that name none are compiled for it. An empty string: " +
              "each model as it is outside of the bundle.",
    ),
}

_TOOLS_TYPE = Label("//furiosa_rules:tools_toolchain_type")

# The bundler's own limits, known before anything is built.
_MAX_NAME = 80
_NAME_CHARS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."

def _check_name(name, label):
    # The name becomes a file's name, an argument's beginning, and what follows # in `vision.tar#resnet50`.
    if not name or len(name) > _MAX_NAME or name.lstrip(_NAME_CHARS) or name[0] in "-.":
        fail(("models: %s cannot have the name '%s' in the bundle; a name is made of up to %d letters, digits, '-', '_' and '.', " +
              "and begins with neither '-' nor '.'") % (display_form(label), name, _MAX_NAME))

def _check_model(target, target_npu):
    if NpuModelMatrixInfo in target:
        fail("models: %s is an npu_model_matrix; list those of its models that the bundle is to have: %s" % (
            display_form(target.label),
            ", ".join([display_form(label) for label in target[NpuModelMatrixInfo].models]),
        ))
    m = target[NpuModelInfo]
    refuse_vendor_enf("models", m, "npu_bundle")
    if target_npu and m.target_npu != target_npu:
        fail("models: %s names target_npu '%s' itself, but the bundle is for '%s'; leave target_npu out of one of them" % (
            display_form(m.label),
            m.target_npu,
            target_npu,
        ))

def _models(ctx):
    """The models by their names in the bundle."""
    found = {}
    for target, name in [(t, None) for t in ctx.attr.models] + ctx.attr.names.items():
        _check_model(target, ctx.attr.target_npu)
        m = target[NpuModelInfo]
        name = m.model_name if name == None else name
        _check_name(name, m.label)
        other = found.get(name, m)
        if other.label != m.label:
            fail("models: %s and %s would both be '%s' in the bundle; give one of them another name in `names`" % (
                display_form(other.label),
                display_form(m.label),
                name,
            ))
        found[name] = m
    if not found:
        fail("models is empty; a bundle needs at least one npu_model")
    return found

def _impl(ctx):
    models = _models(ctx)

    tar = ctx.actions.declare_file(ctx.label.name + ".tar")
    manifest_json = ctx.actions.declare_file(ctx.label.name + ".manifest/manifest.json")
    manifest_binpb = ctx.actions.declare_file(ctx.label.name + ".manifest/manifest.binpb")
    args = ctx.actions.args()
    args.use_param_file("@%s", use_always = True)
    args.set_param_file_format("multiline")
    args.add("pack")
    args.add("--output", tar)
    args.add("--manifest-json", manifest_json)
    args.add("--manifest-binpb", manifest_binpb)
    for name, m in models.items():
        args.add("--model", m.enf, format = name + "=%s")
    _run_bundler(
        ctx,
        arguments = [args],
        inputs = [m.enf for m in models.values()],
        outputs = [tar, manifest_json, manifest_binpb],
        mnemonic = "NpuBundle",
        progress_message = "Bundling %%{label} (%d model%s)" % (len(models), "" if len(models) == 1 else "s"),
    )
    tree = _unpack(ctx, tar)

    return [
        DefaultInfo(files = depset([tar]), runfiles = ctx.runfiles([tar])),
        OutputGroupInfo(
            manifest = depset([manifest_json, manifest_binpb]),
            tree = depset([tree]),
            # Bazel adds the models' validations by itself.
            _validation = depset([_verify(ctx, tar)]),
        ),
        NpuBundleInfo(
            bundle = tar,
            manifest_binpb = manifest_binpb,
            manifest_json = manifest_json,
            models = models.values(),
            tree = tree,
        ),
    ]

def _unpack(ctx, tar):
    """Adds the action that unpacks the archive, run only for who asks for it, and returns the directory."""
    tree = ctx.actions.declare_directory(ctx.label.name + ".tree")
    args = ctx.actions.args()
    args.add("unpack", tar)
    args.add_all("--output", [tree], expand_directories = False)
    _run_bundler(
        ctx,
        arguments = [args],
        inputs = [tar],
        outputs = [tree],
        mnemonic = "NpuUnpack",
        progress_message = "Unpacking the bundle %{label}",
    )
    return tree

def _verify(ctx, tar):
    """Adds the action that verifies the archive, and returns its stamp file."""
    stamp = ctx.actions.declare_file(ctx.label.name + ".tar.verified")
    args = ctx.actions.args()
    args.add("verify", tar)
    args.add("--stamp", stamp)

    # The verification of each model has tried what runs on the host, unless its target says otherwise.
    args.add("--no-host-trial")
    _run_bundler(
        ctx,
        arguments = [args],
        inputs = [tar],
        outputs = [stamp],
        mnemonic = "NpuVerify",
        progress_message = "Verifying the bundle %{label}",
    )
    return stamp

def _run_bundler(ctx, **kwargs):
    bundler = ctx.toolchains[_TOOLS_TYPE].npu_tools.bundler
    ctx.actions.run(
        executable = bundler.executable,
        tools = bundler.tools,
        toolchain = _TOOLS_TYPE,
        env = {},
        execution_requirements = EXECUTION_REQUIREMENTS,
        **kwargs
    )

npu_bundle = rule(
    implementation = _impl,
    doc = _DOC,
    attrs = _ATTRS,
    provides = [NpuBundleInfo],
    toolchains = [_TOOLS_TYPE],
)
