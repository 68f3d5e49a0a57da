"""Analysis tests of npu_tune: its command line, its outputs, and what is refused."""

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")
load("//furiosa_rules:defs.bzl", "npu_model", "npu_tune")
load(":analysis.bzl", "FAILURE_ATTRS", "PACKAGE", "action_of", "assert_portable", "command_of", "failure_test", "failure_test_impl", "names_of")

def _tune_test_impl(ctx):
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)
    action = action_of(env, "NpuTune")
    name = target.label.name
    data = ["--data=weights.bin=%sweights.bin" % PACKAGE] if ctx.attr.has_data else []
    asserts.equals(
        env,
        ["tune", PACKAGE + ctx.attr.source, "--hermetic"] + data + ["--target-npu", ctx.attr.npus] + ctx.attr.options + ctx.attr.selection + [
            "--compatibility",
            ctx.attr.compatibility,
        ] + ctx.attr.optimize + [
            "--jobs",
            "2",
            "-o",
            "BIN/%s%s.txt" % (PACKAGE, name),
            "-o",
            "BIN/%s%s.json" % (PACKAGE, name),
        ],
        command_of(action),
    )
    assert_portable(env, action)
    inputs = [f.basename for f in action.inputs.to_list()]
    asserts.true(env, ctx.attr.source in inputs, "the model is an input")
    asserts.equals(env, ctx.attr.has_data, "weights.bin" in inputs, "external data is an input")
    asserts.equals(env, [name + ".json", name + ".txt"], names_of(target[DefaultInfo].files))
    asserts.equals(env, [name + ".json", name + ".txt"], names_of(target[DefaultInfo].default_runfiles.files))
    asserts.equals(env, [name + ".json"], names_of(target[OutputGroupInfo].json))
    asserts.equals(env, [name + ".txt"], names_of(target[OutputGroupInfo].table))
    return analysistest.end(env)

_tune_test = analysistest.make(_tune_test_impl, attrs = {
    "compatibility": attr.string(default = "latest"),
    "has_data": attr.bool(),
    "npus": attr.string(default = "warboy,warboy-2pe"),
    "optimize": attr.string_list(),
    "options": attr.string_list(),
    "selection": attr.string_list(),
    "source": attr.string(default = "model.onnx"),
})

def _with_toolchain(name):
    return analysistest.make(
        failure_test_impl,
        attrs = FAILURE_ATTRS,
        config_settings = {"//command_line_option:extra_toolchains": [str(Label(name))]},
        expect_failure = True,
    )

_bare_compiler_test = _with_toolchain(":bare_toolchain")
_vendor_compiler_test = _with_toolchain(":furiosa-compiler_toolchain")

# Refused targets: (name, attributes, the sentence).
_REFUSED = [
    ("nothing", {}, "give either src, a model file, or model, an npu_model target"),
    ("both", {"src": "model.onnx", "model": "tuned_enf"}, "give either src, a model file, or model"),
    ("data", {"model": "tuned_enf", "data": ["weights.bin"]}, "data goes with src; with model it is that of //furiosa_rules/tests:tuned_enf"),
    ("cut", {"model": "tuned_enf", "outputs": ["scores"]}, "outputs goes with src; with model it is that of"),
    ("release", {"model": "tuned_enf", "compatibility": "0.10"}, "compatibility goes with src; with model it is that of"),
    ("unknown_npu", {"src": "model.onnx", "target_npus": ["warboy", "other"]}, "target_npus holds 'other', but the compiler knows only 'warboy', 'warboy-2pe'"),
    ("batch_0", {"src": "model.onnx", "batch_sizes": [1, 0]}, "batch_sizes holds 0, but a batch size is at least 1"),
]

def npu_tune_test_suite(name):
    """All tests of npu_tune.

    Args:
      name: the name of the test suite, and the prefix of its tests
    """

    # "manual": what the tests look at; nothing of it is for //... to build or to run
    manual = ["manual"]
    npu_model(
        name = "tuned_enf",
        src = "other.onnx",
        batch_size = 3,
        compatibility = "0.6.3",
        data = ["weights.bin"],
        outputs = ["boxes"],
        tags = manual,
    )
    npu_tune(name = "tune_plain", src = "model.onnx", tags = manual)
    npu_tune(
        name = "tune_some",
        src = "model.onnx",
        batch_sizes = [1, 4],
        compatibility = "0.6.3",
        data = ["weights.bin"],
        input_shapes = {"a": "1x3"},
        optimize = 2,
        target_npus = ["warboy"],
        tags = manual,
    )
    npu_tune(name = "tune_model", model = "tuned_enf", tags = manual)

    # test: (rule, target, attributes)
    tests = {
        "bare_compiler": (_bare_compiler_test, "tune_plain", dict(message = "the compiler of the toolchain has no command `tune`")),
        "defaults": (_tune_test, "tune_plain", dict()),
        "of_a_model": (_tune_test, "tune_model", dict(source = "other.onnx", compatibility = "0.6.3", has_data = True, selection = ["--outputs=boxes"])),
        "options": (_tune_test, "tune_some", dict(
            compatibility = "0.6.3",
            has_data = True,
            npus = "warboy",
            optimize = ["--optimize", "2"],
            options = ["--batch-sizes", "1,4"],
            selection = ["--input-shape=a=1x3"],
        )),
        "vendor_compiler": (_vendor_compiler_test, "tune_plain", dict(message = "the compiler of the toolchain has no command `tune`")),
    }
    for refused, kwargs, message in _REFUSED:
        npu_tune(name = "refused_tune_" + refused, tags = manual, **kwargs)
        tests["refused_" + refused] = (failure_test, "refused_tune_" + refused, dict(message = message))
    for test, (rule, target, kwargs) in tests.items():
        rule(name = "%s_%s" % (name, test), target_under_test = target, **kwargs)
    native.test_suite(name = name, tests = ["%s_%s" % (name, test) for test in tests])
