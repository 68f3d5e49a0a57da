"""Analysis tests of what decides which NPU a model is for: attribute, bundle, platform, setting, select(); and of npu_model_matrix."""

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts", "unittest")
load("//furiosa_rules:defs.bzl", "NpuBundleInfo", "NpuModelInfo", "npu_bundle", "npu_model", "npu_model_matrix")
load("//furiosa_rules/private:default_npu.bzl", "bundle_transition")
load("//furiosa_rules/private:npu_model_matrix.bzl", "matrix_error")
load(":analysis.bzl", "FAILURE_ATTRS", "action_of", "failure_test", "failure_test_impl", "names_of")

_PLATFORMS = "//command_line_option:platforms"
_SETTING = str(Label("//furiosa_rules/settings:target_npu"))
_WARBOY_PLATFORM = str(Label("//furiosa_rules/platforms:warboy"))

def _model_test_impl(ctx):
    """The model is for the NPU, the batch size and the source that the test's attributes say."""
    env = analysistest.begin(ctx)
    info = analysistest.target_under_test(env)[NpuModelInfo]
    argv = action_of(env, "NpuCompile").argv
    asserts.equals(env, ctx.attr.target_npu, info.target_npu)
    asserts.equals(env, ctx.attr.target_npu, argv[argv.index("--target-npu") + 1])
    if ctx.attr.batch_size:
        asserts.equals(env, ctx.attr.batch_size, info.batch_size)
    if ctx.attr.source:
        asserts.equals(env, ctx.attr.source, info.source.basename)
    return analysistest.end(env)

_MODEL_ATTRS = {
    "batch_size": attr.int(),
    "source": attr.string(),
    "target_npu": attr.string(),
}

_model_test = analysistest.make(_model_test_impl, attrs = _MODEL_ATTRS)
_setting_test = analysistest.make(_model_test_impl, attrs = _MODEL_ATTRS, config_settings = {_SETTING: "warboy"})
_platform_test = analysistest.make(_model_test_impl, attrs = _MODEL_ATTRS, config_settings = {_PLATFORMS: _WARBOY_PLATFORM})
_platform_and_setting_test = analysistest.make(
    _model_test_impl,
    attrs = _MODEL_ATTRS,
    config_settings = {
        _PLATFORMS: _WARBOY_PLATFORM,
        _SETTING: "warboy-2pe",
    },
)

def _bundle_test_impl(ctx):
    """All models of the bundle are for the NPU and the batch size; their sources are those of the bundle's own configuration."""
    env = analysistest.begin(ctx)
    info = analysistest.target_under_test(env)[NpuBundleInfo]
    models = info.models
    asserts.equals(env, ctx.attr.target_npus, [m.target_npu for m in models])
    asserts.equals(env, ctx.attr.batch_sizes, [m.batch_size for m in models])
    for m, source in zip(models, ctx.attr.sources or ["generated.onnx"] * len(models)):
        asserts.equals(env, source, m.source.basename)
        if not m.source.is_source:
            asserts.equals(env, info.bundle.root.path, m.source.root.path, "the source is built once for all NPUs")
    return analysistest.end(env)

_BUNDLE_ATTRS = {
    "batch_sizes": attr.int_list(),
    "sources": attr.string_list(),
    "target_npus": attr.string_list(),
}

_bundle_test = analysistest.make(_bundle_test_impl, attrs = _BUNDLE_ATTRS)
_bundle_on_platform_test = analysistest.make(_bundle_test_impl, attrs = _BUNDLE_ATTRS, config_settings = {_PLATFORMS: _WARBOY_PLATFORM})

_bundle_on_other_platform_test = analysistest.make(
    _bundle_test_impl,
    attrs = _BUNDLE_ATTRS,
    config_settings = {_PLATFORMS: str(Label("//furiosa_rules/platforms:warboy-2pe"))},
)

_ToolInfo = provider(doc = "The compiler that a target gets.", fields = {"path": "string"})

def _tool_impl(ctx):
    return [_ToolInfo(path = ctx.toolchains["//furiosa_rules:toolchain_type"].npu_compiler.compiler.executable.path)]

_tool = rule(implementation = _tool_impl, toolchains = ["//furiosa_rules:toolchain_type"])

_tools = rule(
    implementation = lambda ctx: [_ToolInfo(path = [ctx.attr.outside[_ToolInfo].path, ctx.attr.inside[0][_ToolInfo].path])],
    doc = "The compiler outside and inside of a bundle.",
    attrs = {
        "inside": attr.label(cfg = bundle_transition),
        "outside": attr.label(),
        "target_npu": attr.string(),
    },
)

def _one_compiler_test_impl(ctx):
    """A compiler of another path would be another process, and other cache keys."""
    env = analysistest.begin(ctx)
    outside, inside = analysistest.target_under_test(env)[_ToolInfo].path
    asserts.equals(env, outside, inside)
    return analysistest.end(env)

_one_compiler_test = analysistest.make(_one_compiler_test_impl)

def _matrix_test_impl(ctx):
    env = analysistest.begin(ctx)
    asserts.equals(env, ctx.attr.files, names_of(analysistest.target_under_test(env)[DefaultInfo].files))
    return analysistest.end(env)

_matrix_test = analysistest.make(_matrix_test_impl, attrs = {"files": attr.string_list()})

def _matrix_error_test_impl(ctx):
    env = unittest.begin(ctx)
    for (npus, sizes, others), sentence in {
        (("warboy",), (1, 2), ("copts",)): None,
        ((), (1,), ()): "target_npus is [], but must be a list of at least one string",
        (("warboy",), (1, "auto"), ("copts",)): None,
        (("auto",), (), ()): "batch_sizes is [], but must be a list of at least one int or \"auto\"",
        (("warboy",), ("4",), ()): "batch_sizes is [\"4\"], but must be a list of at least one int or \"auto\"",
        (("warboy",), ("auto", "auto"), ()): "batch_sizes holds \"auto\" twice",
        (("warboy",), (4, 1, 4), ()): "batch_sizes holds 4 twice",
        (("warboy", "warboy"), (4,), ()): "target_npus holds \"warboy\" twice",
        (("warboy",), (1, 0), ()): "batch_sizes holds 0, but a batch size is at least 1",
        (("warboy",), (1,), ("batch_size",)): "batch_size is for npu_model; here it is batch_sizes, a list",
    }.items():
        asserts.equals(env, sentence, matrix_error(list(npus), list(sizes), others))
    asserts.equals(
        env,
        "target_npus is a select(), but names are made of it; use npu_model with a select() in target_npu",
        matrix_error(select({"//conditions:default": ["warboy"]}), [1], []),
    )
    return unittest.end(env)

_matrix_error_test = unittest.make(_matrix_error_test_impl)

_unknown_setting_test = analysistest.make(
    failure_test_impl,
    attrs = FAILURE_ATTRS,
    config_settings = {_SETTING: "warboy-3pe"},
    expect_failure = True,
)

# Refused bundles: (name, attributes, the sentence).
_REFUSED_BUNDLES = [
    (
        "mismatch",
        dict(models = ["free_enf", "fixed_enf"], target_npu = "warboy-2pe"),
        "models: //furiosa_rules/tests:fixed_enf names target_npu 'warboy' itself, but the bundle is for 'warboy-2pe'; " +
        "leave target_npu out of one of them",
    ),
    (
        "unknown_npu",
        dict(models = ["free_enf"], target_npu = "warboy-3pe"),
        "target_npu is 'warboy-3pe' (from target_npu of the bundle), but the compiler knows only 'warboy', 'warboy-2pe'",
    ),
]

def targets_test_suite(name):
    """All tests of what decides the NPU.

    Args:
      name: the name of the test suite, and the prefix of its tests
    """

    # "manual": what the tests look at; nothing of it is for //... to build or to run
    manual = ["manual"]
    npu_model(name = "free_enf", src = "generated.onnx", tags = manual)
    npu_model(name = "fixed_enf", src = "generated.onnx", target_npu = "warboy", tags = manual)
    npu_model(
        name = "selected_enf",
        # by the platform alone
        src = select({
            "//furiosa_rules/constraints:warboy": "other.onnx",
            "//conditions:default": "model.onnx",
        }),
        # by whatever decides
        batch_size = select({
            "//furiosa_rules/settings:warboy": 8,
            "//furiosa_rules/settings:warboy-2pe": 16,
        }),
        target_npu = select({
            "//furiosa_rules/constraints:warboy": "warboy-2pe",
            "//conditions:default": "",
        }),
        tags = manual,
    )
    npu_model(
        name = "batch_follows_enf",
        src = "generated.onnx",
        batch_size = select({
            "//furiosa_rules/settings:warboy": 8,
            "//furiosa_rules/settings:warboy-2pe": 16,
        }),
        tags = manual,
    )
    npu_bundle(name = "for_warboy", models = ["batch_follows_enf", "fixed_enf"], target_npu = "warboy", tags = manual)
    npu_bundle(name = "for_2pe", models = ["batch_follows_enf"], target_npu = "warboy-2pe", tags = manual)
    npu_model(
        name = "constrained_enf",
        src = select({
            "//furiosa_rules/constraints:warboy": "other.onnx",
            "//conditions:default": "model.onnx",
        }),
        tags = manual,
        target_compatible_with = ["//furiosa_rules/constraints:warboy"],
    )
    npu_bundle(name = "of_constrained", models = ["constrained_enf", "free_enf"], target_npu = "warboy", tags = manual)
    npu_bundle(name = "for_any", models = ["batch_follows_enf", "fixed_enf"], tags = manual)

    npu_model_matrix(name = "matrix_enf", src = "model.onnx", batch_sizes = [1, 4], copts = ["-v"], tags = manual)
    npu_model_matrix(name = "grid", src = "model.onnx", target_npus = ["warboy"], batch_sizes = [2, "auto"], tags = manual)

    _tool(name = "tool", tags = manual)
    _tools(name = "tools", outside = "tool", inside = "tool", target_npu = "warboy", tags = manual)

    # test: (rule, target, attributes)
    tests = {
        "default": (_model_test, "free_enf", dict(target_npu = "warboy-2pe")),
        "setting": (_setting_test, "free_enf", dict(target_npu = "warboy")),
        "platform": (_platform_test, "free_enf", dict(target_npu = "warboy")),
        "platform_before_setting": (_platform_and_setting_test, "free_enf", dict(target_npu = "warboy")),
        "attribute_before_platform": (_platform_test, "selected_enf", dict(
            target_npu = "warboy-2pe",
            batch_size = 8,
            source = "other.onnx",
        )),
        "select_by_default": (_model_test, "selected_enf", dict(
            target_npu = "warboy-2pe",
            batch_size = 16,
            source = "model.onnx",
        )),
        "select_by_setting": (_setting_test, "selected_enf", dict(
            target_npu = "warboy",
            batch_size = 8,
            source = "model.onnx",
        )),
        "bundle": (_bundle_test, "for_warboy", dict(target_npus = ["warboy", "warboy"], batch_sizes = [8, 1])),
        "bundle_before_platform": (_bundle_on_platform_test, "for_2pe", dict(
            target_npus = ["warboy-2pe"],
            batch_sizes = [16],
        )),
        "bundle_has_the_constraint": (_bundle_test, "of_constrained", dict(
            target_npus = ["warboy", "warboy"],
            batch_sizes = [1, 1],
            sources = ["other.onnx", "generated.onnx"],
        )),
        "bundle_has_the_constraint_on_platform": (_bundle_on_other_platform_test, "of_constrained", dict(
            target_npus = ["warboy", "warboy"],
            batch_sizes = [1, 1],
            sources = ["other.onnx", "generated.onnx"],
        )),
        "bundle_without": (_bundle_test, "for_any", dict(target_npus = ["warboy-2pe", "warboy"], batch_sizes = [16, 1])),
        "bundle_without_on_platform": (_bundle_on_platform_test, "for_any", dict(
            target_npus = ["warboy", "warboy"],
            batch_sizes = [8, 1],
        )),
        "bundle_has_the_same_compiler": (_one_compiler_test, "tools", dict()),
        "matrix": (_matrix_test, "matrix_enf", dict(files = [
            "matrix_warboy-2pe_b1.enf",
            "matrix_warboy-2pe_b4.enf",
            "matrix_warboy_b1.enf",
            "matrix_warboy_b4.enf",
        ])),
        "matrix_without_suffix": (_matrix_test, "grid", dict(files = ["grid_warboy_auto.enf", "grid_warboy_b2.enf"])),
        "matrix_model": (_model_test, "matrix_warboy_b4_enf", dict(target_npu = "warboy", batch_size = 4)),
        "unknown_setting": (_unknown_setting_test, "free_enf", dict(
            message = "target_npu is 'warboy-3pe' (from //furiosa_rules/settings:target_npu), but the compiler knows only",
        )),
    }
    for refused, kwargs, message in _REFUSED_BUNDLES:
        npu_bundle(name = "refused_bundle_" + refused, tags = manual, **kwargs)
        tests["refused_" + refused] = (failure_test, "refused_bundle_" + refused, dict(message = message))
    for test, (rule, target, kwargs) in tests.items():
        rule(name = "%s_%s" % (name, test), target_under_test = target, **kwargs)
    _matrix_error_test(name = name + "_matrix_error")
    native.test_suite(name = name, tests = ["%s_%s" % (name, test) for test in tests] + [name + "_matrix_error"])
