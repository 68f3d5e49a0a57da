"""The aspect that reports which operators of models run on the host."""

load(":display_form.bzl", "display_form")
load(":execution_requirements.bzl", "EXECUTION_REQUIREMENTS")
load(":npu_model_info.bzl", "NpuModelInfo")

_DOC = """\
Reports what keeps operators of models off the NPU, for every `npu_model` that the aspect reaches:

    bazel build //... --aspects=@furiosa_rules//furiosa_rules:defs.bzl%npu_lint --output_groups=npu_lint

The output group `npu_lint` holds `x.sarif` (SARIF 2.1.0) and `x.lint.json` for each model `x`. Findings do not fail the build.
"""

_LintInfo = provider(
    doc = "What was found so far.",
    fields = {"files": "depset of Files: the findings of a target and of what it depends on."},
)

# Along which attributes models are looked for.
_ATTRIBUTES = ["actual", "data", "deps", "model", "models", "srcs", "tests"]

_TOOLS_TYPE = Label("//furiosa_rules:tools_toolchain_type")

def _impl(target, ctx):
    own = _lint(ctx, target[NpuModelInfo]) if NpuModelInfo in target else []
    found = []
    for name in _ATTRIBUTES:
        value = getattr(ctx.rule.attr, name, None)
        for dep in value if type(value) == "list" else [value]:
            if type(dep) == "Target" and _LintInfo in dep:
                found.append(dep[_LintInfo].files)
    files = depset(own, transitive = found)
    return [_LintInfo(files = files), OutputGroupInfo(npu_lint = files)]

def _lint(ctx, info):
    """Adds the action that writes the findings of a model, and returns its files; none where the compiler writes no report."""
    if not info.report:
        return []
    stem = info.report.basename.removesuffix(".report.json")
    folder = ctx.label.name.rpartition("/")[0]
    path = (folder + "/" if folder else "") + stem
    sarif = ctx.actions.declare_file(path + ".sarif")
    own = ctx.actions.declare_file(path + ".lint.json")
    source = info.source.short_path
    args = ctx.actions.args()
    args.add(info.report)
    args.add("--source", "external/" + source.removeprefix("../") if source.startswith("../") else source)
    args.add("--label", display_form(ctx.label))
    args.add("--sarif", sarif)
    args.add("--json", own)
    lint = ctx.toolchains[_TOOLS_TYPE].npu_tools.lint
    ctx.actions.run(
        executable = lint.executable,
        tools = lint.tools,
        toolchain = _TOOLS_TYPE,
        arguments = [args],
        inputs = [info.report],
        outputs = [sarif, own],
        env = {},
        execution_requirements = EXECUTION_REQUIREMENTS,
        mnemonic = "NpuLint",
        progress_message = "Linting %{label}",
    )
    return [sarif, own]

npu_lint = aspect(
    implementation = _impl,
    doc = _DOC,
    attr_aspects = _ATTRIBUTES,
    toolchains = [_TOOLS_TYPE],
)
