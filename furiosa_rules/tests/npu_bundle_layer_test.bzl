"""Analysis tests of npu_bundle_layer: the bundler's command line, inputs, and what is refused."""

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")
load("//furiosa_rules:defs.bzl", "npu_bundle", "npu_bundle_layer", "npu_model")
load(":analysis.bzl", "PACKAGE", "action_of", "command_of", "failure_test", "names_of")

def _layer_test_impl(ctx):
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)
    action = action_of(env, "NpuLayer")
    command = command_of(action)
    asserts.equals(env, [
        "layer",
        "BIN/" + PACKAGE + "layered.tar",
        "--output",
        "BIN/" + PACKAGE + target.label.name + ".tar",
        "--prefix",
        ctx.attr.prefix,
    ], command[:6])
    packed = [a for a in command[6:] if a != "--runtime-file"]
    asserts.equals(env, ctx.attr.runtime, bool(packed))
    asserts.equals(env, ctx.attr.runtime, "runtime/furiosa/runtime/deploy/run.py" in packed)
    asserts.equals(env, ctx.attr.runtime, "enf/furiosa/enf/reader.py" in packed)
    asserts.equals(env, [], [p for p in packed if p.startswith("compiler/") or "_onnx" in p or "_litert" in p])
    asserts.equals(env, [], [p for p in packed if p.startswith("/")])
    asserts.equals(env, {}, action.env)
    asserts.equals(env, [target.label.name + ".tar"], names_of(target[DefaultInfo].files))
    asserts.equals(env, [target.label.name + ".tar"], names_of(target[DefaultInfo].default_runfiles.files))
    return analysistest.end(env)

_layer_test = analysistest.make(_layer_test_impl, attrs = {
    "prefix": attr.string(mandatory = True),
    "runtime": attr.bool(mandatory = True),
})

def npu_bundle_layer_test_suite(name):
    """All tests of npu_bundle_layer.

    Args:
      name: the name of the test suite, and the prefix of its tests
    """

    # "manual": what the tests look at; nothing of it is for //... to build or to run
    npu_model(name = "layered_model", src = "model.onnx", tags = ["manual"])
    npu_bundle(name = "layered", models = ["layered_model"], tags = ["manual"])

    npu_bundle_layer(name = "plain_layer", bundle = "layered", tags = ["manual"])
    npu_bundle_layer(name = "runtime_layer", bundle = "layered", prefix = "vision", runtime = True, tags = ["manual"])
    tests = [name + "_plain", name + "_runtime"]
    _layer_test(name = tests[0], prefix = "/opt/models", runtime = False, target_under_test = "plain_layer")
    _layer_test(name = tests[1], prefix = "vision", runtime = True, target_under_test = "runtime_layer")

    for refused, prefix, why in [
        ("parent", "/opt/../etc", "holds the part '..', but must say the place itself"),
        ("empty", "", "is empty"),
        ("root", "/", "names no folder below '/'"),
        ("end", "/opt/models/", "ends with '/', leave that out"),
        ("twice", "/opt//models", "has two '/' in a row"),
        ("character", "/opt/my models", "holds \" \", but a path in an image is made of letters"),
    ]:
        npu_bundle_layer(name = "refused_layer_" + refused, bundle = "layered", prefix = prefix, tags = ["manual"])
        tests.append("%s_refused_%s" % (name, refused))
        failure_test(
            name = tests[-1],
            target_under_test = "refused_layer_" + refused,
            message = "prefix '%s' %s" % (prefix, why),
        )
    npu_bundle_layer(name = "refused_layer_of_model", bundle = "layered_model", tags = ["manual"])
    tests.append(name + "_refused_model")
    failure_test(
        name = tests[-1],
        target_under_test = "refused_layer_of_model",
        message = "does not have mandatory providers: 'NpuBundleInfo'",
    )

    native.test_suite(name = name, tests = tests)
