"""Tests of npu_accuracy_test: what the test runs, what it finds beside it, and what is refused."""

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")
load("@bazel_skylib//rules:write_file.bzl", "write_file")
load("@rules_python//python:py_binary.bzl", "py_binary")
load("//furiosa_rules:defs.bzl", "npu_accuracy_test", "npu_model", "npu_model_test")
load("//tools/pytest:defs.bzl", "pytest_test")
load(":analysis.bzl", "PACKAGE", "failure_test", "written")

def _accuracy_test_impl(ctx):
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)
    name = target.label.name
    lines = written(env, name + ".arguments").splitlines()
    asserts.equals(env, ctx.attr.arguments, [line.replace(PACKAGE, "") for line in lines])

    launcher = written(env, name)
    asserts.true(env, "exec 'runtime/furiosa_accuracy' '@%s%s.arguments'" % (PACKAGE, name) in launcher, launcher)
    asserts.true(env, '--json "$outputs/accuracy.json"' in launcher, launcher)
    asserts.true(env, '${TEST_TOTAL_SHARDS:+--shard "$TEST_SHARD_INDEX/$TEST_TOTAL_SHARDS"}' in launcher, launcher)

    runfiles = [f.short_path for f in target[DefaultInfo].default_runfiles.files.to_list()]
    for wanted in ctx.attr.runfiles:
        asserts.true(env, PACKAGE + wanted in runfiles, wanted + " is in the runfiles")
    asserts.true(env, "runtime/furiosa_accuracy" in runfiles, "the tool is in the runfiles")

    # What is tested is what npu_model has built: the test itself compiles nothing.
    asserts.equals(env, [], [a for a in analysistest.target_actions(env) if a.mnemonic == "NpuCompile"])
    return analysistest.end(env)

_accuracy_test = analysistest.make(
    _accuracy_test_impl,
    attrs = {
        "arguments": attr.string_list(),
        "runfiles": attr.string_list(),
    },
)

# Refused tests: (name, attributes, the sentence).
_REFUSED = [
    ("no_gate", dict(min_value = ""), "no gate is given: without min_value or max_drop the test could not fail"),
    ("min", dict(min_value = "97%"), "min_value is '97%', but must be a number, like '0.97'"),
    ("min_sign", dict(min_value = "-"), "min_value is '-', but must be a number"),
    ("drop", dict(max_drop = "-0.1", float_model = "other.onnx"), "max_drop is '-0.1', but must be a number, like '0.97', of at least 0"),
    ("drop_of_nothing", dict(max_drop = "0.1"), "max_drop needs float_model, from whose value a drop is counted"),
    ("drop_of_sqnr", dict(max_drop = "1", metric = "sqnr", float_model = "other.onnx"), "it has no drop, use min_value"),
    ("sqnr", dict(metric = "sqnr"), "metric 'sqnr' needs float_model, with which it compares"),
    ("scorer", dict(scorer = "scorer.py", metric = "miou"), "scorer and metric exclude each other"),
    ("float_data", dict(float_data = ["weights.bin"]), "float_data are data of float_model, which is not given"),
    ("model", dict(model = "bare_compiler"), "does not have mandatory providers: 'NpuModelInfo'"),
    ("data", dict(data = ["weights.bin"]), "does not produce any npu_accuracy_test data files (expected .bmp, .jpeg,"),
]

def npu_accuracy_test_test_suite(name):
    """All tests of npu_accuracy_test.

    Args:
      name: the name of the test suite, and the prefix of its tests
    """

    # "manual": what the tests look at; nothing of it is for //... to build or to run
    npu_model(name = "measured_enf", src = "model.onnx", tags = ["manual"])
    npu_accuracy_test(name = "measured_plain", data = ["dog.npz"], min_value = "0.5", model = "measured_enf", tags = ["manual"])
    npu_accuracy_test(
        name = "measured_options",
        data = ["cat.npy", "dog.npz"],
        float_data = ["weights.bin"],
        float_model = "other.onnx",
        labels = "cat.npy",
        max_drop = "0.005",
        metric = "top5",
        min_value = "-1.5",
        model = "measured_enf",
        output = "-y",
        shard_count = 3,
        tags = ["manual"],
    )
    npu_accuracy_test(
        name = "measured_images",
        data = ["cat.png"],
        min_value = "1",
        model = "measured_enf",
        preprocessing = "preprocessing.json",
        scorer = "scorer.py",
        tags = ["manual"],
    )

    tests = [name + "_plain", name + "_options", name + "_images"]
    _accuracy_test(
        name = name + "_plain",
        arguments = ["measured.enf", "--data", "dog.npz", "--metric", "top1", "--min=0.5"],
        runfiles = ["measured.enf", "dog.npz", "measured_plain.arguments"],
        target_under_test = "measured_plain",
    )
    _accuracy_test(
        name = name + "_options",
        arguments = ["measured.enf", "--data", "cat.npy", "--data", "dog.npz", "--data", "labels=cat.npy"] +
                    ["--float-model", "other.onnx", "--hermetic", "--model-data=weights.bin=weights.bin", "--metric", "top5"] +
                    ["--output=-y", "--min=-1.5", "--max-drop=0.005"],
        runfiles = ["measured.enf", "cat.npy", "dog.npz", "other.onnx", "weights.bin"],
        target_under_test = "measured_options",
    )
    _accuracy_test(
        name = name + "_images",
        arguments = ["measured.enf", "--data", "cat.png", "--preprocessing", "preprocessing.json", "--scorer", "scorer.py", "--min=1"],
        runfiles = ["cat.png", "preprocessing.json", "scorer.py"],
        target_under_test = "measured_images",
    )
    for refused, kwargs, message in _REFUSED:
        given = dict(data = ["dog.npz"], min_value = "0.5", model = "measured_enf", tags = ["manual"])
        npu_accuracy_test(name = "refused_accuracy_" + refused, **(given | kwargs))
        tests.append("%s_refused_%s" % (name, refused))
        failure_test(name = tests[-1], target_under_test = "refused_accuracy_" + refused, message = message)

    _real_tests()
    native.test_suite(name = name, tests = tests + ["accuracy_run_test"])

def _real_tests():
    """Tests that are run by accuracy_run_test.py, on a model of examples/digits."""
    given = dict(data = ["//examples/digits:test.npz"], model = "//examples/digits:digits_enf", tags = ["manual"])
    npu_accuracy_test(name = "accuracy_kept", float_model = "//examples/digits:digits.onnx", max_drop = "0.01", **given)
    npu_accuracy_test(name = "accuracy_broken", min_value = "0.999", **given)
    npu_accuracy_test(name = "accuracy_without_labels", min_value = "0", **(given | dict(data = ["//examples/digits:calibration.npz"])))
    npu_accuracy_test(name = "accuracy_of_a_wrong_shape", min_value = "0", **(given | dict(data = ["wrong_shape.npz"])))
    py_binary(name = "wrong_shape", srcs = ["wrong_shape.py"], deps = ["@furiosa_rules_pypi//numpy"])
    native.genrule(
        name = "write_wrong_shape",
        outs = ["wrong_shape.npz"],
        cmd = "$(execpath :wrong_shape) $@",
        tags = ["manual"],
        tools = [":wrong_shape"],
    )
    py_binary(name = "wrong_share", srcs = ["wrong_share.py"], deps = ["@furiosa_rules_pypi//numpy"])
    npu_accuracy_test(name = "accuracy_scored", min_value = "-0.03", scorer = "wrong_share", **given)
    npu_accuracy_test(name = "accuracy_scored_by_file", min_value = "-0.03", scorer = "wrong_share.py", **given)

    # An image that no program is needed for: 64 grey pixels, which are bytes of another file.
    native.genrule(
        name = "grey",
        srcs = ["//examples/digits:digits.onnx"],
        outs = ["grey.pgm"],
        cmd = "(printf 'P5\\n8 8\\n255\\n'; head -c 64 $<) > $@",
        tags = ["manual"],
    )
    write_file(name = "grey_preprocessing", out = "grey.json", content = ['{"colour": "GRAY", "divisor": 255}'], tags = ["manual"])
    npu_accuracy_test(
        name = "accuracy_of_images",
        data = ["grey.pgm"],
        float_model = "//examples/digits:digits.onnx",
        metric = "sqnr",
        min_value = "10",
        model = "//examples/digits:digits_enf",
        preprocessing = "grey.json",
        tags = ["manual"],
    )
    npu_model_test(
        name = "comparison_of_images",
        inputs = ["grey.pgm"],
        model = "//examples/digits:digits_enf",
        preprocessing = "grey.json",
        tags = ["manual"],
    )
    pytest_test(
        name = "accuracy_run_test",
        srcs = ["accuracy_run_test.py"],
        data = [
            ":accuracy_broken",
            ":accuracy_kept",
            ":accuracy_of_a_wrong_shape",
            ":accuracy_of_images",
            ":accuracy_scored",
            ":accuracy_scored_by_file",
            ":accuracy_without_labels",
            ":comparison_of_images",
        ],
        deps = ["@furiosa_rules_dev_pypi//bazel_runfiles"],
    )
