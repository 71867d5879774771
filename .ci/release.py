#!/usr/bin/env python3
"""Makes a release: version, changelog, tag, wheels, sdist and image.

    make release VERSION=0.2.0          tries everything in a clone beside this one, and changes nothing here
    make release VERSION=0.2.0 GO=1     the same, then takes commit, tag and files over

All work is done in a temporary clone of the branch's last commit, so what fails half-way leaves nothing behind, and what is built
is what is committed. Nothing is pushed or published: the last lines say how.

The release's commit sets the version in pyproject.toml, schemas/pyproject.toml, uv.lock, the Helm chart and the published contracts, and gathers
changes/ into CHANGELOG.md, where what stood under "Unreleased" becomes part of the version.

Exit code 1 with one line that says why, when the version is not newer, the tree is not clean, nothing has changed, or a file is
not what it should be.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
UNRELEASED = "## Unreleased\n"
STATIC = "langlog_gateway/console/static/index.html"
IMAGE_BUILDERS = ("docker", "podman", "buildah")


class Refused(Exception):
    """Why there is no release."""


def run(*words: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    """Return the command's output. Raises Refused with the end of its output."""
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, env={**os.environ, **(env or {})})
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise Refused(f"{Path(words[0]).name} {' '.join(map(str, words[1:4]))} failed: {said}")
    return done.stdout.strip()


def checked(text: str) -> Version:
    """The version to release: valid, newer than every tag, on a clean tree. Raises Refused."""
    try:
        version = Version(text)
    except InvalidVersion:
        raise Refused(f"{text!r} is not a version: give VERSION=1.2.3") from None
    if version.local or str(version) != text:
        raise Refused(f"{text!r} is not written as versions are: give VERSION={version.public}")
    if dirty := run("git", "status", "--porcelain", cwd=ROOT):
        raise Refused(
            f"the tree is not clean: commit or drop {', '.join(x.split(maxsplit=1)[1] for x in dirty.splitlines()[:5])}"
        )
    released = [Version(tag[1:]) for tag in run("git", "tag", "--list", "v[0-9]*", cwd=ROOT).split()]
    if released and version <= max(released):
        raise Refused(f"{version} is not newer than the last release, {max(released)}")
    return version


def replaced(file: Path, pattern: str, new: str) -> None:
    """Replace every match. Raises Refused when there is none."""
    text, count = re.subn(pattern, new, file.read_text(), flags=re.MULTILINE)
    if not count:
        raise Refused(f"{file.name} has no line like {pattern!r}: mend .ci/release.py")
    file.write_text(text)


def set_version(clone: Path, version: Version) -> None:
    old = run(
        sys.executable,
        "-c",
        "import tomllib; print(tomllib.load(open('pyproject.toml', 'rb'))['project']['version'])",
        cwd=clone,
    )
    for file in ("pyproject.toml", "schemas/pyproject.toml"):
        replaced(clone / file, r'^version = "[^"]+"$', f'version = "{version}"')
    replaced(clone / "uv.lock", r'^(name = "langlog"\nversion = )"[^"]+"$', rf'\1"{version}"')
    chart = clone / "deploy/helm/langlog/Chart.yaml"
    replaced(chart, r"^version: .+$", f"version: {semantic(version)}")
    replaced(chart, r"^appVersion: .+$", f'appVersion: "{version}"')
    examples = clone / "gateway/langlog_gateway/openapi/examples.json"
    replaced(examples, rf'("(?:langgraph_api_)?version": )"{re.escape(old)}"', rf'\1"{version}"')
    contracts = f"from pathlib import Path; from langlog_schemas import contracts; contracts.main(Path('docs/contracts'), '{version}')"
    run(sys.executable, "-c", contracts, cwd=clone, env={"PYTHONPATH": str(clone / "schemas")})


def semantic(version: Version) -> str:
    """The version as charts write it (semver.org): ``1.2.0-rc.1`` for ``1.2rc1``."""
    base = f"{version.major}.{version.minor}.{version.micro}"
    return base + (f"-{version.pre[0]}.{version.pre[1]}" if version.pre else "")


def gather_changes(clone: Path, version: Version) -> None:
    """Fragments become the version's part of the changelog, before what stood under "Unreleased". Raises Refused."""
    changelog = clone / "CHANGELOG.md"
    fragments = [x for x in (clone / "changes").glob("*.*.md") if x.name not in ("README.md", "template.md")]
    before = changelog.read_text()
    if not fragments and UNRELEASED not in before:
        raise Refused("nothing has changed: there is no file in changes/, and nothing is unreleased in CHANGELOG.md")
    run(BIN / "towncrier", "build", "--yes", "--version", str(version), cwd=clone)
    text = changelog.read_text()
    if f"## {version} " not in text:
        raise Refused("CHANGELOG.md has not got the version: mend the part tool.towncrier of pyproject.toml")
    if not fragments:
        text = text.replace("No significant changes.\n", "", 1)
    text = text.replace(UNRELEASED, "\n", 1).replace(f"## {version} ", f"\n## {version} ", 1)
    text = re.sub(r"^(## .*)\n(?=\S)", r"\1\n\n", text, flags=re.MULTILINE)
    changelog.write_text(re.sub(r"\n{3,}", "\n\n", text))


def build(clone: Path, version: Version, *, console: bool) -> list[Path]:
    """Wheel and sdist of langlog, wheels of its core and of the schemas. Raises Refused."""
    if console:
        run(sys.executable, "node_build.py", cwd=clone)
    out = clone / "dist"
    for folder, kinds in ((".", ("--wheel", "--sdist")), ("core", ("--wheel",)), ("schemas", ("--wheel",))):
        run(BIN / "uv", "build", "--quiet", "--python", sys.executable, "--out-dir", out, *kinds, folder, cwd=clone)
    wanted = [
        out / f"langlog-{version}-py3-none-any.whl",
        out / f"langlog-{version}.tar.gz",
        out / f"langlog-{version}+core-py3-none-any.whl",
        out / f"langlog_schemas-{version}-py3-none-any.whl",
    ]
    if missing := [file.name for file in wanted if not file.is_file()]:
        raise Refused(f"the build has not given {', '.join(missing)}, but {sorted(x.name for x in out.iterdir())}")
    if console and STATIC not in zipfile.ZipFile(wanted[0]).namelist():
        raise Refused(f"{wanted[0].name} is without the console's pages (--without-console allows that)")
    return wanted


def build_image(clone: Path, version: Version) -> str:
    """Build or push the image; return one line about it. Raises Refused."""
    for builder in IMAGE_BUILDERS:
        if shutil.which(builder) and not subprocess.run([builder, "info"], capture_output=True).returncode:
            run(builder, "build", "--tag", f"langlog:{version}", ".", cwd=clone)
            return f"image langlog:{version}, by {builder}"
    return f"no image: none of {', '.join(IMAGE_BUILDERS)} works on this machine"


def release(version: Version, *, go: bool, console: bool, image: bool) -> None:
    branch = run("git", "symbolic-ref", "--short", "HEAD", cwd=ROOT)
    with tempfile.TemporaryDirectory(prefix="langlog-release-") as folder:
        clone = Path(folder) / "langlog"
        run("git", "clone", "--quiet", "--no-hardlinks", "--branch", branch, ROOT, clone, cwd=ROOT)
        for key in ("user.name", "user.email"):
            run("git", "config", key, run("git", "config", key, cwd=ROOT), cwd=clone)
        set_version(clone, version)
        gather_changes(clone, version)
        run("git", "add", "--all", cwd=clone)
        run("git", "commit", "--quiet", "--message", f"Release {version}", cwd=clone)
        run("git", "tag", "--annotate", f"v{version}", "--message", f"langlog {version}", cwd=clone)
        print(run("git", "show", "--stat", "--format=%s", "HEAD", cwd=clone), end="\n\n")
        files = build(clone, version, console=console)
        for file in files:
            print(f"{file.name}  {file.stat().st_size / 1e6:.1f} MB")
        if dirty := run("git", "status", "--porcelain", cwd=clone):
            raise Refused(f"building changes what is committed: {dirty}")
        print(build_image(clone, version) if image else "no image, as was asked for")
        if not go:
            print(f"\nThis was a trial: nothing is changed here. To release: make release VERSION={version} GO=1")
            return
        run("git", "pull", "--quiet", "--ff-only", clone, branch, cwd=ROOT)
        run("git", "fetch", "--quiet", clone, f"refs/tags/v{version}:refs/tags/v{version}", cwd=ROOT)
        (ROOT / "dist").mkdir(exist_ok=True)
        for file in files:
            shutil.copy2(file, ROOT / "dist" / file.name)
    print(f"\nReleased here. To publish: git push --follow-tags, then uv publish dist/langlog*-{version}*")


def main() -> int:
    parser = argparse.ArgumentParser(description="Make a release of langlog; without --go, try it.")
    parser.add_argument("version")
    parser.add_argument("--go", action="store_true", help="take commit, tag and files over")
    parser.add_argument("--without-console", action="store_true", help="where Node's packages are not available")
    parser.add_argument("--without-image", action="store_true")
    asked = parser.parse_args()
    try:
        release(checked(asked.version), go=asked.go, console=not asked.without_console, image=not asked.without_image)
    except Refused as error:
        print(f"no release: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
