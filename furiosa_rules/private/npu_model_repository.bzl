"""A repository of one downloaded model: what the module extension npu_models makes of a tag."""

def _npu_model_repository_impl(ctx):
    model = ctx.attr.model
    data = []
    for path, urls in ctx.attr.urls.items():
        ctx.download(urls, path, sha256 = ctx.attr.sha256[path])
        if path != model:
            data.append(path)
    ctx.file("BUILD.bazel", _BUILD.format(data = repr(data), model = repr(model), name = repr(ctx.attr.target)))

_BUILD = """\
package(default_visibility = ["//visibility:public"])

exports_files([{model}] + {data})

# src of npu_model
alias(
    name = {name},
    actual = {model},
)

# data of npu_model: the files that the model refers to
filegroup(
    name = "data",
    srcs = {data},
)
"""

npu_model_repository = repository_rule(
    doc = "Downloads a model and the files that it refers to, each by its SHA-256.",
    implementation = _npu_model_repository_impl,
    attrs = {
        "model": attr.string(doc = "path of the model in the repository", mandatory = True),
        "sha256": attr.string_dict(doc = "path to SHA-256, of the model and of each file that it refers to", mandatory = True),
        "target": attr.string(doc = "what the model is called beside its path: the repository's apparent name", mandatory = True),
        "urls": attr.string_list_dict(doc = "path to URLs, tried in this order, of the same files", mandatory = True),
    },
)
