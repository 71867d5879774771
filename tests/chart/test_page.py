"""docs/how-to/kubernetes.md: helm carries out its commands as far as they need no cluster, with the page's own files of values."""

from __future__ import annotations

import shlex
from pathlib import Path

import jsonschema
import pytest
import yaml

from tests.chart.programs import CUSTOM, KUBERNETES, custom_schema, helm, kubernetes_schema
from tests.chart.rendering import CHART, ROOT
from tests.docs.blocks import DOCS, Block, blocks

pytestmark = pytest.mark.timeout(1_800)  # helm is built once, where the cache has none

PAGE = DOCS / "how-to" / "kubernetes.md"
FILES = {block.title: block for block in blocks(PAGE) if block.title}
ONLY_IN_A_CLUSTER = {"--install", "--wait", "--timeout"}


def commands(program: str) -> list[list[str]]:
    """The words of each command of that program on the page."""
    scripts = [block.text.replace("\\\n", " ") for block in blocks(PAGE) if block.language == "sh"]
    lines = [shlex.split(line) for script in scripts for line in script.splitlines()]
    return [words for words in lines if words[:1] == [program]]


def check(text: str) -> None:
    for one in filter(None, yaml.safe_load_all(text)):
        key = (one["apiVersion"], one["kind"])
        schema = custom_schema(*key) if key in CUSTOM else kubernetes_schema(KUBERNETES[-1], *key)
        jsonschema.Draft202012Validator(schema).validate(one)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "values.yaml").write_text(FILES["values.yaml"].text)
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_each_installation_and_upgrade_of_the_page_renders(folder: Path) -> None:
    found = commands("helm")
    assert [words[1] for words in found] == ["template", "upgrade", "test", "upgrade", "upgrade", "upgrade", "test"]
    images = []
    for _, verb, *rest in found:
        if verb == "test":
            continue
        limited = [x for at, x in enumerate(rest) if x not in ONLY_IN_A_CLUSTER and rest[at - 1] != "--timeout"]
        text = helm("template", *limited)
        check(text)
        pods = [x for x in yaml.safe_load_all(text) if x and x["kind"] == "Deployment"]
        tags = {
            x["metadata"]["name"].rpartition("-")[2]: x["spec"]["template"]["spec"]["containers"][0][
                "image"
            ].rpartition(":")[2]
            for x in pods
        }
        images.append(tags)
    first, _, projectors, *_, whole = images
    assert set(first.values()) == {"1.4.0"} and set(whole.values()) == {"1.5.0"}
    assert projectors == first | {"projector": "1.5.0"}
    assert images[3] == whole | {"gateway": "1.4.0"}


@pytest.mark.parametrize("block", [block for title, block in FILES.items() if title != "values.yaml"], ids=str)
def test_each_file_of_values_on_the_page_renders(folder: Path, block: Block) -> None:
    (folder / "more.yaml").write_text(block.text)
    check(helm("template", "langlog", CHART, "--values", "values.yaml", "--values", "more.yaml"))


def test_the_secret_of_the_page_has_the_keys_that_the_chart_asks_for(folder: Path) -> None:
    (secret,) = [words for words in commands("kubectl") if "secret" in words]
    given = {x.removeprefix("--from-literal=").partition("=")[0] for x in secret if x.startswith("--from-literal=")}
    pods = [
        x
        for x in yaml.safe_load_all(helm("template", "l", CHART, "--values", "values.yaml"))
        if x and x["kind"] == "Deployment"
    ]
    asked = {
        entry["valueFrom"]["secretKeyRef"]["key"]
        for pod in pods
        for entry in pod["spec"]["template"]["spec"]["containers"][0]["env"]
    }
    assert asked == given
