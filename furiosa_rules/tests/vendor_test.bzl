"""Tests of npu_vendor_compiler_toolchain: command lines, what is left out, what is refused, and builds with a stand-in."""

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")
load("@rules_python//python:py_binary.bzl", "py_binary")
load("@rules_python//python:py_library.bzl", "py_library")
load("//furiosa_rules:defs.bzl", "NpuModelInfo", "npu_bundle", "npu_model", "npu_model_test", "npu_vendor_compiler_toolchain")
load("//furiosa_rules/private:vendor_command.bzl", "VENDOR_COMMANDS")
load("//tools/pytest:defs.bzl", "pytest_test")
load(":analysis.bzl", "FAILURE_ATTRS", "PACKAGE", "action_of", "command_of", "failure_test", "failure_test_impl", "names_of")

_TOOLCHAINS = "//command_line_option:extra_toolchains"

def _command_test_impl(ctx):
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)
    action = action_of(env, "NpuCompile")
    stem = target[NpuModelInfo].enf.basename.removesuffix(".enf")
    asserts.equals(env, ctx.attr.before + [
        "-o",
        "BIN/%s%s.enf" % (PACKAGE, stem),
        "--target-npu",
        "warboy",
    ] + ctx.attr.batch + [
        "--dot-graph",
        "BIN/%s%s.dot" % (PACKAGE, stem),
    ] + ctx.attr.after + ["-v", "BIN/%sgenerated.onnx" % PACKAGE], command_of(action))
    asserts.equals(env, [], [a for a in action.argv if a.startswith("/") or "=/" in a])
    asserts.equals(env, ["STAND_IN_FOR"], action.env.keys())
    asserts.equals(env, ctx.attr.command, target[NpuModelInfo].vendor_command)
    asserts.equals(env, None, target[NpuModelInfo].report)
    asserts.equals(env, [stem + ".dot"], names_of(target[OutputGroupInfo].dot))
    for group in ("report", "_validation"):
        asserts.false(env, hasattr(target[OutputGroupInfo], group), group)
    asserts.equals(env, [], [a for a in analysistest.target_actions(env) if a.mnemonic == "NpuVerify"])
    return analysistest.end(env)

_COMMAND_ATTRS = {
    "after": attr.string_list(),
    "batch": attr.string_list(default = ["--batch-size", "4"]),
    "before": attr.string_list(),
    "command": attr.string(),
}

def _settings(toolchain):
    return {_TOOLCHAINS: [str(Label(toolchain))]}

_compiler_0_10_test = analysistest.make(_command_test_impl, attrs = _COMMAND_ATTRS, config_settings = _settings(":furiosa-compiler_toolchain"))
_compile_0_6_3_test = analysistest.make(_command_test_impl, attrs = _COMMAND_ATTRS, config_settings = _settings(":furiosa-compile_toolchain"))
_furiosa_0_6_3_test = analysistest.make(_command_test_impl, attrs = _COMMAND_ATTRS, config_settings = _settings(":furiosa_compile_toolchain"))
_ignoring_test = analysistest.make(_command_test_impl, attrs = _COMMAND_ATTRS, config_settings = _settings(":ignoring_toolchain"))

_refused_test = analysistest.make(
    failure_test_impl,
    attrs = FAILURE_ATTRS,
    config_settings = _settings(":furiosa-compiler_toolchain"),
    expect_failure = True,
)

def _toolchain_transition_impl(_settings, attr):
    return {_TOOLCHAINS: [str(attr.toolchain)]}

_toolchain_transition = transition(
    implementation = _toolchain_transition_impl,
    inputs = [],
    outputs = [_TOOLCHAINS],
)

def _built_with_impl(ctx):
    out = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.symlink(output = out, target_file = ctx.attr.model[0][NpuModelInfo].enf)
    return [DefaultInfo(files = depset([out]), runfiles = ctx.runfiles([out]))]

_built_with = rule(
    implementation = _built_with_impl,
    doc = "The ENF of a model that a certain toolchain compiles.",
    attrs = {
        "model": attr.label(cfg = _toolchain_transition, providers = [NpuModelInfo]),
        "toolchain": attr.label(),
    },
)

# Refused models: (name, attributes, the sentence).
_REFUSED_MODELS = [
    (
        "coverage",
        dict(min_npu_coverage = "0.9"),
        "min_npu_coverage is '0.9', but the vendor's furiosa-compiler has no such option; leave it out, or put 'min_npu_coverage' " +
        "into `ignores` of the compiler's toolchain",
    ),
    ("outputs", dict(outputs = ["boxes"]), "outputs: the vendor's furiosa-compiler has no such option; give it a model with static shapes"),
    ("signature", dict(signature = "s"), "signature: the vendor's furiosa-compiler has no such option"),
    ("optimize", dict(optimize = 2), "optimize is '2', but the vendor's furiosa-compiler has no such option"),
    ("compatibility", dict(compatibility = "0.6.3"), "compatibility is '0.6.3', but the vendor's furiosa-compiler has no such option"),
    ("auto", dict(batch_size = "auto"), "batch_size is 'auto', but the vendor's furiosa-compiler has no such option; give a number"),
    ("attached", dict(copts = ["-b4"]), "copts: -b is not for npu_model; use batch_size"),
    ("output", dict(copts = ["--output=x.enf"]), "copts: --output is not for npu_model; use the target's name"),
    ("memory", dict(copts = ["--analyze-memory"]), "copts: --analyze-memory is not for npu_model; use the vendor's command itself"),
]

_ONLY_VENDOR = "models: //furiosa_rules/tests:vendor_enf is compiled by the vendor's furiosa-compiler, and only the vendor's runtime reads that ENF; "

def vendor_test_suite(name):
    """All tests of the vendor's commands.

    Args:
      name: the name of the test suite, and the prefix of its tests
    """

    # "manual": what the tests look at; nothing of it is for //... to build or to run
    manual = ["manual"]
    py_binary(name = "stand_in_vendor", srcs = ["stand_in_vendor.py"])
    py_library(name = "stand_in_vendor_library", srcs = ["stand_in_vendor.py"], imports = ["."], testonly = True)
    toolchains = {c.replace(" ", "_"): (c, []) for c in VENDOR_COMMANDS}
    toolchains["ignoring"] = ("furiosa-compile", ["compatibility", "min_npu_coverage"])
    for toolchain, (command, ignores) in toolchains.items():
        npu_vendor_compiler_toolchain(
            name = toolchain + "_compiler",
            command_line = command,
            compiler = ":stand_in_vendor",
            env = {"STAND_IN_FOR": command},
            ignores = ignores,
        )
        native.toolchain(
            name = toolchain + "_toolchain",
            toolchain = toolchain + "_compiler",
            toolchain_type = "//furiosa_rules:toolchain_type",
        )

    def model(target, **kwargs):
        npu_model(name = target, **(dict(src = "generated.onnx", target_npu = "warboy", batch_size = 4, copts = ["-v"], tags = manual) | kwargs))

    model("vendor_enf")
    model("vendor_auto_enf", batch_size = "auto")
    model("vendor_restricted_enf", compatibility = "0.6.3", min_npu_coverage = "0.5")
    npu_bundle(name = "vendor_bundle", models = ["vendor_enf"], tags = manual)
    npu_model_test(name = "vendor_compared", model = "vendor_enf", tags = manual)
    npu_vendor_compiler_toolchain(name = "vendor_ignores", compiler = ":stand_in_vendor", ignores = ["batch_size"], tags = manual)

    # test: (rule, target, attributes)
    tests = {
        "0_10": (_compiler_0_10_test, "vendor_enf", dict(command = "furiosa-compiler", after = ["--no-cache"])),
        "0_6_3": (_compile_0_6_3_test, "vendor_enf", dict(command = "furiosa-compile")),
        "0_6_3_furiosa": (_furiosa_0_6_3_test, "vendor_enf", dict(command = "furiosa compile", before = ["compile"])),
        "auto": (_compile_0_6_3_test, "vendor_auto_enf", dict(command = "furiosa-compile", batch = ["--auto-batch-size"])),
        "left_out": (_ignoring_test, "vendor_restricted_enf", dict(command = "furiosa-compile")),
        "refused_bundle": (_refused_test, "vendor_bundle", dict(message = _ONLY_VENDOR + "npu_bundle works with the default compiler")),
        "refused_test": (_refused_test, "vendor_compared", dict(message = _ONLY_VENDOR.replace("models", "model", 1) + "npu_model_test works")),
        "ignores": (failure_test, "vendor_ignores", dict(
            message = "ignores: 'batch_size' is not among the attributes that can be left out, compatibility, max_host_operators, min_npu_coverage, optimize",
        )),
    }
    for refused, kwargs, message in _REFUSED_MODELS:
        model("vendor_refused_" + refused, **kwargs)
        tests["refused_" + refused] = (_refused_test, "vendor_refused_" + refused, dict(message = message))
    for test, (rule, target, kwargs) in tests.items():
        rule(name = "%s_%s" % (name, test), target_under_test = target, **kwargs)

    built = ["built_by_" + command.replace(" ", "_") for command in VENDOR_COMMANDS]
    for target in built:
        _built_with(name = target, model = "vendor_enf", toolchain = target.removeprefix("built_by_") + "_toolchain", tags = manual)
    pytest_test(
        name = "stand_in_vendor_test",
        srcs = ["stand_in_vendor_test.py"],
        data = built,
        deps = [
            ":stand_in_vendor_library",
            "@furiosa_rules_dev_pypi//bazel_runfiles",
        ],
    )
    native.test_suite(name = name, tests = ["%s_%s" % (name, test) for test in tests] + ["stand_in_vendor_test"])
