"""Shares, which are strings as Bazel's attributes know no fractions."""

def check_share(name, share):
    """Fails where a string is neither empty nor a share between 0 and 1.

    Args:
      name: string, of the attribute
      share: string, its value
    """
    digits = share.replace(".", "", 1)
    if share and (not digits or digits.strip("0123456789") or float(share) > 1):
        fail("%s is '%s', but must be a share between 0 and 1, like '0.95'" % (name, share))
