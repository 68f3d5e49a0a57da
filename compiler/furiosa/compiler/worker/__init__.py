"""The compiler as a persistent worker of Bazel: one warm process that many build actions share."""
