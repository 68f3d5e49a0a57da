"""Analysis tests of npu_model_test: what the test runs, what it finds beside it, and what is refused."""

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")
load("//furiosa_rules:defs.bzl", "npu_model", "npu_model_test")
load(":analysis.bzl", "PACKAGE", "failure_test", "written")

def _comparison_test_impl(ctx):
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)
    name = target.label.name
    lines = written(env, name + ".arguments").splitlines()
    asserts.equals(env, ctx.attr.arguments, [line.removeprefix(PACKAGE) for line in lines])

    launcher = written(env, name)
    asserts.true(env, "exec 'runtime/furiosa_compare' '@%s%s.arguments'" % (PACKAGE, name) in launcher, launcher)
    asserts.true(env, '--json "$outputs/compare.json" --html "$outputs/compare.html"' in launcher, launcher)
    asserts.equals(env, name, target[DefaultInfo].files_to_run.executable.basename)

    runfiles = [f.short_path for f in target[DefaultInfo].default_runfiles.files.to_list()]
    for wanted in ctx.attr.runfiles:
        asserts.true(env, PACKAGE + wanted in runfiles, wanted + " is in the runfiles")
    asserts.true(env, "runtime/furiosa_compare" in runfiles, "the tool is in the runfiles")

    # What is tested is what npu_model has built: the test itself compiles nothing.
    asserts.equals(env, [], [a for a in analysistest.target_actions(env) if a.mnemonic == "NpuCompile"])
    return analysistest.end(env)

_comparison_test = analysistest.make(
    _comparison_test_impl,
    attrs = {
        "arguments": attr.string_list(),
        "runfiles": attr.string_list(),
    },
)

_DATA = ["--hermetic", "--data=weights.bin=%sweights.bin" % PACKAGE]

# Refused tests: (name, attributes, the sentence).
_REFUSED = [
    ("max_lsb", dict(max_lsb = -1), "max_lsb is -1, but must not be negative"),
    ("seed", dict(seed = -5), "seed is -5, but must not be negative"),
    ("seed_and_inputs", dict(seed = 1, inputs = ["cat.npy"]), "seed and inputs exclude each other: a seed is for random inputs"),
    ("no_model", dict(model = "bare_compiler"), "does not have mandatory providers: 'NpuModelInfo'"),
    ("reference", dict(reference = "weights.bin"), "does not produce any npu_model_test reference files (expected .onnx or .tflite)"),
    ("inputs", dict(inputs = ["weights.bin"]), "does not produce any npu_model_test inputs files (expected .bmp, .jpeg, .jpg, .npy, .npz, .pgm, .png, .ppm or .webp)"),
    ("preprocessing", dict(preprocessing = "preprocessing.json"), "preprocessing is for inputs that are images, and there are no inputs"),
]

def npu_model_test_test_suite(name):
    """All tests of npu_model_test.

    Args:
      name: the name of the test suite, and the prefix of its tests
    """

    # "manual": what the tests look at; nothing of it is for //... to build or to run
    npu_model(name = "compared_enf", src = "model.onnx", data = ["weights.bin"], tags = ["manual"])
    npu_model_test(name = "compared_plain", model = "compared_enf", tags = ["manual"])
    npu_model_test(
        name = "compared_options",
        inputs = ["cat.npy", "dog.npz"],
        max_lsb = 2,
        model = "compared_enf",
        reference = "other.onnx",
        tags = ["manual"],
    )
    npu_model_test(
        name = "compared_images",
        inputs = ["cat.png"],
        model = "compared_enf",
        preprocessing = "preprocessing.json",
        tags = ["manual"],
    )
    npu_model_test(name = "compared_seed", model = "compared_enf", seed = 7, tags = ["manual"])

    tests = [name + "_plain", name + "_options", name + "_images", name + "_seed"]
    _comparison_test(
        name = name + "_plain",
        arguments = ["compared.enf", "--source", "model.onnx", "--max-lsb", "0", "--seed", "0"] + _DATA,
        runfiles = ["compared.enf", "model.onnx", "weights.bin", "compared_plain.arguments"],
        target_under_test = "compared_plain",
    )
    _comparison_test(
        name = name + "_options",
        arguments = ["compared.enf", "--source", "other.onnx", "--max-lsb", "2", "--seed", "0"] + _DATA +
                    ["--inputs", "cat.npy", "--inputs", "dog.npz"],
        runfiles = ["compared.enf", "other.onnx", "cat.npy", "dog.npz"],
        target_under_test = "compared_options",
    )
    _comparison_test(
        name = name + "_images",
        arguments = ["compared.enf", "--source", "model.onnx", "--max-lsb", "0", "--seed", "0"] + _DATA +
                    ["--inputs", "cat.png", "--preprocessing", "preprocessing.json"],
        runfiles = ["cat.png", "preprocessing.json"],
        target_under_test = "compared_images",
    )
    _comparison_test(
        name = name + "_seed",
        arguments = ["compared.enf", "--source", "model.onnx", "--max-lsb", "0", "--seed", "7"] + _DATA,
        target_under_test = "compared_seed",
    )
    for refused, kwargs, message in _REFUSED:
        npu_model_test(name = "refused_test_" + refused, **(dict(model = "compared_enf", tags = ["manual"]) | kwargs))
        tests.append("%s_refused_%s" % (name, refused))
        failure_test(name = tests[-1], target_under_test = "refused_test_" + refused, message = message)

    native.test_suite(name = name, tests = tests)
