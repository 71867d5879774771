"""The documentation site builds without a warning, leads nowhere that is not there, and loads nothing from elsewhere."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

from docs.site import build as site
from docs.site import generated, http_api
from docs.site.generated import PAGES
from docs.site.pages import DOCS, Pages

LOADS = {("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src"), ("source", "src")}


class Page(HTMLParser):
    """References and anchors of a page of the site."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[tuple[str, str]] = []
        self.anchors: set[str] = {""}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            if name in ("href", "src") and value:
                self.links.append((tag, value))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    folder = site.build(tmp_path_factory.mktemp("docs"))
    return {path: Page(path.read_text()) for path in sorted(folder.rglob("*.html")) if path.name != "404.html"}


def test_every_link_and_anchor_of_the_site_leads_somewhere(built: dict[Path, Page]) -> None:
    dead = []
    for path, page in built.items():
        for tag, address in page.links:
            if "://" in address or address.startswith(("mailto:", "data:")):
                continue
            target, anchor = urldefrag(unquote(address))
            file = (path.parent / target).resolve() if target else path
            if not file.exists() or (file in built and anchor not in built[file].anchors):
                dead.append(f"{path.name}: <{tag}> {address}")
    assert dead == []


def test_a_page_loads_nothing_from_elsewhere(built: dict[Path, Page]) -> None:
    loaded = {
        (path.name, value)
        for path, page in built.items()
        for tag, value in page.links
        if "://" in value and (tag, "src" if tag != "link" else "href") in LOADS
    }
    assert loaded == set()
    for picture in next(iter(built)).parents[0].rglob("pictures/*.svg"):
        assert 'href="http' not in picture.read_text()


def test_pictures_are_taken_along_with_their_dark_ones(built: dict[Path, Page]) -> None:
    (page,) = (page for path, page in built.items() if path.as_posix().endswith("how-to/console.html"))
    shown = [address for tag, address in page.links if tag == "img"]
    assert {"../pictures/threads.png#only-light", "../pictures/threads-dark.png#only-dark"} <= set(shown)


def test_every_picture_of_the_console_is_shown_by_some_page(built: dict[Path, Page]) -> None:
    shown = {Path(address.split("#")[0]).name for page in built.values() for tag, address in page.links if tag == "img"}
    assert {file.name for file in (Path(site.__file__).parents[1] / "pictures").glob("*.png")} - shown == set()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("![A page](https://example.org/a.png)", "no picture of docs/pictures"),
        ("![A page](pictures/none.png)", "no picture of docs/pictures"),
        ("![](pictures/run.png)", "no text for people who do not see it"),
    ],
)
def test_a_picture_from_elsewhere_or_without_words_stops_the_build(tmp_path: Path, line: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Pages({}, (), tmp_path).write("index.md", line)


def test_every_page_is_in_the_menu() -> None:
    def pages(entries: list[dict[str, object]]) -> list[str]:
        values = [value for entry in entries for value in entry.values()]
        return [x for value in values for x in (pages(value) if isinstance(value, list) else [str(value)])]

    menu = pages(tomllib.loads(site.CONFIG.read_text())["project"]["nav"])
    assert sorted(menu) == sorted({*site.sources(), *PAGES})


def test_the_first_page_leads_to_every_other() -> None:
    text = (DOCS / "index.md").read_text()
    written = {path for path in site.sources() if not path.startswith("index") and (DOCS / path).exists()}
    assert {path for path in written if f"({path})" not in text} == set()


def test_a_page_has_the_title_that_the_menu_gives_it() -> None:
    def titles(entries: list[dict[str, object]]) -> Iterator[tuple[str, str]]:
        for entry in entries:
            for title, value in entry.items():
                if isinstance(value, list):
                    yield from titles(value)
                else:
                    yield str(value), title

    for path, title in titles(tomllib.loads(site.CONFIG.read_text())["project"]["nav"]):
        if path.startswith("how-to/"):
            (heading, *_) = (DOCS / path).read_text().splitlines()
            assert heading.removeprefix("# ").casefold().endswith(title.casefold()), path


def test_every_group_of_operations_has_a_page() -> None:
    groups = {tag for tag, *_ in http_api.operations()}
    assert groups == set(http_api.TAGS), (
        "add the group to docs/site/http_api.py, and its page to docs/site/zensical.toml"
    )


def test_a_dead_link_stops_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "index.md"
    page.write_text("# One page\n\n[dead](#nowhere)\n")
    monkeypatch.setattr(site, "sources", lambda: {"index.md": page})
    monkeypatch.setattr(site, "COPIED", ())
    monkeypatch.setattr(generated, "PAGES", {})
    with pytest.raises(site.BuildError, match="anchor does not exist"):
        site.build(tmp_path / "out")
