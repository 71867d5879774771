"""`make release`, in a clone: a trial changes nothing, a release is one commit, one tag and its files, and refusals have a reason."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIMIT_S = 400
FRAGMENT = "`langlog frobnicate` tells what it has frobnicated."


def git(clone: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=clone, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Clone the last commit, with one change that is not released yet."""
    made = tmp_path / "langlog"
    git(tmp_path, "clone", "--quiet", "--no-hardlinks", str(ROOT), str(made))
    git(made, "checkout", "--quiet", "-B", "main")
    git(made, "config", "user.name", "Somebody")
    git(made, "config", "user.email", "somebody@example.org")
    for pending in (made / "changes").glob("*.*.md"):
        pending.unlink()
    (made / "changes" / "+frobnicate.added.md").write_text(FRAGMENT + "\n")
    git(made, "add", "--all")
    git(made, "commit", "--quiet", "--message", "Frobnicate")
    return made


def release(clone: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ".ci/release.py", *options, "--without-image"]
    return subprocess.run(command, cwd=clone, capture_output=True, text=True, timeout=LIMIT_S)


@pytest.mark.slow
def test_a_release_is_a_commit_a_tag_and_its_files_and_a_trial_is_nothing(clone: Path) -> None:
    before = git(clone, "rev-parse", "HEAD")
    tried = release(clone, "7.1.0", "--without-console")
    assert tried.returncode == 0, tried.stderr
    assert "This was a trial" in tried.stdout
    assert git(clone, "rev-parse", "HEAD") == before
    assert not git(clone, "tag")
    assert not git(clone, "status", "--porcelain")

    done = release(clone, "7.1.0", "--without-console", "--go")
    assert done.returncode == 0, done.stderr
    assert git(clone, "log", "-1", "--format=%s") == "Release 7.1.0"
    assert git(clone, "rev-parse", "HEAD~1") == before
    assert git(clone, "rev-parse", "v7.1.0^{commit}") == git(clone, "rev-parse", "HEAD")
    assert not git(clone, "status", "--porcelain")

    for file in ("pyproject.toml", "schemas/pyproject.toml"):
        assert tomllib.loads((clone / file).read_text())["project"]["version"] == "7.1.0"
    assert json.loads((clone / "docs/contracts/asyncapi.json").read_text())["info"]["version"] == "7.1.0"
    changelog = (clone / "CHANGELOG.md").read_text()
    assert re.search(r"^## 7\.1\.0 \(\d{4}-\d\d-\d\d\)\n\nAdded:\n\n- " + re.escape(FRAGMENT), changelog, re.MULTILINE)
    assert "## Unreleased" not in changelog
    assert {x.name for x in (clone / "changes").iterdir()} == {"README.md", "template.md"}

    made = {x.name: x for x in (clone / "dist").iterdir()}
    assert {name for name in made if name.endswith(".whl")} == {
        "langlog-7.1.0-py3-none-any.whl",
        "langlog-7.1.0+core-py3-none-any.whl",
        "langlog_schemas-7.1.0-py3-none-any.whl",
    }
    wheel = zipfile.ZipFile(made["langlog-7.1.0-py3-none-any.whl"])
    assert {"langlog/main.py", "langlog_schemas/__init__.py"} <= set(wheel.namelist())
    assert b"\nVersion: 7.1.0\n" in wheel.read("langlog-7.1.0.dist-info/METADATA")
    with tarfile.open(made["langlog-7.1.0.tar.gz"]) as sdist:
        assert "langlog-7.1.0/hatch_build.py" in sdist.getnames()

    again = release(clone, "7.0.9")
    assert again.returncode == 1
    assert again.stderr == "no release: 7.0.9 is not newer than the last release, 7.1.0\n"
    nothing = release(clone, "7.2.0")
    assert nothing.returncode == 1
    assert nothing.stderr.startswith("no release: nothing has changed")


def test_a_release_of_what_is_not_committed_or_no_version_is_refused(clone: Path) -> None:
    refused = release(clone, "seven")
    assert (refused.returncode, refused.stderr) == (1, "no release: 'seven' is not a version: give VERSION=1.2.3\n")
    assert release(clone, "7.01").stderr == "no release: '7.01' is not written as versions are: give VERSION=7.1\n"
    (clone / "README.md").write_text("something else")
    refused = release(clone, "7.1.0", "--go")
    assert (refused.returncode, refused.stderr) == (1, "no release: the tree is not clean: commit or drop README.md\n")


def test_every_change_is_of_a_kind() -> None:
    kinds = {
        one["directory"] for one in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["towncrier"]["type"]
    }
    table = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "changes/README.md").read_text(), re.MULTILINE))
    assert table == kinds
    names = [x.name for x in (ROOT / "changes").iterdir() if x.name not in ("README.md", "template.md")]
    assert [
        name for name in names if not re.fullmatch(rf"(\d+|\+[a-z0-9-]+)\.({'|'.join(kinds)})(\.\d+)?\.md", name)
    ] == []
