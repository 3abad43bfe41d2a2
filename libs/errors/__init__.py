"""The errors of the control plane, sorted by what a caller can do about them.

`TransientError` is worth another try, `TerminalError` never is. The docstring of a class is its
default message; details travel as attributes, not inside the text.
"""

from __future__ import annotations


class ControlPlaneError(Exception):
    """The control plane could not do what was asked."""

    def __init__(self, message: str | None = None, /, **details: object) -> None:
        """Take the class docstring as the message when none is given."""
        super().__init__(message or (type(self).__doc__ or type(self).__name__).splitlines()[0])
        self.details = details

    def __str__(self) -> str:
        """Render the message, then the details as `name=value`."""
        text = str(self.args[0])
        if not self.details:
            return text
        return f"{text} ({', '.join(f'{k}={v}' for k, v in self.details.items())})"


class TransientError(ControlPlaneError):
    """A peer did not answer or is not ready; the same call may succeed later."""


class TerminalError(ControlPlaneError):
    """The input or the state is wrong; repeating the call cannot help."""


class UsageError(TerminalError):
    """The user asked for something that cannot be done; the message says what to do instead."""

    exit_code = 2


class PeerUnreachableError(TransientError):
    """A peer process could not be reached within its time limit."""


class PeerGoneError(PeerUnreachableError):
    """Nothing listens at the peer's address: the peer is gone, rather than slow."""


class UnknownSchemaError(TerminalError):
    """A message carries a schema that this version does not know."""


class PermissionDeniedError(TerminalError):
    """The peer does not let this user do that."""
