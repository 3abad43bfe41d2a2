"""Building and checking the workspace: Bazel rules, the test runner, the image writer."""
