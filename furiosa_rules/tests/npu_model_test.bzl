"""Analysis tests of npu_model: outputs, the compiler's command line, fallbacks, and what is refused."""

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts", "unittest")
load("//furiosa_rules:defs.bzl", "NpuModelInfo", "npu_model")
load("//furiosa_rules/private:npu_model.bzl", "batch_size_error")
load(":analysis.bzl", "FAILURE_ATTRS", "PACKAGE", "action_of", "assert_portable", "command_of", "failure_test", "failure_test_impl", "names_of")

_TOOLCHAINS = "//command_line_option:extra_toolchains"

def _compile_test_impl(ctx):
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)
    action = action_of(env, "NpuCompile")

    asserts.equals(env, [
        "compile",
        PACKAGE + "model.onnx",
        "-o",
        "BIN/" + PACKAGE + ctx.attr.stem + ".enf",
        "--target-npu",
        ctx.attr.target_npu,
    ] + (["--batch-size", str(ctx.attr.batch_size)] if ctx.attr.batch_size else ["--auto-batch-size"]) + ctx.attr.options + ["--hermetic"] + ctx.attr.data + [
        "--report-json",
        "BIN/" + PACKAGE + ctx.attr.stem + ".report.json",
        "--dot-graph",
        "BIN/" + PACKAGE + ctx.attr.stem + ".dot",
    ] + ctx.attr.copts, command_of(action))
    assert_portable(env, action)
    inputs = [f.basename for f in action.inputs.to_list()]
    asserts.true(env, "model.onnx" in inputs, "the model is an input")
    for option in ctx.attr.data:
        asserts.true(env, option.split("/")[-1] in inputs, "external data is an input")

    asserts.equals(env, [ctx.attr.stem + ".enf"], names_of(target[DefaultInfo].files))
    asserts.equals(env, [ctx.attr.stem + ".enf"], names_of(target[DefaultInfo].default_runfiles.files))
    asserts.equals(env, [ctx.attr.stem + ".report.json"], names_of(target[OutputGroupInfo].report))
    asserts.equals(env, [ctx.attr.stem + ".dot"], names_of(target[OutputGroupInfo].dot))

    info = target[NpuModelInfo]
    asserts.equals(env, ctx.attr.stem + ".enf", info.enf.basename)
    asserts.equals(env, ctx.attr.stem + ".report.json", info.report.basename)
    asserts.equals(env, ctx.attr.stem + ".dot", info.dot_graph.basename)
    asserts.equals(env, "model.onnx", info.source.basename)
    asserts.equals(env, ctx.attr.target_npu, info.target_npu)
    asserts.equals(env, ctx.attr.batch_size, info.batch_size)
    asserts.equals(env, ctx.attr.batch_size == 0, info.auto_batch_size)
    asserts.equals(env, ctx.attr.compatibility, info.compatibility)
    asserts.equals(env, ctx.attr.stem, info.model_name)
    asserts.equals(env, target.label, info.label)
    return analysistest.end(env)

_COMPILE_ATTRS = {
    "batch_size": attr.int(),
    "compatibility": attr.string(default = "latest"),
    "copts": attr.string_list(),
    "data": attr.string_list(),
    "options": attr.string_list(),
    "stem": attr.string(),
    "target_npu": attr.string(),
}

_compile_test = analysistest.make(_compile_test_impl, attrs = _COMPILE_ATTRS)

_settings_test = analysistest.make(
    _compile_test_impl,
    attrs = _COMPILE_ATTRS,
    config_settings = {
        str(Label("//furiosa_rules/settings:batch_size")): "3",
        str(Label("//furiosa_rules/settings:target_npu")): "warboy",
    },
)

_auto_settings_test = analysistest.make(
    _compile_test_impl,
    attrs = _COMPILE_ATTRS,
    config_settings = {str(Label("//furiosa_rules/settings:batch_size")): "auto"},
)

def _verify_test_impl(ctx):
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)
    action = action_of(env, "NpuVerify")
    asserts.equals(env, [
        "enf",
        "verify",
        "BIN/" + PACKAGE + ctx.attr.stem + ".enf",
        "--stamp",
        "BIN/" + PACKAGE + ctx.attr.stem + ".enf.verified",
    ] + ctx.attr.options, command_of(action))
    assert_portable(env, action)
    asserts.true(env, action.argv[0].endswith("/furiosa_verifier"), "what verifies has the runtimes of host clusters")
    asserts.equals(env, [ctx.attr.stem + ".enf.verified"], names_of(target[OutputGroupInfo]._validation))
    return analysistest.end(env)

_verify_test = analysistest.make(_verify_test_impl, attrs = {
    "options": attr.string_list(),
    "stem": attr.string(default = "plain"),
})

def _pages_test_impl(ctx):
    """An action of its own, which compiles nothing, and which nothing else waits for."""
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)
    action = action_of(env, "NpuReport")
    asserts.equals(env, [
        "enf",
        "report",
        "BIN/" + PACKAGE + "plain.enf",
        "BIN/" + PACKAGE + "plain.report.json",
        "--report",
        "BIN/" + PACKAGE + "plain.report.html",
        "--analyze-memory",
        "BIN/" + PACKAGE + "plain.memory.html",
        "--chrome-trace",
        "BIN/" + PACKAGE + "plain.trace.json",
    ], command_of(action))
    assert_portable(env, action)
    for group, file in {"html": "plain.report.html", "memory": "plain.memory.html", "trace": "plain.trace.json"}.items():
        asserts.equals(env, [file], names_of(getattr(target[OutputGroupInfo], group)))
    asserts.false(env, "model.onnx" in [f.basename for f in action.inputs.to_list()], "the model is no input")
    return analysistest.end(env)

_pages_test = analysistest.make(_pages_test_impl)

def _bare_compiler_test_impl(ctx):
    """With a compiler that has neither by-products nor `enf verify`, nothing of them is asked for."""
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)
    action = action_of(env, "NpuCompile")
    asserts.equals(env, ["plain.enf"], names_of(action.outputs))
    for option in ("--report-json", "--dot-graph", "--hermetic"):
        asserts.false(env, option in action.argv, option)
    asserts.equals(env, [], [a for a in analysistest.target_actions(env) if a.mnemonic == "NpuVerify"])
    asserts.equals(env, [], [a for a in analysistest.target_actions(env) if a.mnemonic == "NpuReport"])
    for group in ("report", "dot", "html", "memory", "trace", "_validation"):
        asserts.false(env, hasattr(target[OutputGroupInfo], group), group)
    asserts.equals(env, None, target[NpuModelInfo].report)
    asserts.equals(env, None, target[NpuModelInfo].dot_graph)
    return analysistest.end(env)

_bare_compiler_test = analysistest.make(
    _bare_compiler_test_impl,
    config_settings = {_TOOLCHAINS: [str(Label(":bare_toolchain"))]},
)

_bare_refused_test = analysistest.make(
    failure_test_impl,
    attrs = FAILURE_ATTRS,
    config_settings = {_TOOLCHAINS: [str(Label(":bare_toolchain"))]},
    expect_failure = True,
)

_bad_settings_test = analysistest.make(
    failure_test_impl,
    attrs = FAILURE_ATTRS,
    config_settings = {str(Label("//furiosa_rules/settings:batch_size")): "-2"},
    expect_failure = True,
)

_word_in_settings_test = analysistest.make(
    failure_test_impl,
    attrs = FAILURE_ATTRS,
    config_settings = {str(Label("//furiosa_rules/settings:batch_size")): "four"},
    expect_failure = True,
)

def _batch_size_error_test_impl(ctx):
    env = unittest.begin(ctx)
    for size in (None, 0, 1, -1, "auto", select({"//conditions:default": 4})):
        asserts.equals(env, None, batch_size_error(size))
    asserts.equals(env, "batch_size is \"4\", but must be an int or \"auto\"", batch_size_error("4"))
    return unittest.end(env)

_batch_size_error_test = unittest.make(_batch_size_error_test_impl)

_other_compiler_test = analysistest.make(
    failure_test_impl,
    attrs = FAILURE_ATTRS,
    config_settings = {_TOOLCHAINS: [str(Label(":other_npu_toolchain"))]},
    expect_failure = True,
)

# Refused models: (name, attributes, the sentence).
_REFUSED = [
    ("wrong_extension", {"src": "weights.bin"}, "expected .onnx or .tflite"),
    ("unknown_npu", {"target_npu": "warboy-3pe"}, "target_npu is 'warboy-3pe', but the compiler knows only 'warboy', 'warboy-2pe'"),
    ("negative_batch", {"batch_size": -2}, "batch_size is -2, but must be at least 1"),
    ("unknown_release", {"compatibility": "0.7"}, "compatibility is '0.7', but must be one of '0.6.3', '0.10', 'latest'"),
    ("coverage_above_1", {"min_npu_coverage": "1.01"}, "min_npu_coverage is '1.01', but must be a share between 0 and 1, like '0.95'"),
    ("coverage_in_percent", {"min_npu_coverage": "95%"}, "min_npu_coverage is '95%', but must be a share"),
    ("coverage_below_0", {"min_npu_coverage": "-0.5"}, "min_npu_coverage is '-0.5', but must be a share"),
    ("coverage_of_dots", {"min_npu_coverage": "0.9.5"}, "min_npu_coverage is '0.9.5', but must be a share"),
    ("coverage_of_nothing", {"min_npu_coverage": "."}, "min_npu_coverage is '.', but must be a share"),
    ("host_operators", {"max_host_operators": -2}, "max_host_operators is -2, but must not be negative"),
    ("host_operators_option", {"copts": ["--max-host-operators=0"]}, "copts: --max-host-operators is not for npu_model; use max_host_operators"),
    ("coverage_option", {"copts": ["--min-npu-coverage=0.5"]}, "copts: --min-npu-coverage is not for npu_model; use min_npu_coverage"),
    ("optimize_option", {"copts": ["--optimize=2"]}, "copts: --optimize is not for npu_model; use optimize"),
    ("own_auto_option", {"copts": ["--auto-batch-size"]}, "copts: --auto-batch-size is not for npu_model; use batch_size"),
    ("page_option", {"copts": ["--report=x.html"]}, "copts: --report is not for npu_model; use the output group html"),
    ("own_option", {"copts": ["--batch-size=2"]}, "copts: --batch-size is not for npu_model; use batch_size"),
    ("dim_of_two", {"dims": {"height": "640x640"}}, "dims: \"640x640\" of \"height\" is not a size like \"640\""),
    ("dim_0", {"dims": {"height": 0}}, "dims: \"0\" of \"height\" is not a size like \"640\""),
    ("open_shape", {"input_shapes": {"a": "1x?"}}, "input_shapes: \"1x?\" of \"a\" is not a shape like \"1x3x640x640\""),
    ("shape_option", {"copts": ["--input-shape=a=1x3"]}, "copts: --input-shape is not for npu_model; use input_shapes"),
    ("signature_of_lines", {"signature": "a\nb"}, "names no signature"),
    ("signature_option", {"copts": ["--signature=a"]}, "copts: --signature is not for npu_model; use signature"),
    ("cut_at_nothing", {"outputs": [""]}, "outputs: \"\" names no tensor"),
    ("line_break", {"copts": ["-v\n-v"]}, "holds a line break"),
    ("hermetic_option", {"copts": ["--hermetic"]}, "copts: --hermetic is not for npu_model; use data, beside which the compiler reads nothing"),
    ("data_option", {"copts": ["--data=weights.bin"]}, "copts: --data is not for npu_model; use data"),
]

# The same with a compiler that is told of no files and looks for them beside the model.
_REFUSED_BY_BARE = [
    ("elsewhere", "//furiosa_rules:defs.bzl", "data: furiosa_rules/defs.bzl is not in or below the folder of the model, furiosa_rules/tests"),
    ("generated", "generated_weights.bin", "if one of the two is generated, so must be the other"),
]

def npu_model_test_suite(name):
    """All tests of npu_model.

    Args:
      name: the name of the test suite, and the prefix of its tests
    """
    tests = []

    # "manual": what the tests look at; nothing of it is for //... to build or to run
    def model(target, **kwargs):
        npu_model(name = target, **dict({"src": "model.onnx", "tags": ["manual"]}, **kwargs))

    model("plain")
    model("suffixed_enf", target_npu = "warboy", batch_size = 2, data = ["weights.bin"], copts = ["-v"])
    model("split", data = [
        "generated_weights.bin",
        "w=%1.bin",
        "//furiosa_rules:defs.bzl",
    ])
    model("automatic", batch_size = "auto")
    model("automatic_by_select", batch_size = select({"//conditions:default": -1}))
    model(
        "chosen",
        dims = {"width": 640},
        input_shapes = {"b": "1x8", "a": [1, 3, "640", 640]},
        inputs = ["-a", "b"],
        outputs = ["boxes", "scores,of,all"],
        signature = "serving_default",
    )
    model("chosen_by_select", input_shapes = select({"//conditions:default": {"a": "1x3"}}))
    model("restricted", compatibility = "0.6.3", max_host_operators = 0, min_npu_coverage = "0.95", optimize = 2)
    compile_tests = {
        "attributes": (_compile_test, "suffixed_enf", dict(
            stem = "suffixed",
            target_npu = "warboy",
            batch_size = 2,
            copts = ["-v"],
            data = ["--data=weights.bin=" + PACKAGE + "weights.bin"],
        )),
        "attributes_before_settings": (_settings_test, "suffixed_enf", dict(
            stem = "suffixed",
            target_npu = "warboy",
            batch_size = 2,
            copts = ["-v"],
            data = ["--data=weights.bin=" + PACKAGE + "weights.bin"],
        )),
        "auto": (_compile_test, "automatic", dict(stem = "automatic", target_npu = "warboy-2pe")),
        "auto_before_settings": (_settings_test, "automatic", dict(stem = "automatic", target_npu = "warboy")),
        "auto_by_select": (_compile_test, "automatic_by_select", dict(stem = "automatic_by_select", target_npu = "warboy-2pe")),
        "auto_by_settings": (_auto_settings_test, "plain", dict(stem = "plain", target_npu = "warboy-2pe")),
        "data": (_compile_test, "split", dict(
            stem = "split",
            target_npu = "warboy-2pe",
            batch_size = 1,
            data = [
                "--data=generated_weights.bin=BIN/" + PACKAGE + "generated_weights.bin",
                "--data=w==%1.bin=" + PACKAGE + "w=%1.bin",
                "--data==furiosa_rules/defs.bzl",
            ],
        )),
        "defaults": (_compile_test, "plain", dict(stem = "plain", target_npu = "warboy-2pe", batch_size = 1)),
        "options": (_compile_test, "restricted", dict(
            stem = "restricted",
            target_npu = "warboy-2pe",
            batch_size = 1,
            compatibility = "0.6.3",
            options = ["--compatibility", "0.6.3", "--min-npu-coverage", "0.95", "--max-host-operators", "0", "--optimize", "2"],
        )),
        "selection": (_compile_test, "chosen", dict(
            stem = "chosen",
            target_npu = "warboy-2pe",
            batch_size = 1,
            options = [
                "--input-shape=a=1x3x640x640",
                "--input-shape=b=1x8",
                "--dim=width=640",
                "--inputs=-a",
                "--inputs=b",
                "--outputs=boxes",
                "--outputs=scores,of,all",
                "--signature=serving_default",
            ],
        )),
        "selection_by_select": (_compile_test, "chosen_by_select", dict(
            stem = "chosen_by_select",
            target_npu = "warboy-2pe",
            batch_size = 1,
            options = ["--input-shape=a=1x3"],
        )),
        "settings": (_settings_test, "plain", dict(stem = "plain", target_npu = "warboy", batch_size = 3)),
    }
    for test, (rule, target, kwargs) in compile_tests.items():
        tests.append("%s_%s" % (name, test))
        rule(name = tests[-1], target_under_test = target, **kwargs)

    tests.append(name + "_verify")
    _verify_test(name = tests[-1], target_under_test = "plain")
    model("untried", host_trial = False)
    tests.append(name + "_verify_without_trial")
    _verify_test(name = tests[-1], options = ["--no-host-trial"], stem = "untried", target_under_test = "untried")
    tests.append(name + "_pages")
    _pages_test(name = tests[-1], target_under_test = "plain")
    tests.append(name + "_bare_compiler")
    _bare_compiler_test(name = tests[-1], target_under_test = "plain")
    for refused, label, message in _REFUSED_BY_BARE:
        model("refused_data_" + refused, data = [label])
        tests.append("%s_data_%s" % (name, refused))
        _bare_refused_test(name = tests[-1], message = message, target_under_test = "refused_data_" + refused)
    tests.append(name + "_bad_settings")
    _bad_settings_test(
        name = tests[-1],
        message = "batch_size is -2 (from //furiosa_rules/settings:batch_size), but must be at least 1",
        target_under_test = "plain",
    )
    tests.append(name + "_word_in_settings")
    _word_in_settings_test(
        name = tests[-1],
        message = "batch_size is 'four' (from //furiosa_rules/settings:batch_size), but must be a number or auto",
        target_under_test = "plain",
    )
    tests.append(name + "_batch_size_error")
    _batch_size_error_test(name = tests[-1])
    tests.append(name + "_other_compiler")
    _other_compiler_test(
        name = tests[-1],
        message = "but the compiler knows only 'other'",
        target_under_test = "plain",
    )
    for refused, kwargs, message in _REFUSED:
        model("refused_" + refused, **kwargs)
        tests.append("%s_refused_%s" % (name, refused))
        failure_test(name = tests[-1], target_under_test = "refused_" + refused, message = message)

    native.test_suite(name = name, tests = tests)
