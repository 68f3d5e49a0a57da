"""The interpreters of this machine, by version: provisioning writes this file anew."""

INTERPRETERS = {
    "default": struct(path = "/usr/bin/python3", version = "3.11.0"),
}
