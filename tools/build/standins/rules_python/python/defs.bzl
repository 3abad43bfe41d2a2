"""Stands in for @rules_python: the rules that are built into Bazel."""

py_binary = native.py_binary
py_library = native.py_library
py_runtime = native.py_runtime
py_test = native.py_test
