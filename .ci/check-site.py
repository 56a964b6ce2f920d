"""Checks a site of static pages, and takes pictures of it: python .ci/check-site.py SITE PICTURES.

Every link within the site leads to a file and every picture can be opened. Links to other sites are not followed.
Headless Chromium, where it is installed, takes a picture of one page of each kind.
"""

import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlparse

from PIL import Image

SHOWN = [
    "index.html", "reference/index.html", "reference/register_images.html", "reference/layer_conv.html", "articles/index.html",
    "articles/get-started.html", "articles/any-angle-any-pair.html", "articles/coming-from.html",
    "articles/cheatsheet.html", "python/gequi.html",
]  # fmt: skip


class Page(HTMLParser):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.pictures: list[str] = []
        self.names: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.names |= {value for key in ("id", "name") if (value := given.get(key))}
        if tag in ("a", "link") and given.get("href"):
            self.links.append(given["href"] or "")
        if tag in ("img", "script") and given.get("src"):
            (self.pictures if tag == "img" else self.links).append(given["src"] or "")


def within(site: Path, page: Path, link: str) -> tuple[Path, str] | None:
    """The file that a link of a page leads to and the place in it, or None if it leads out of the site."""
    parts = urlparse(link)
    if parts.scheme or parts.netloc:
        return None
    path = unquote(parts.path)
    base = site if path.startswith("/") else page.parent
    target = (base / path.lstrip("/")).resolve() if path else page
    return (target / "index.html" if target.is_dir() else target), unquote(parts.fragment)


def faults(site: Path) -> list[str]:
    pages = {path: Page(path) for path in sorted(site.resolve().rglob("*.html"))}
    found = []
    for path, page in pages.items():
        for link in page.links + page.pictures:
            target = within(site.resolve(), path, link)
            if target is None:
                continue
            file, place = target
            if not file.exists():
                found.append(f"{path.relative_to(site.resolve())}: there is no {link}")
            elif place and file in pages and place not in pages[file].names:
                found.append(f"{path.relative_to(site.resolve())}: {link} leads to no place of its page")
        for link in page.pictures:
            target = within(site.resolve(), path, link)
            if target is not None and target[0].exists() and target[0].suffix != ".svg":
                Image.open(target[0]).verify()
    print(f"check-site: {len(pages)} pages, {sum(len(page.links) for page in pages.values())} links, "
          f"{sum(len(page.pictures) for page in pages.values())} pictures, {len(found)} faults")  # fmt: skip
    return sorted(set(found))


def photograph(site: Path, pictures: Path) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        return
    pictures.mkdir(parents=True, exist_ok=True)
    for name in SHOWN:
        picture = pictures / (name.replace("/", "-").removesuffix(".html") + ".png")
        command = [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1200,2400",
            f"--screenshot={picture.resolve()}", (site / name).resolve().as_uri(),
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=120)


if __name__ == "__main__":
    site, pictures = map(Path, sys.argv[1:])
    bad = faults(site)
    print("\n".join(bad))
    photograph(site, pictures)
    sys.exit(bool(bad))
