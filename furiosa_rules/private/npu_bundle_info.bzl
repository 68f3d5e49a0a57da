"""Provider of a bundle of compiled models."""

NpuBundleInfo = provider(
    doc = "Compiled models linked into one deployable archive, by `npu_bundle`.",
    fields = {
        "bundle": "File: the archive (.tar).",
        "manifest_binpb": "File: the manifest as a binary protobuf.",
        "manifest_json": "File: the same manifest in JSON.",
        "models": "list of NpuModelInfo: the models, in the order of the attribute.",
        "tree": "File: the unpacked archive, a directory.",
    },
)
