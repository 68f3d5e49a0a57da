"""What the analysis tests share."""

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")

PACKAGE = "furiosa_rules/tests/"

def action_of(env, mnemonic):
    """The one action of the target under test that has the mnemonic."""
    [action] = [a for a in analysistest.target_actions(env) if a.mnemonic == mnemonic]
    return action

def command_of(action):
    """The arguments after the tool; a path in the output folder, mapped or not, begins with BIN."""
    return [_short(a) for a in action.argv[1:]]

def _short(arg):
    head, output, tail = arg.partition("bazel-out/")
    return head + "BIN/" + tail.split("/", 2)[2] if output else arg

def assert_portable(env, action):
    """The command names no absolute path, and the action takes nothing from the environment."""
    asserts.equals(env, [], [a for a in action.argv if a.startswith("/") or "=/" in a])
    asserts.equals(env, {}, action.env)

def names_of(files):
    """The names of files in this package."""
    return sorted([f.short_path.removeprefix(PACKAGE) for f in files.to_list()])

def written(env, name):
    """The content of the file of that name which the target under test writes."""
    [content] = [
        a.content
        for a in analysistest.target_actions(env)
        if a.mnemonic == "FileWrite" and [f.basename for f in a.outputs.to_list()] == [name]
    ]
    return content

def failure_test_impl(ctx):
    """Expects that analysis fails with the attribute `message`."""
    env = analysistest.begin(ctx)
    asserts.expect_failure(env, ctx.attr.message)
    return analysistest.end(env)

FAILURE_ATTRS = {"message": attr.string(mandatory = True)}

failure_test = analysistest.make(failure_test_impl, attrs = FAILURE_ATTRS, expect_failure = True)
