"""The files of external data of a model: what the compiler is told of them."""

def location(src, file):
    """What a model calls a file that is in or below its folder; source files and generated ones share the folders of a repository.

    Args:
      src: File, the model
      file: File, the data

    Returns:
      a string; None for a file that is elsewhere
    """
    folder = src.short_path[:-len(src.basename)]
    path = file.short_path
    if not path.startswith(folder) or path.startswith("../") and not folder:
        return None
    return path[len(folder):]

def add_data(args, src, data):
    """Adds the options that say which files the compiler may read beside the model, and that it may read no others.

    Args:
      args: the Args
      src: File, the model
      data: list of Files
    """
    args.add("--hermetic")
    for file in data:
        if file.is_directory:
            args.add_all([file], format_each = "--data==%s")
        else:
            args.add(file, format = _option(src, file).replace("%", "%%") + "%s")

def data_lines(src, data, is_hermetic = True):
    """The same options, for a test: with paths in its runfiles.

    Args:
      src: File, the model that was compiled
      data: list of Files
      is_hermetic: whether others may not be read

    Returns:
      a list of strings
    """
    return (["--hermetic"] if is_hermetic else []) + [_option(src, file) + file.short_path for file in data]

def _option(src, file):
    return "--data=%s=" % (location(src, file) or "").replace("=", "==")

def check_beside(src, data):
    """Fails where a compiler that looks for data beside the model would not find them.

    Args:
      src: File, the model
      data: list of Files
    """
    for file in data:
        if file.root.path != src.root.path or location(src, file) == None:
            fail(("data: %s is not in or below the folder of the model, %s, where the compiler of this toolchain looks for it; if one of the " +
                  "two is generated, so must be the other") % (file.path, src.dirname or "."))
