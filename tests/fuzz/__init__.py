"""Fuzzing of everything that reads a stranger's file: both importers, the ENF loader, the bundle reader.

`mutate` damages whole files by bytes and by fields, `checks` says what may come of a file, `workers` runs cases in processes
of limited time and memory, `run` is the long run.  Every case is a target and a number: the same number is the same file.
"""
