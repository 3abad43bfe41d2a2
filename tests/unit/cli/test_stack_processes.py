"""`down` finds what belongs to its stack, and nothing else."""

from pathlib import Path

from tools.cli.stack.processes import of_stack


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
    living(tmp_path, 11, environ="A=1 SLUICE_STACK_ID=abc")
    living(tmp_path, 12, environ="SLUICE_STACK_ID=abcd")

    assert [each.pid for each in of_stack("abc", proc=tmp_path)] == [11]


def test_haproxy_is_known_by_its_state_folder(tmp_path: Path) -> None:
    """It runs without an environment; another stack's HAProxy is left alone."""
    living(tmp_path, 11, command="haproxy -db -f /v/haproxy/base.cfg")
    living(tmp_path, 12, command="haproxy -db -f /v/haproxy2/base.cfg")

    found = of_stack("abc", haproxy_state=Path("/v/haproxy"), proc=tmp_path)

    assert [each.pid for each in found] == [11]


def test_zombies_have_ended(tmp_path: Path) -> None:
    """Nobody can end them once more."""
    living(tmp_path, 11, environ="SLUICE_STACK_ID=abc", state="Z")

    assert of_stack("abc", proc=tmp_path) == []
