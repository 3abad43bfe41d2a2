"""Laying out installed packages for Bazel: each sees its own files, and circles become one."""

from importlib import metadata
from pathlib import Path

import pytest

from tools.build import lay_out


def install(site: Path, name: str, *files: str, requires: tuple[str, ...] = ()) -> None:
    """Puts a distribution with these files into a site-packages folder."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    needs = "".join(f"Requires-Dist: {need}\n" for need in requires)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}")
    for file in files:
        path = site / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    record = [*files, f"{info.name}/METADATA", f"{info.name}/RECORD"]
    (info / "RECORD").write_text("".join(f"{line},,\n" for line in record))


def test_a_package_has_its_own_files_and_not_its_neighbours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of one owner is linked whole; a shared one is made and filled."""
    site, lock = tmp_path / "site", tmp_path / "x.lock"
    install(site, "alpha", "alpha/__init__.py", "shared/a.py")
    install(site, "beta", "shared/b.py")
    lock.write_text("alpha==1.0 \\\n    --hash=sha256:0\nbeta==1.0 \\\n")
    monkeypatch.chdir(tmp_path)

    lay_out.lay_out(lock, site, "pypi")

    alpha, beta = (tmp_path / "packages" / name / lay_out.SITE for name in ("alpha", "beta"))
    assert (alpha / "alpha").is_symlink()
    assert [path.name for path in (alpha / "shared").iterdir()] == ["a.py"]
    assert [path.name for path in (beta / "shared").iterdir()] == ["b.py"]


def test_a_program_is_where_its_distribution_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What looks a program up by its distribution finds it."""
    site, lock = tmp_path / "venv" / "lib" / "python3" / "site-packages", tmp_path / "x.lock"
    install(site, "alpha", "alpha.py", "../../../bin/alpha")
    lock.write_text("alpha==1.0 \\\n")
    monkeypatch.chdir(tmp_path)

    lay_out.lay_out(lock, site, "pypi")

    (found,) = metadata.distributions(path=[str(tmp_path / "packages" / "alpha" / lay_out.SITE)])
    assert Path(str(found.locate_file("../../../bin/alpha"))).exists()


def test_an_installation_that_differs_from_the_lock_is_refused(
    tmp_path: Path,
) -> None:
    """The message names both versions."""
    install(tmp_path / "site", "alpha", "alpha.py")
    (tmp_path / "x.lock").write_text("alpha==2.0 \\\ngone==1.0 \\\n")

    with pytest.raises(SystemExit) as refused:
        lay_out.lay_out(tmp_path / "x.lock", tmp_path / "site", "pypi")

    message = str(refused.value)
    assert "alpha: locked 2.0, installed 1.0" in message
    assert "gone: locked 1.0, installed None" in message


def test_packages_that_need_each_other_share_a_library() -> None:
    """Bazel has no circles: who needs one of a circle gets all of it."""
    graph = {"a": {"b"}, "b": {"a", "c"}, "c": set(), "d": {"a"}}

    circles = lay_out.components(graph)

    assert circles == {"a": ("a", "b"), "b": ("a", "b"), "c": ("c",), "d": ("d",)}


def test_an_extra_that_another_package_asks_for_counts(tmp_path: Path) -> None:
    """The lock names packages, and not which of their extras made it name others."""
    install(tmp_path, "alpha", "alpha.py", requires=("beta[fast]",))
    install(tmp_path, "beta", "beta.py", requires=('gamma; extra == "fast"',))
    install(tmp_path, "gamma", "gamma.py")
    dists = {dist.name: dist for dist in metadata.distributions(path=[str(tmp_path)])}
    wanted = {name: lay_out.Locked("1.0", frozenset()) for name in dists}

    graph = lay_out.dependencies(dists, wanted)

    assert graph == {"alpha": {"beta"}, "beta": {"gamma"}, "gamma": set()}


def test_a_package_that_the_lock_names_twice_has_both_extras(tmp_path: Path) -> None:
    """Lockers write a line for the package and one for the package with its extra."""
    lock = tmp_path / "x.lock"
    lock.write_text("a[x, y]==1.0 \\\n    --hash=sha256:0\na==1.0 \\\na[z]==1.0 \\\n")

    locked = lay_out.read_lock(lock)

    assert locked == {"a": lay_out.Locked("1.0", frozenset({"x", "y", "z"}))}
