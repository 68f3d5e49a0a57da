"""The rule that links compiled models into a bundle."""

load(":default_npu.bzl", "bundle_transition")
load(":execution_requirements.bzl", "EXECUTION_REQUIREMENTS")
load(":npu_bundle_info.bzl", "NpuBundleInfo")
load(":npu_model_info.bzl", "NpuModelInfo")
load(":vendor_command.bzl", "refuse_vendor_enf")

_DOC = """\
Links compiled models into one deployable archive, `<name>.tar`, with a manifest.

A model's name in the bundle is its target's name without a trailing `_enf`. The archive depends on nothing but the ENFs and
their names. It is also in the runfiles. Every build checks it (`--norun_validations` switches that off).

With `target_npu` the models are compiled for that NPU, whatever the platform or the settings say; a model that names another one
itself is refused.

Output groups: `tree` (the unpacked archive, a directory), `manifest` (manifest.json and manifest.binpb).
"""

_ATTRS = {
    "models": attr.label_list(
        doc = "The `npu_model` targets.",
        cfg = bundle_transition,
        mandatory = True,
        providers = [NpuModelInfo],
    ),
    "target_npu": attr.string(
        doc = "The NPU that all models of the bundle are for; models that name none are compiled for it. An empty string: " +
              "each model as it is outside of the bundle.",
    ),
    "_bundler": attr.label(
        default = "//runtime:furiosa_bundler",
        cfg = "exec",
        executable = True,
    ),
}

# The bundler's own limits, known before anything is built.
_MAX_NAME = 80
_NAME_CHARS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."

def _check_models(models, target_npu):
    if not models:
        fail("models is empty; a bundle needs at least one npu_model")
    labels = {}
    for m in models:
        refuse_vendor_enf("models", m, "npu_bundle")

        # The name becomes a file's name, an argument's beginning, and what follows # in `vision.tar#resnet50`.
        if len(m.model_name) > _MAX_NAME or m.model_name.lstrip(_NAME_CHARS) or m.model_name[0] in "-.":
            fail(("models: %s cannot have the name '%s' in the bundle; a name is made of up to %d letters, digits, '-', '_' and '.', " +
                  "and begins with neither '-' nor '.'") % (_show(m.label), m.model_name, _MAX_NAME))
        if m.model_name in labels:
            fail("models: %s and %s would both be '%s' in the bundle; rename one of them" % (
                _show(labels[m.model_name]),
                _show(m.label),
                m.model_name,
            ))
        labels[m.model_name] = m.label
        if target_npu and m.target_npu != target_npu:
            fail("models: %s names target_npu '%s' itself, but the bundle is for '%s'; leave target_npu out of one of them" % (
                _show(m.label),
                m.target_npu,
                target_npu,
            ))

def _show(label):
    """The label as the user writes it."""
    text = str(label)
    return text.removeprefix("@@") if text.startswith("@@//") else text

def _impl(ctx):
    models = [t[NpuModelInfo] for t in ctx.attr.models]
    _check_models(models, ctx.attr.target_npu)

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
    for m in models:
        args.add("--model", m.enf, format = m.model_name + "=%s")
    _run_bundler(
        ctx,
        arguments = [args],
        inputs = [m.enf for m in models],
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
            models = models,
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
    ctx.actions.run(
        executable = ctx.executable._bundler,
        env = {},
        execution_requirements = EXECUTION_REQUIREMENTS,
        **kwargs
    )

npu_bundle = rule(
    implementation = _impl,
    doc = _DOC,
    attrs = _ATTRS,
    provides = [NpuBundleInfo],
)
