"""What tidy says about a place in the tree, and the limits that it holds the tree to."""

from dataclasses import dataclass
from typing import Final

FILE_LINES_MAX: Final = 500
TEST_FILE_LINES_MAX: Final = 600
BODY_LINES_MAX: Final = 45
FILE_SIZE_MAX_BYTES: Final = 1 << 20
TEST_NAME_WORDS_MIN: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Complaint:
    """One broken rule. advice says what to do about it."""

    path: str
    line: int
    rule: str
    advice: str

    def __str__(self) -> str:
        """Returns the form that editors can jump from."""
        return f"{self.path}:{self.line}: {self.rule}: {self.advice}"
