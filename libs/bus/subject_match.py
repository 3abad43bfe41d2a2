"""How NATS matches subjects: `*` stands for one token, `>` for one or more at the end."""

from __future__ import annotations


def subject_matches(pattern: str, subject: str) -> bool:
    """Tell whether a subscription to `pattern` receives what is published to `subject`.

    Source: NATS documentation, "Subject-Based Messaging", wildcards.
    """
    wanted, found = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted.pop()
        if len(found) <= len(wanted):
            return False
        found = found[: len(wanted)]
    return len(wanted) == len(found) and all(
        token in ("*", other) for token, other in zip(wanted, found, strict=True)
    )
