"""Analysis tests of npu_bundle: outputs, the bundler's command line, and what is refused."""

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")
load("//furiosa_rules:defs.bzl", "NpuBundleInfo", "npu_bundle", "npu_model", "npu_tools_toolchain")
load(":analysis.bzl", "PACKAGE", "action_of", "assert_portable", "command_of", "failure_test", "names_of")

def _bundle_test_impl(ctx):
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)
    action = action_of(env, "NpuBundle")
    asserts.equals(env, [
        "pack",
        "--output",
        "BIN/" + PACKAGE + "pair.tar",
        "--manifest-json",
        "BIN/" + PACKAGE + "pair.manifest/manifest.json",
        "--manifest-binpb",
        "BIN/" + PACKAGE + "pair.manifest/manifest.binpb",
        "--model",
        "second=BIN/" + PACKAGE + "second.enf",
        "--model",
        "first=BIN/" + PACKAGE + "first.enf",
    ], command_of(action))
    assert_portable(env, action)

    unpack = action_of(env, "NpuUnpack")
    asserts.equals(env, [
        "unpack",
        "BIN/" + PACKAGE + "pair.tar",
        "--output",
        "BIN/" + PACKAGE + "pair.tree",
    ], command_of(unpack))
    assert_portable(env, unpack)
    verify = action_of(env, "NpuVerify")
    asserts.equals(env, [
        "verify",
        "BIN/" + PACKAGE + "pair.tar",
        "--stamp",
        "BIN/" + PACKAGE + "pair.tar.verified",
        "--no-host-trial",
    ], command_of(verify))
    assert_portable(env, verify)

    asserts.equals(env, ["pair.tar"], names_of(target[DefaultInfo].files))
    asserts.equals(env, ["pair.tar"], names_of(target[DefaultInfo].default_runfiles.files))
    asserts.equals(env, ["pair.tree"], names_of(target[OutputGroupInfo].tree))
    asserts.equals(env, ["pair.manifest/manifest.binpb", "pair.manifest/manifest.json"], names_of(target[OutputGroupInfo].manifest))
    asserts.equals(env, ["first.enf.verified", "pair.tar.verified", "second.enf.verified"], names_of(target[OutputGroupInfo]._validation))

    info = target[NpuBundleInfo]
    asserts.equals(env, "pair.tar", info.bundle.basename)
    asserts.equals(env, "manifest.json", info.manifest_json.basename)
    asserts.equals(env, "manifest.binpb", info.manifest_binpb.basename)
    asserts.equals(env, ["second", "first"], [m.model_name for m in info.models])
    asserts.true(env, info.tree.is_directory)
    return analysistest.end(env)

_bundle_test = analysistest.make(_bundle_test_impl)

def _other_bundler_test_impl(ctx):
    """The bundler is that of the toolchain, with all that runs it; what the toolchain does not name is this repository's."""
    env = analysistest.begin(ctx)
    for mnemonic in ("NpuBundle", "NpuUnpack", "NpuVerify"):
        asserts.true(env, action_of(env, mnemonic).argv[0].endswith("/" + PACKAGE + "other_bundler"))
    return analysistest.end(env)

_other_bundler_test = analysistest.make(
    _other_bundler_test_impl,
    config_settings = {"//command_line_option:extra_toolchains": [str(Label(":other_tools_toolchain"))]},
)

def _named_test_impl(ctx):
    """Names of the bundle's own, and a model that is there under two labels."""
    env = analysistest.begin(ctx)
    command = command_of(action_of(env, "NpuBundle"))
    models = [command[i + 1] for i, argument in enumerate(command) if argument == "--model"]
    expected = ["first=BIN/%sfirst.enf", "second=BIN/%ssecond.enf", "detector=BIN/%sfirst.enf", "resnet50.v2=BIN/%smatrix_warboy_b1.enf"]
    asserts.equals(env, [model % PACKAGE for model in expected], models)
    return analysistest.end(env)

_named_test = analysistest.make(_named_test_impl)

# Refused bundles: (name, models, the sentence).
_REFUSED = [
    ("empty", [], "models is empty; a bundle needs at least one npu_model"),
    ("duplicate", ["first_enf", "first"], "models: //furiosa_rules/tests:first_enf and //furiosa_rules/tests:first would both be 'first' in the bundle; give one of them another name in `names`"),
    ("matrix", ["matrix_enf"], "models: //furiosa_rules/tests:matrix_enf is an npu_model_matrix; list those of its models that the bundle is to have: " +
                               "//furiosa_rules/tests:matrix_warboy_b1_enf, //furiosa_rules/tests:matrix_warboy_b4_enf, "),
    ("name", ["a+b_enf"], "models: //furiosa_rules/tests:a+b_enf cannot have the name 'a+b' in the bundle"),
    ("no_model", ["bare_compiler"], "does not have mandatory providers: 'NpuModelInfo' or 'NpuModelMatrixInfo'"),
]

def npu_bundle_test_suite(name):
    """All tests of npu_bundle.

    Args:
      name: the name of the test suite, and the prefix of its tests
    """

    # "manual": what the tests look at; nothing of it is for //... to build or to run
    for model in ["first_enf", "second_enf", "a+b_enf", "first"]:
        npu_model(name = model, src = "model.onnx", tags = ["manual"])

    npu_bundle(name = "pair", models = ["second_enf", "first_enf"], tags = ["manual"])
    tests = [name + "_outputs"]
    _bundle_test(name = tests[-1], target_under_test = "pair")

    native.genrule(
        name = "write_other_bundler",
        outs = ["other_bundler"],
        cmd = "touch $@",
        executable = True,
        tags = ["manual"],
    )
    npu_tools_toolchain(name = "other_tools", bundler = "other_bundler", tags = ["manual"])
    native.toolchain(
        name = "other_tools_toolchain",
        toolchain = "other_tools",
        toolchain_type = "//furiosa_rules:tools_toolchain_type",
    )
    tests.append(name + "_other_bundler")
    _other_bundler_test(name = tests[-1], target_under_test = "pair")

    native.alias(name = "first_alias", actual = "first_enf", tags = ["manual"])
    npu_bundle(
        name = "named",
        models = ["first_enf", "second_enf", "first_alias"],
        names = {"first_enf": "detector", "matrix_warboy_b1_enf": "resnet50.v2"},
        tags = ["manual"],
    )
    tests.append(name + "_names")
    _named_test(name = tests[-1], target_under_test = "named")
    for refused, models, message in _REFUSED:
        npu_bundle(name = "refused_bundle_" + refused, models = models, tags = ["manual"])
        tests.append("%s_refused_%s" % (name, refused))
        failure_test(name = tests[-1], target_under_test = "refused_bundle_" + refused, message = message)

    native.test_suite(name = name, tests = tests)
