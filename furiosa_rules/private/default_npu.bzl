"""Which NPU a model that names none is compiled for, and the transitions that change it."""

load(":build_setting.bzl", "BuildSettingInfo")

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
        info = DefaultNpuInfo(npu = ctx.attr.setting[BuildSettingInfo].value, origin = str(ctx.attr.setting.label))
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

def _models_impl(settings, attr):
    return {_BUNDLE_NPU: attr.target_npu or settings[_BUNDLE_NPU]}

# From a bundle with a target_npu to its models.
bundle_transition = transition(
    implementation = _models_impl,
    inputs = [_BUNDLE_NPU],
    outputs = [_BUNDLE_NPU],
)

def _reset_impl(_settings, _attr):
    return {_BUNDLE_NPU: ""}

# From a model to its sources, and from a toolchain to its compiler, which are the same for every NPU.
reset_transition = transition(
    implementation = _reset_impl,
    inputs = [],
    outputs = [_BUNDLE_NPU],
)
