"""`down` finds what belongs to its stack, and nothing else."""

from pathlib import Path

from tools.cli.stack.processes import of_folder, of_stack

ABOVE = 5_000_000
"""Above any process id of Linux; this test's own is a small one in a sandbox."""


def living(
    proc: Path, pid: int, *, environ: str = "", command: str = "x", state: str = "S"
) -> None:
    """Make the entry of one process; its name has a parenthesis, as any name may."""
    folder = proc / str(pid)
    folder.mkdir()
    (folder / "environ").write_text(environ.replace(" ", "\0"))
    (folder / "cmdline").write_text(command.replace(" ", "\0"))
    (folder / "stat").write_text(f"{pid} (a) b) {state} 1 1")


def test_the_mark_in_the_environment_tells_whose_a_process_is(tmp_path: Path) -> None:
    """Another stack's mark begins alike."""
    living(tmp_path, ABOVE + 11, environ="A=1 SLUICE_STACK_ID=abc")
    living(tmp_path, ABOVE + 12, environ="SLUICE_STACK_ID=abcd")

    assert [each.pid for each in of_stack("abc", proc=tmp_path)] == [ABOVE + 11]


def test_a_stack_whose_files_are_gone_is_known_by_their_folder(tmp_path: Path) -> None:
    """Whatever its id was; an editor that has a file of it open is no part of it."""
    living(tmp_path, ABOVE + 11, environ="SLUICE_STACK_ID=abc SLUICE_STACK_FOLDER=/v")
    living(tmp_path, ABOVE + 12, environ="SLUICE_STACK_ID=xyz SLUICE_STACK_FOLDER=/v")
    living(tmp_path, ABOVE + 13, environ="SLUICE_STACK_FOLDER=/v2")
    living(tmp_path, ABOVE + 14, command="vim /v/haproxy/base.cfg")

    assert [each.pid for each in of_folder(Path("/v"), proc=tmp_path)] == [ABOVE + 11, ABOVE + 12]


def test_zombies_have_ended(tmp_path: Path) -> None:
    """Nobody can end them once more."""
    living(tmp_path, ABOVE + 11, environ="SLUICE_STACK_ID=abc", state="Z")

    assert of_stack("abc", proc=tmp_path) == []
