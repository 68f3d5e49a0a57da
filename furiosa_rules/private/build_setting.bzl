"""Build settings that can be set on the command line (bazel_skylib has the like; the rules do without it)."""

BuildSettingInfo = provider(
    doc = "The value of a build setting.",
    fields = {"value": "string: what the flag was set to."},
)

def _impl(ctx):
    return [BuildSettingInfo(value = ctx.build_setting_value)]

string_setting = rule(
    implementation = _impl,
    doc = "A string flag.",
    build_setting = config.string(flag = True),
)

internal_string_setting = rule(
    implementation = _impl,
    doc = "A string that transitions set and the command line cannot.",
    build_setting = config.string(),
)
