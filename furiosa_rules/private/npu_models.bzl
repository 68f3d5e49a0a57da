"""The module extension npu_models: models that are downloaded."""

load(":npu_model_repository.bzl", "npu_model_repository")

_SUFFIXES = (".onnx", ".tflite")
_HEX = "0123456789abcdef"
_SCHEMES = ("https", "http", "file")

# In a URL these stand for themselves (RFC 3986, unreserved); of the others, those that a file name may have here
_PLAIN = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
_ESCAPED = {" ": "%20", "!": "%21", "#": "%23", "%": "%25", "&": "%26", "(": "%28", ")": "%29", "+": "%2B", ",": "%2C", "=": "%3D", "@": "%40"}

def _npu_models_impl(ctx):
    models, direct, direct_dev = {}, [], []
    for module in ctx.modules:
        names = {}
        for read, tags in ((_file, module.tags.file), (_huggingface, module.tags.huggingface)):
            for tag in tags:
                where = "npu_models, module '%s', '%s'" % (module.name or "(root)", tag.name)
                if tag.name in names:
                    fail(where + ": two models have this name; give one of them another")
                names[tag.name] = True
                if module.is_root:
                    (direct_dev if ctx.is_dev_dependency(tag) else direct).append(tag.name)
                model = read(where, tag)
                other = models.setdefault(tag.name, (where, model))
                if other[1] != model:
                    fail("%s: %s is another file of the same name; one of the modules has to rename its own" % (where, other[0]))
    for name, (_, model) in models.items():
        npu_model_repository(name = name, target = name, **model)
    return ctx.extension_metadata(
        reproducible = True,
        root_module_direct_deps = direct,
        root_module_direct_dev_deps = direct_dev,
    )

def _file(where, tag):
    """The attributes of the repository that a tag `file` asks for."""
    folders = []
    for url in tag.urls:
        scheme, _, rest = url.partition("://")
        if scheme not in _SCHEMES or "/" not in rest.lstrip("/") and scheme != "file":
            fail("%s: urls: '%s' is no URL of a file; a URL begins with %s" % (where, url, ", ".join([s + "://" for s in _SCHEMES])))
        folders.append(url.partition("?")[0].rpartition("/")[0])
    if not tag.urls:
        fail(where + ": urls: name at least one")
    model = tag.file or tag.urls[0].partition("?")[0].rpartition("/")[2]
    folder = model.rpartition("/")[0]
    _check(where, model, tag)
    if folder:
        fail("%s: file: '%s' names a folder; it is the name that the model gets, without one" % (where, model))
    urls = {model: tag.urls}
    for path in tag.data:
        urls[path] = [base + "/" + _escaped(where, path) for base in folders]
    return {"model": model, "sha256": {model: tag.sha256} | tag.data, "urls": urls}

def _huggingface(where, tag):
    """The attributes of the repository that a tag `huggingface` asks for."""
    _check(where, tag.file, tag)
    for what, value in (("repo", tag.repo), ("revision", tag.revision)):
        _check_path(where, what, value)
    if tag.repo.count("/") > 1:
        fail("%s: repo: '%s' is no OWNER/NAME" % (where, tag.repo))
    sha256 = {tag.file: tag.sha256} | tag.data
    base = "%s/%s/resolve/%s/" % (tag.endpoint.rstrip("/"), tag.repo, tag.revision.replace("/", "%2F"))
    return {
        "model": tag.file,
        "sha256": sha256,
        "urls": {path: [base + _escaped(where, path)] for path in sha256},
    }

def _check(where, model, tag):
    """Fails where a name or a hash of a tag cannot be one."""
    if not model.endswith(_SUFFIXES):
        fail("%s: '%s' is neither .onnx nor .tflite; say file = \"NAME.onnx\" where the URL does not" % (where, model))
    if model in tag.data:
        fail("%s: data: '%s' is the model itself" % (where, model))
    for path, sha256 in ({model: tag.sha256} | tag.data).items():
        _check_path(where, "data" if path in tag.data else "file", path)
        if len(sha256) != 64 or sha256.lower().strip(_HEX):
            fail("%s: sha256 of '%s': '%s' is not 64 hexadecimal digits; `sha256sum FILE` prints them" % (where, path, sha256))

def _check_path(where, what, path):
    """Fails unless `path` stays in its folder and can be part of a Bazel label."""
    if [part for part in path.split("/") if part in ("", ".", "..")] or "BUILD" in path.split("/") or "BUILD.bazel" in path.split("/"):
        fail("%s: %s: '%s' is not a relative path of a file" % (where, what, path))
    _escaped(where, path)

def _escaped(where, path):
    """`path` as part of a URL."""
    letters = []
    for letter in path.elems():
        if letter != "/" and letter not in _PLAIN and letter not in _ESCAPED:
            fail("%s: '%s': a file name here may not have the character %r" % (where, path, letter))
        letters.append(_ESCAPED.get(letter, letter))
    return "".join(letters)

_MODEL = {
    "data": attr.string_dict(
        doc = "The files that the model refers to, such as its weights: path to SHA-256. The paths are those in the repository of the hub, or, for a `file`, beside it.",
    ),
    "name": attr.string(doc = "Name of the repository, for use_repo: `@NAME` is the model, `@NAME//:data` what it refers to.", mandatory = True),
    "sha256": attr.string(doc = "SHA-256 of the model, 64 hexadecimal digits.", mandatory = True),
}

npu_models = module_extension(
    doc = """\
Models that are downloaded, each by its SHA-256 and only when something needs it.

    npu_models = use_extension("@furiosa_rules//furiosa_rules:extensions.bzl", "npu_models")
    npu_models.file(
        name = "resnet50",
        sha256 = "...",
        urls = ["https://models.example.com/resnet50.onnx"],
    )
    use_repo(npu_models, "resnet50")

`npu_model(src = "@resnet50", data = ["@resnet50//:data"])` compiles it; data only where the model refers to other files. The download is Bazel's own:
its repository cache, `--credential_helper` and .netrc, `--experimental_downloader_config` and `file://` URLs apply.
""",
    implementation = _npu_models_impl,
    tag_classes = {
        "file": tag_class(
            doc = "A model from a web server or a folder.",
            attrs = _MODEL | {
                "file": attr.string(doc = "Name that the model gets, with .onnx or .tflite; without it the last part of the first URL."),
                "urls": attr.string_list(
                    doc = "URLs of the same model, tried in this order: https, http or file. What it refers to is looked for beside it.",
                    mandatory = True,
                ),
            },
        ),
        "huggingface": tag_class(
            doc = "A model of a Hugging Face repository.",
            attrs = _MODEL | {
                "endpoint": attr.string(default = "https://huggingface.co", doc = "Where the hub, or a mirror of it, is."),
                "file": attr.string(doc = "Path of the model in the repository: `onnx/model.onnx`.", mandatory = True),
                "repo": attr.string(doc = "`OWNER/NAME`.", mandatory = True),
                "revision": attr.string(doc = "The commit. A branch or a tag works until it moves: then the SHA-256 no longer fits.", mandatory = True),
            },
        ),
    },
)
