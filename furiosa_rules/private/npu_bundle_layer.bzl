"""The rule that makes a layer of a container image of a bundle."""

load(":execution_requirements.bzl", "EXECUTION_REQUIREMENTS")
load(":npu_bundle_info.bzl", "NpuBundleInfo")

_DOC = """\
Writes a bundle as `<name>.tar`, a layer of a container image, e.g. for `oci_image(tars = [...])` of rules_oci.

The archive is uncompressed POSIX ustar. Files have mode 0644, folders and `run` 0755; all have owner and group 0 and
time 0. Folders above the prefix are no entries, so those of the image keep their mode and owner.

With `runtime` the unpacked layer answers `/opt/models/run --model NAME --input X.npy` where there is a Python
interpreter and nothing else, on the NPU simulator. The layer then is for one platform and one version of Python, those
of the wheels of the target platform; `run` says in one sentence where they do not fit.
"""

def _runtime(runtime):
    return Label("//runtime:portable") if runtime else None

_ATTRS = {
    "bundle": attr.label(
        doc = "The `npu_bundle` target.",
        mandatory = True,
        providers = [NpuBundleInfo],
    ),
    "prefix": attr.string(
        doc = "The folder of the bundle's files in the image.",
        default = "/opt/models",
    ),
    "runtime": attr.bool(
        doc = """Whether to add the program `run`, the runtime with the NPU simulator, and the wheels that it needs \
(numpy, protobuf, threadpoolctl, xxhash). Models of which a part runs on the host need onnxruntime or LiteRT, which \
are not among them: `run` refuses such a model.""",
        default = False,
    ),
    # computed, so that who wants no runtime fetches no wheels for the target platform
    "_runtime_files": attr.label(default = _runtime),
}

_TOOLS_TYPE = Label("//furiosa_rules:tools_toolchain_type")

_PREFIX_CHARS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./"

def _prefix_error(prefix):
    """What is wrong with a prefix, or None."""
    if len(prefix) > 100:
        return "has %d characters, but may have up to 100" % len(prefix)
    strange = prefix.lstrip(_PREFIX_CHARS)
    if strange:
        return "holds %r, but a path in an image is made of letters, digits, '-', '_' and '.'" % strange[0]
    if prefix.endswith("/"):
        return "ends with '/', leave that out" if prefix.strip("/") else "names no folder below '/'"
    parts = prefix.removeprefix("/").split("/")
    if "" in parts:
        return "has two '/' in a row" if prefix.strip("/") else "is empty"
    for part in parts:
        if part in (".", ".."):
            return "holds the part '%s', but must say the place itself" % part
    return None

def _check_prefix(prefix):
    error = _prefix_error(prefix)
    if error:
        fail("prefix '%s' %s; a prefix is a path like '/opt/models'" % (prefix, error))

def _impl(ctx):
    _check_prefix(ctx.attr.prefix)
    bundle = ctx.attr.bundle[NpuBundleInfo].bundle
    layer = ctx.actions.declare_file(ctx.label.name + ".tar")
    runtime = depset()
    if ctx.attr._runtime_files:
        info = ctx.attr._runtime_files[DefaultInfo]
        runtime = depset(transitive = [info.files, info.default_runfiles.files])
    args = ctx.actions.args()
    args.use_param_file("@%s", use_always = True)
    args.set_param_file_format("multiline")
    args.add("layer", bundle)
    args.add("--output", layer)
    args.add("--prefix", ctx.attr.prefix)
    args.add_all(runtime, before_each = "--runtime-file")
    bundler = ctx.toolchains[_TOOLS_TYPE].npu_tools.bundler
    ctx.actions.run(
        executable = bundler.executable,
        tools = bundler.tools,
        toolchain = _TOOLS_TYPE,
        arguments = [args],
        inputs = depset([bundle], transitive = [runtime]),
        outputs = [layer],
        mnemonic = "NpuLayer",
        progress_message = "Writing the layer %{label}",
        env = {},
        execution_requirements = EXECUTION_REQUIREMENTS,
    )
    return [DefaultInfo(files = depset([layer]), runfiles = ctx.runfiles([layer]))]

npu_bundle_layer = rule(
    implementation = _impl,
    doc = _DOC,
    attrs = _ATTRS,
    toolchains = [_TOOLS_TYPE],
)
