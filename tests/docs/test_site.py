"""The site: built strictly and offline, without external resources and with valid links."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"

#: Attributes that make a page load something; links for readers are the `href` of `a`.
_LOADING = ("src", "srcset", "href", "data", "poster", "action", "formaction", "background", "style", "xlink:href")
#: Addresses on other machines.
_ELSEWHERE = re.compile(r"(?:^|[\s\"'(,])((?:https?:)?//[^\s\"'),]+)", re.IGNORECASE)
#: Hosts of external links; few, because a page should be complete by itself.
_HOSTS = frozenset(
    {"keepachangelog.com", "www.pulumi.com", "docs.aws.amazon.com", "docs.github.com", "docs.gitlab.com"}
)


@dataclass
class Page(HTMLParser):
    """Resources that a built page loads, its links, and its anchors."""

    loads: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            elif tag == "a" and name == "href":
                self.links.append(value or "")
            elif name in _LOADING and value:
                self.loads.append(value)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the built site; the strict build checks every page of the navigation and every internal link."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    # No server listens at these proxies: a build that fetched something would fail.
    nobody = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "NO_MKDOCS_2_WARNING": "1"}
    # Not --quiet: it would hide warnings from --strict too.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(
        command, cwd=REPOSITORY, env={**os.environ, **nobody}, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    """Return every HTML page, parsed."""
    found: dict[Path, Page] = {}
    for path in sorted(site.rglob("*.html")):
        found[path] = Page()
        found[path].feed(path.read_text())
    assert len(found) > 8
    return found


def test_no_page_loads_external_resources(site: Path, pages: dict[Path, Page]) -> None:
    loaded = {
        (path.relative_to(site).as_posix(), address)
        for path, page in pages.items()
        for load in page.loads
        for address in _ELSEWHERE.findall(load)
    }
    assert loaded == set()


def test_no_style_or_diagram_loads_external_resources(site: Path) -> None:
    for path in [*site.rglob("*.css"), *site.rglob("*.svg")]:
        text = path.read_text()
        found = re.findall(r"url\(\s*[\"']?((?:https?:)?//[^)]*)\)|@import\s+[\"'](http[^\"']*)", text)
        found += re.findall(r"(?:xlink:)?href=\"(https?://[^\"]*)\"", text)
        assert found == [], path


def test_no_page_makes_the_theme_script_send_requests(pages: dict[Path, Page], site: Path) -> None:
    # The script would fetch Mermaid for such a diagram, and statistics of a configured repository.
    for path in pages:
        html = path.read_text()
        assert 'class="mermaid"' not in html, path
        assert 'data-md-component="source"' not in html, path


def test_external_links_use_known_hosts_only(pages: dict[Path, Page]) -> None:
    hosts = {urlsplit(link).hostname for page in pages.values() for link in page.links if urlsplit(link).scheme}
    assert hosts <= _HOSTS


def test_every_internal_link_and_anchor_exists(site: Path, pages: dict[Path, Page]) -> None:
    broken = [
        f"{path.relative_to(site)}: {link}"
        for path, page in pages.items()
        if path.name != "404.html"
        for link in page.links
        if not urlsplit(link).scheme and not _is_valid_link(link, path, pages)
    ]
    assert broken == []


def _is_valid_link(link: str, path: Path, pages: dict[Path, Page]) -> bool:
    address, anchor = urldefrag(link)
    target = (path.parent / unquote(address)).resolve() if address else path
    if target.is_dir():
        target = target / "index.html"
    if not target.is_file():
        return False
    return not anchor or target not in pages or unquote(anchor) in pages[target].anchors


def test_every_decision_record_is_in_the_navigation(site: Path, pages: dict[Path, Page]) -> None:
    links = {link.rpartition("/")[2] for link in pages[site / "adr" / "0001-aws-on-one-machine.html"].links}
    decisions = {path.with_suffix(".html").name for path in (DOCS / "adr").glob("*.md")}
    assert decisions
    assert decisions <= links


def test_the_search_index_contains_the_pages(site: Path) -> None:
    index = (site / "search" / "search_index.json").read_text()
    for word in ("point-in-time", "blue/green", "millrace rollback"):
        assert word in index.lower(), word


def _list_markdown_files() -> list[Path]:
    first = [REPOSITORY / name for name in ("README.md", "CHANGELOG.md", "benchmarks/README.md")]
    return [*first, *sorted(DOCS.rglob("*.md"))]


@pytest.mark.parametrize("path", _list_markdown_files(), ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_markdown_links_lead_to_existing_files(path: Path) -> None:
    """Check links for readers of the repository, who do not use the site."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"(?<!\\)\]\(([^)\s]+)[^)]*\)", text):
        if not urlsplit(link).scheme and (address := urldefrag(link)[0]):
            assert (path.parent / unquote(address)).exists(), link


_ROOTS = [
    "benchmarks",
    "cli",
    "components",
    "docs",
    "engine",
    "local",
    "millrace",
    "queries",
    "stacks",
    "templates",
    "tests",
    "training",
]
_PATH = re.compile(rf"`((?:{'|'.join(_ROOTS)})/[\w./*-]*)`")


@pytest.mark.parametrize("path", _list_markdown_files(), ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_paths_named_in_markdown_exist(path: Path) -> None:
    text = path.read_text()
    made = set(re.findall(r'title="([^"]+)"', text)) | set(re.findall(r"^# (stacks/\S+)$", text, re.MULTILINE))
    scaffolded = tuple(
        beginning
        for name in re.findall(r"millrace new ([a-z][a-z0-9-]*)", text)
        for beginning in (f"stacks/{name.replace('-', '_')}/", f"stacks/Pulumi.{name}-")
    )
    for name in _PATH.findall(text):
        # Files that a reader of the page creates.
        if name in made or any(each.startswith(name.rstrip("/") + "/") for each in made) or name.startswith(scaffolded):
            continue
        assert list(REPOSITORY.glob(name.rstrip("/"))), f"{path.name} names {name}, which is not there"
