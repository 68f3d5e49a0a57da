"""Analysis tests of npu_calibration and npu_quantized_model: their command lines, their outputs, and what is refused."""

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")
load("//furiosa_rules:defs.bzl", "NpuCalibrationInfo", "npu_calibration", "npu_quantized_model")
load(":analysis.bzl", "PACKAGE", "action_of", "assert_portable", "command_of", "failure_test", "names_of")

def _calibration_test_impl(ctx):
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)
    action = action_of(env, "NpuCalibrate")
    output = "BIN/%s%s.json" % (PACKAGE, target.label.name)
    asserts.equals(
        env,
        ["calibrate", PACKAGE + "model.onnx", "-o", output, "--hermetic"] + ctx.attr.options + [
            "--data",
            PACKAGE + "cat.npy",
            "--data",
            PACKAGE + "dog.npz",
        ] + ctx.attr.ending,
        command_of(action),
    )
    assert_portable(env, action)
    inputs = [f.basename for f in action.inputs.to_list()]
    asserts.true(env, "model.onnx" in inputs and "cat.npy" in inputs and "dog.npz" in inputs, "model and samples are inputs")
    asserts.equals(env, ctx.attr.has_data, "weights.bin" in inputs, "external data is an input")
    asserts.equals(env, [target.label.name + ".json"], names_of(target[DefaultInfo].files))
    asserts.equals(env, target[DefaultInfo].files.to_list(), [target[NpuCalibrationInfo].calibration])
    asserts.equals(env, "model.onnx", target[NpuCalibrationInfo].source.basename)
    return analysistest.end(env)

_calibration_test = analysistest.make(_calibration_test_impl, attrs = {
    "ending": attr.string_list(),
    "has_data": attr.bool(),
    "options": attr.string_list(),
})

def _parts_test_impl(ctx):
    env = analysistest.begin(ctx)
    name = analysistest.target_under_test(env).label.name
    actions = [a for a in analysistest.target_actions(env) if a.mnemonic == "NpuCalibrate"]
    bin = "BIN/" + PACKAGE + name
    beginning = ["calibrate", PACKAGE + "model.onnx", "-o"]
    shape = ["--hermetic", "--input-shape=a=1x3"]
    asserts.equals(env, [
        beginning + [bin + ".part1.json"] + shape + ["--data", PACKAGE + "cat.npy"],
        beginning + [bin + ".part2.json"] + shape + ["--data", PACKAGE + "dog.npz"],
        beginning + [bin + ".json"] + shape + ["--merge", bin + ".part1.json", "--merge", bin + ".part2.json"],
    ], [command_of(a) for a in actions])
    samples = [[f.basename for f in a.inputs.to_list() if f.basename in ("cat.npy", "dog.npz")] for a in actions]
    asserts.equals(env, [["cat.npy"], ["dog.npz"], []], samples)
    return analysistest.end(env)

_parts_test = analysistest.make(_parts_test_impl)

def _quantized_test_impl(ctx):
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)
    action = action_of(env, "NpuQuantize")
    asserts.equals(
        env,
        [
            "quantize",
            PACKAGE + "model.onnx",
            "-o",
            "BIN/%s%s.onnx" % (PACKAGE, target.label.name),
            "--hermetic",
        ] + (["--calibration", ctx.attr.calibration] if ctx.attr.calibration else []) + ["--method"] + ctx.attr.options,
        command_of(action),
    )
    assert_portable(env, action)
    inputs = [f.basename for f in action.inputs.to_list()]
    asserts.true(env, "model.onnx" in inputs, "the model is an input")
    asserts.false(env, "cat.npy" in inputs or "dog.npz" in inputs, "no sample is an input")
    asserts.equals(env, [target.label.name + ".onnx"], names_of(target[DefaultInfo].files))
    return analysistest.end(env)

_quantized_test = analysistest.make(_quantized_test_impl, attrs = {
    "calibration": attr.string(default = "BIN/%sranges.json" % PACKAGE),
    "options": attr.string_list(),
})

# Refused calibrations and quantised models: (name, attributes, the sentence).
_REFUSED_CALIBRATIONS = [
    ("parts_0", {"parts": 0}, "parts is 0, but must be at least 1 and no more than the files of data, 2"),
    ("parts_3", {"parts": 3}, "parts is 3, but must be at least 1"),
    ("shape", {"input_shapes": {"a": "big"}}, "input_shapes: \"big\" of \"a\" is not a shape like"),
]

_REFUSED_MODELS = [
    ("percentage", {"method": "percentile", "percentage": "100.5"}, "percentage is '100.5', but must be a number above 0 and up to 100"),
    ("no_percentage", {"method": "percentile", "percentage": "0.0"}, "percentage is '0.0', but must be"),
    ("word", {"method": "percentile", "percentage": "all"}, "percentage is 'all', but must be"),
    ("other_method", {"percentage": "99"}, "percentage goes with the methods percentile and percentile-sym, not with min-max"),
    ("io_type", {"io_types": {"a": "int4"}}, "io_types: \"int4\" of \"a\" is not"),
    ("exclude", {"exclude": [""]}, "exclude: \"\" names no operator"),
]

def quantizer_test_suite(name):
    """All tests of npu_calibration and npu_quantized_model.

    Args:
      name: the name of the test suite, and the prefix of its tests
    """

    # "manual": what the tests look at; nothing of it is for //... to build or to run
    manual = ["manual"]
    samples = ["cat.npy", "dog.npz"]
    npu_calibration(name = "ranges", src = "model.onnx", data = samples, tags = manual)
    npu_calibration(
        name = "ranges_of_a_part",
        src = "model.onnx",
        data = samples,
        dims = {"height": "640"},
        input_shapes = {"a": "1x3"},
        inputs = ["a"],
        model_data = ["weights.bin", "w=%1.bin"],
        outputs = ["boxes", "scores"],
        preprocessing = "checked_in.json",
        tags = manual,
    )
    npu_calibration(name = "ranges_in_parts", src = "model.onnx", data = samples, input_shapes = {"a": "1x3"}, parts = 2, tags = manual)
    npu_quantized_model(name = "int8_of_its_own", src = "model.onnx", tags = manual)
    npu_quantized_model(name = "int8", src = "model.onnx", calibration = ":ranges", tags = manual)
    npu_quantized_model(
        name = "int8_percentile",
        src = "model.onnx",
        calibration = "checked_in.json",
        exclude = ["Softmax", "head/Conv"],
        io_types = {"scores": "int8", "image": "uint8"},
        method = "percentile-sym",
        percentage = "99.9",
        tags = manual,
    )

    # test: (rule, target, attributes)
    tests = {
        "calibration": (_calibration_test, "ranges", dict()),
        "calibration_options": (_calibration_test, "ranges_of_a_part", dict(
            ending = ["--preprocessing", PACKAGE + "checked_in.json"],
            has_data = True,
            options = [
                "--model-data=weights.bin=%sweights.bin" % PACKAGE,
                "--model-data=w==%%1.bin=%sw=%%1.bin" % PACKAGE,
                "--input-shape=a=1x3",
                "--dim=height=640",
                "--inputs=a",
                "--outputs=boxes",
                "--outputs=scores",
            ],
        )),
        "parts": (_parts_test, "ranges_in_parts", dict()),
        "quantized": (_quantized_test, "int8", dict(options = ["min-max"])),
        "quantized_of_its_own": (_quantized_test, "int8_of_its_own", dict(calibration = "", options = ["min-max"])),
        "quantized_options": (_quantized_test, "int8_percentile", dict(
            calibration = PACKAGE + "checked_in.json",
            options = ["percentile-sym", "--percentage", "99.9", "--exclude=Softmax", "--exclude=head/Conv", "--io-type=image=uint8", "--io-type=scores=int8"],
        )),
    }
    for refused, kwargs, message in _REFUSED_CALIBRATIONS:
        npu_calibration(name = "refused_calibration_" + refused, src = "model.onnx", data = samples, tags = manual, **kwargs)
        tests["refused_calibration_" + refused] = (failure_test, "refused_calibration_" + refused, dict(message = message))
    npu_quantized_model(name = "refused_int8_of_its_own", src = "model.onnx", method = "mse", tags = manual)
    tests["refused_int8_of_its_own"] = (failure_test, "refused_int8_of_its_own", dict(message = "method goes with calibration; without one"))
    for refused, kwargs, message in _REFUSED_MODELS:
        npu_quantized_model(name = "refused_int8_" + refused, src = "model.onnx", calibration = ":ranges", tags = manual, **kwargs)
        tests["refused_int8_" + refused] = (failure_test, "refused_int8_" + refused, dict(message = message))
    for test, (rule, target, kwargs) in tests.items():
        rule(name = "%s_%s" % (name, test), target_under_test = target, **kwargs)
    native.test_suite(name = name, tests = ["%s_%s" % (name, test) for test in tests])
