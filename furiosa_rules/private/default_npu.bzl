"""Which NPU a model that names none is compiled for, and the transitions that change it."""

load(":build_setting.bzl", "BuildSettingInfo")
load(":display_form.bzl", "display_form")

DefaultNpuInfo = provider(
    doc = "The NPU of a model that names none.",
    fields = {
        "npu": "string: its name.",
        "origin": "string: what said so, for messages.",
    },
)

def _impl(ctx):
    bundle = ctx.attr.bundle[BuildSettingInfo].value
    if bundle:
        info = DefaultNpuInfo(npu = bundle, origin = "target_npu of the bundle")
    elif ctx.attr.platform:
        info = DefaultNpuInfo(npu = ctx.attr.platform, origin = "the target platform")
    else:
        info = DefaultNpuInfo(npu = ctx.attr.setting[BuildSettingInfo].value, origin = display_form(ctx.attr.setting.label))
    return [info, config_common.FeatureFlagInfo(value = info.npu)]

default_npu = rule(
    implementation = _impl,
    doc = "Decides which NPU a model that names none is compiled for: its bundle's, else the target platform's, else the setting's.",
    attrs = {
        "bundle": attr.label(
            doc = "The setting that `npu_bundle` changes for its models.",
            mandatory = True,
            providers = [BuildSettingInfo],
        ),
        "platform": attr.string(
            doc = "The NPU that the target platform has, or an empty string.",
        ),
        "setting": attr.label(
            doc = "The repository-wide default.",
            mandatory = True,
            providers = [BuildSettingInfo],
        ),
    },
)

_BUNDLE_NPU = "//furiosa_rules/settings:bundle_npu"
_OUTER_PLATFORM = "//furiosa_rules/settings:outer_platform"
_PLATFORMS = "//command_line_option:platforms"

# Those that are a platform's, too.
_NPUS = ("warboy", "warboy-2pe")

def _models_impl(settings, attr):
    npu = attr.target_npu
    unchanged = {name: settings[name] for name in (_BUNDLE_NPU, _OUTER_PLATFORM, _PLATFORMS)}
    if not npu:
        return unchanged
    if npu not in _NPUS:
        return unchanged | {_BUNDLE_NPU: npu}
    outer = settings[_OUTER_PLATFORM] or ",".join([str(platform) for platform in settings[_PLATFORMS]])
    return {
        _BUNDLE_NPU: npu,
        _OUTER_PLATFORM: outer,
        # so that a model's select() on the constraint, and its target_compatible_with, mean the bundle's NPU
        _PLATFORMS: [Label("//furiosa_rules/platforms:" + npu)],
    }

# From a bundle with a target_npu to its models.
bundle_transition = transition(
    implementation = _models_impl,
    inputs = [_BUNDLE_NPU, _OUTER_PLATFORM, _PLATFORMS],
    outputs = [_BUNDLE_NPU, _OUTER_PLATFORM, _PLATFORMS],
)

def _reset_impl(settings, _attr):
    outer = settings[_OUTER_PLATFORM]
    return {
        _BUNDLE_NPU: "",
        _OUTER_PLATFORM: "",
        _PLATFORMS: outer.split(",") if outer else settings[_PLATFORMS],
    }

# From a model to its sources, and from a toolchain to its compiler, which are the same for every NPU.
reset_transition = transition(
    implementation = _reset_impl,
    inputs = [_OUTER_PLATFORM, _PLATFORMS],
    outputs = [_BUNDLE_NPU, _OUTER_PLATFORM, _PLATFORMS],
)
