"""Tests of npu_budget_test, npu_reproducibility_test and npu_lint: what they run and refuse, and what they then say."""

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts", "unittest")
load("@rules_python//python:py_binary.bzl", "py_binary")
load("//furiosa_rules:defs.bzl", "npu_budget_test", "npu_bundle", "npu_compiler_toolchain", "npu_lint", "npu_model", "npu_model_matrix", "npu_reproducibility_test")
load("//tools/pytest:defs.bzl", "pytest_test")
load(":analysis.bzl", "FAILURE_ATTRS", "PACKAGE", "failure_test", "failure_test_impl", "written")

_TOOLCHAINS = "//command_line_option:extra_toolchains"

def _arguments_test_impl(ctx):
    """The tool, the lines of its arguments and the runfiles are those of the test's attributes."""
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)
    name = target.label.name
    lines = written(env, name + ".arguments").splitlines()
    asserts.equals(env, ctx.attr.arguments, [line.removeprefix(PACKAGE) for line in lines])
    launcher = written(env, name)
    asserts.true(env, "exec '%s' '@%s%s.arguments'" % (ctx.attr.tool, PACKAGE, name) in launcher, launcher)
    runfiles = [f.short_path for f in target[DefaultInfo].default_runfiles.files.to_list()]
    for wanted in [ctx.attr.tool] + ctx.attr.runfiles:
        asserts.true(env, wanted in runfiles, wanted + " is in the runfiles")
    asserts.equals(env, [], [a for a in analysistest.target_actions(env) if a.mnemonic == "NpuCompile"])
    return analysistest.end(env)

_arguments_test = analysistest.make(
    _arguments_test_impl,
    attrs = {
        "arguments": attr.string_list(),
        "runfiles": attr.string_list(),
        "tool": attr.string(),
    },
)

def _linted_impl(ctx):
    files = ctx.attr.target[OutputGroupInfo].npu_lint
    return [DefaultInfo(files = files, runfiles = ctx.runfiles(transitive_files = files))]

_linted = rule(
    implementation = _linted_impl,
    doc = "The findings of the models that a target reaches.",
    attrs = {"target": attr.label(aspects = [npu_lint])},
)

def _lint_test_impl(ctx):
    env = analysistest.begin(ctx)
    files = analysistest.target_under_test(env)[DefaultInfo].files.to_list()
    asserts.equals(env, ctx.attr.files, sorted([f.basename for f in files]))
    return analysistest.end(env)

_lint_test = analysistest.make(_lint_test_impl, attrs = {"files": attr.string_list()})

_bare_lint_test = analysistest.make(
    _lint_test_impl,
    attrs = {"files": attr.string_list()},
    config_settings = {_TOOLCHAINS: [str(Label(":bare_toolchain"))]},
)

_no_report_test = analysistest.make(
    failure_test_impl,
    attrs = FAILURE_ATTRS,
    config_settings = {_TOOLCHAINS: [str(Label(":bare_toolchain"))]},
    expect_failure = True,
)

_vendor_test = analysistest.make(
    failure_test_impl,
    attrs = FAILURE_ATTRS,
    config_settings = {_TOOLCHAINS: [str(Label(":furiosa-compiler_toolchain"))]},
    expect_failure = True,
)

def _leaking_transition_impl(_settings, _attr):
    return {_TOOLCHAINS: ["//furiosa_rules/tests:leaking_toolchain"]}

_leaking_transition = transition(
    implementation = _leaking_transition_impl,
    inputs = [],
    outputs = [_TOOLCHAINS],
)

def _with_leaking_compiler_impl(ctx):
    info = ctx.attr.target[0][DefaultInfo]
    return [DefaultInfo(files = info.files, runfiles = info.default_runfiles)]

_with_leaking_compiler = rule(
    implementation = _with_leaking_compiler_impl,
    doc = "A target whose compiler leaks.",
    attrs = {"target": attr.label(cfg = _leaking_transition)},
)

def _environment_test_impl(ctx):
    env = analysistest.begin(ctx)
    info = analysistest.target_under_test(env)[RunEnvironmentInfo]
    asserts.equals(env, {"SEEN": "a b"}, info.environment)
    asserts.equals(env, ["HANDED_ON"], info.inherited_environment)
    return analysistest.end(env)

_environment_test = analysistest.make(_environment_test_impl)

def _kinds_test_impl(ctx):
    """What a query shows and takes as kind is what BUILD files say."""
    env = unittest.begin(ctx)
    asserts.equals(env, ["npu_model", "npu_budget_test", "npu_model_matrix"], ctx.attr.kinds)
    return unittest.end(env)

_kinds_test = unittest.make(_kinds_test_impl, attrs = {"kinds": attr.string_list()})

# Refused tests: (name, attributes, the sentence).
_REFUSED = [
    ("nothing", dict(), "no budget is given; set at least one of max_dram_bytes, max_dram_traffic_bytes, max_enf_bytes, "),
    ("negative", dict(max_enf_bytes = -2), "max_enf_bytes is -2, but must not be negative"),
    ("negative_dram", dict(max_dram_bytes = -1), "max_dram_bytes is '-1', but must be a number of bytes"),
    ("no_number", dict(max_dram_traffic_bytes = "8 GiB"), "max_dram_traffic_bytes is '8 GiB', but must be a number of bytes"),
    ("share", dict(min_npu_coverage = "95%"), "min_npu_coverage is '95%', but must be a share between 0 and 1"),
    ("no_model", dict(model = "bare_compiler", max_enf_bytes = 1), "does not have mandatory providers: 'NpuModelInfo'"),
]

def gates_test_suite(name):
    """All tests of the gates.

    Args:
      name: the name of the test suite, and the prefix of its tests
    """

    # "manual": what the tests look at; nothing of it is for //... to build or to run
    manual = ["manual"]

    npu_model(
        name = "gated_enf",
        src = "model.onnx",
        batch_size = 2,
        compatibility = "0.6.3",
        copts = ["-v"],
        data = ["weights.bin"],
        min_npu_coverage = "0.5",
        tags = manual,
        target_npu = "warboy",
    )
    npu_budget_test(name = "gated_budget", model = "gated_enf", max_latency_us = 5, max_dram_bytes = 0, max_host_operators = 3, min_npu_coverage = "0.9", tags = manual)
    npu_budget_test(
        name = "budget_with_environment",
        env = {"SEEN": "a b"},
        env_inherit = ["HANDED_ON"],
        max_enf_bytes = 1,
        model = "gated_enf",
        tags = manual,
    )
    npu_model_matrix(name = "kind_enf", src = "model.onnx", target_npus = ["warboy"], tags = manual)
    _kinds_test(
        name = name + "_kinds",
        kinds = [native.existing_rule(target)["kind"] for target in ["gated_enf", "gated_budget", "kind_enf"]],
    )
    npu_budget_test(
        name = "selected_budget",
        max_dram_bytes = select({"//conditions:default": "8589934592"}),
        max_latency_us = select({"//conditions:default": 7}),
        min_throughput_per_s = 1000,
        max_dram_traffic_bytes = "17179869184",
        model = select({"//conditions:default": "gated_enf"}),
        tags = manual,
    )
    npu_reproducibility_test(name = "gated_reproducibility", model = "gated_enf", tags = manual)
    npu_model(name = "linted_model_enf", src = "model.onnx", tags = manual)
    npu_bundle(name = "linted_bundle", models = ["gated_enf", "linted_model_enf"], tags = manual)
    native.filegroup(name = "linted_group", srcs = ["linted_bundle"], data = ["gated_budget"], tags = manual, testonly = True)
    _linted(name = "linted", target = "linted_group", tags = manual, testonly = True)

    _linted(name = "linted_bundle_alone", target = "linted_bundle", tags = manual)

    # test: (rule, target, attributes)
    tests = {
        "budget": (_arguments_test, "gated_budget", dict(
            arguments = ["gated.report.json", "--max-dram-bytes", "0", "--max-host-operators", "3", "--max-latency-us", "5", "--min-npu-coverage", "0.9"],
            runfiles = [PACKAGE + "gated.report.json"],
            tool = "compiler/furiosa_budget",
        )),
        "selected_budget": (_arguments_test, "selected_budget", dict(
            arguments = ["gated.report.json", "--max-dram-bytes", "8589934592", "--max-dram-traffic-bytes", "17179869184"] +
                        ["--max-latency-us", "7", "--min-throughput-per-s", "1000"],
            runfiles = [PACKAGE + "gated.report.json"],
            tool = "compiler/furiosa_budget",
        )),
        "reproducibility": (_arguments_test, "gated_reproducibility", dict(
            arguments = ["compiler/furiosa_onnx_compiler", "model.onnx", "--enf", "gated.enf", "--report", "gated.report.json"] +
                        ["--dot", "gated.dot", "--hermetic", "--data=weights.bin=%sweights.bin" % PACKAGE, "--worker", "proto", "--option=--target-npu"] +
                        ["--option=warboy", "--option=--batch-size", "--option=2", "--option=--compatibility"] +
                        ["--option=0.6.3", "--option=--min-npu-coverage", "--option=0.5", "--option=-v"],
            runfiles = ["compiler/furiosa_onnx_compiler"] +
                       [PACKAGE + f for f in ["model.onnx", "weights.bin", "gated.enf", "gated.report.json", "gated.dot"]],
            tool = "compiler/furiosa_reproduce",
        )),
        "environment": (_environment_test, "budget_with_environment", dict()),
        "lint": (_lint_test, "linted", dict(files = [
            "gated.lint.json",
            "gated.sarif",
            "linted_model.lint.json",
            "linted_model.sarif",
        ])),
        "lint_without_report": (_bare_lint_test, "linted_bundle_alone", dict(files = [])),
        "budget_without_report": (_no_report_test, "gated_budget", dict(
            message = "writes no report, which npu_budget_test needs",
        )),
        "reproducibility_of_vendor": (_vendor_test, "vendor_reproducibility", dict(
            message = "npu_reproducibility_test works with the default compiler",
        )),
        "budget_of_vendor": (_vendor_test, "vendor_budget", dict(message = "npu_budget_test works with the default compiler")),
    }
    npu_reproducibility_test(name = "vendor_reproducibility", model = "linted_model_enf", tags = manual)
    npu_budget_test(name = "vendor_budget", model = "linted_model_enf", max_enf_bytes = 1, tags = manual)
    for refused, kwargs, message in _REFUSED:
        npu_budget_test(name = "refused_budget_" + refused, **(dict(model = "gated_enf", tags = manual) | kwargs))
        tests["refused_" + refused] = (failure_test, "refused_budget_" + refused, dict(message = message))
    for test, (rule, target, kwargs) in tests.items():
        rule(name = "%s_%s" % (name, test), target_under_test = target, **kwargs)

    _real_tests()
    native.test_suite(name = name, tests = ["%s_%s" % (name, test) for test in tests] + [name + "_kinds", "gates_run_test"])

def _real_tests():
    """Models that are compiled, and tests that are run, by gates_run_test.py."""
    manual = ["manual"]
    npu_model(name = "gate_enf", src = "//examples/models:tiny_int8.onnx", tags = manual)
    npu_model(name = "gate_float_enf", src = "//examples/models:tiny_float32.onnx", tags = manual)
    npu_bundle(name = "gate_bundle", models = ["gate_enf", "gate_float_enf"], tags = manual)
    _linted(name = "gate_lint", target = "gate_bundle", tags = manual)
    npu_budget_test(
        name = "gate_budget_kept",
        max_dram_bytes = 1000000,
        max_enf_bytes = 1000000,
        max_host_operators = 0,
        max_latency_us = 1000000,
        max_sram_bytes = 1000000,
        min_npu_coverage = "1",
        model = "gate_enf",
        tags = manual,
    )
    npu_budget_test(
        name = "gate_budget_broken",
        max_dram_bytes = 1000000,
        max_enf_bytes = 1000,
        max_host_operators = 0,
        max_latency_us = 1,
        min_npu_coverage = "0.01",
        model = "gate_float_enf",
        tags = manual,
    )

    py_binary(
        name = "leaking_compile",
        srcs = ["leaking_compile.py"],
        # or the tests that have it get an empty __init__.py in packages of which they have a part
        legacy_create_init = 0,
        deps = ["//compiler"],
    )
    npu_compiler_toolchain(name = "leaking_compiler", compiler = ":leaking_compile")
    native.toolchain(
        name = "leaking_toolchain",
        toolchain = ":leaking_compiler",
        toolchain_type = "//furiosa_rules:toolchain_type",
    )
    npu_model(name = "leaky_enf", src = "//examples/models:tiny_int8.onnx", tags = manual)
    npu_reproducibility_test(name = "gate_leaking", model = "leaky_enf", tags = manual)
    _with_leaking_compiler(name = "with_leaking_compiler", target = "gate_leaking", tags = manual, testonly = True)
    pytest_test(
        name = "gates_run_test",
        srcs = ["gates_run_test.py"],
        data = [
            ":gate_budget_broken",
            ":gate_budget_kept",
            ":gate_lint",
            ":with_leaking_compiler",
        ],
        deps = [
            "//compiler:testing",
            "@furiosa_rules_dev_pypi//bazel_runfiles",
        ],
    )
