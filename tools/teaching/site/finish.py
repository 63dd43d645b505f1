"""Goes over the HTML that Sphinx wrote: scripts of the widgets, the policy, what readers need."""

from __future__ import annotations

import base64
import hashlib
import re

from tools.teaching.site.pages import Site

SCRIPT = re.compile(r"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.DOTALL)
OUTSIDE = re.compile(r'<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)="(?:https?:)?//')
# What the theme leaves out for a screen reader: the level of a heading, the names of two regions, the
# title of the search page; a cell that is no heading.
READERS = {
    'role="heading">': 'role="heading" aria-level="2">',
    '<aside class="sidebar-drawer">': '<aside class="sidebar-drawer" aria-label="Pages">',
    '<aside class="toc-drawer': '<aside aria-label="On this page" class="toc-drawer',
    '<div id="search-results">': '<h1>Search</h1>\n<div id="search-results">',
    '<th class="head"><p></p></th>': "<td></td>",
}


def finish(site: Site) -> None:
    for path in sorted(site.out.rglob("*.html")):
        page = path.relative_to(site.out).with_suffix("").as_posix()
        html = path.read_text(encoding="utf-8")
        if found := OUTSIDE.search(html):
            raise ValueError(f"{page} would load something from outside: {found[0]}")
        for found, better in READERS.items():
            html = html.replace(found, better)
        up = "../" * page.count("/")
        html = html.replace("</head>", "\n".join(["", *scripts(site, page, up), "</head>"]), 1)
        html = html.replace('<meta charset="utf-8">', f'<meta charset="utf-8">\n{policy(html)}', 1)
        path.write_text(html, encoding="utf-8")


def scripts(site: Site, page: str, up: str) -> list[str]:
    """The lines of the head that bring a page's widgets to life."""
    live = site.widgets.get(page, {})
    names = sorted({state["widget"] for state in live.values()})
    given = [
        f"{key}.given"
        for key in [*names, *live]
        if (site.out / "_static/live" / f"{key}.given.js").exists()
    ]
    at = f"{up}_static/live"
    return [
        *(f'<link rel="stylesheet" href="{at}/{name}.css">' for name in names),
        *(f'<script defer src="{at}/{name}.js"></script>' for name in ["site", *names, *given]),
    ]


def policy(html: str) -> str:
    """Only this site's own files, and no script in a page but those that were there when it was built."""
    hashes = {
        base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
        for code in SCRIPT.findall(html)
    }
    allowed = " ".join(["'self'", *(f"'sha256-{each}'" for each in sorted(hashes))])
    rules = [
        "default-src 'none'",
        f"script-src {allowed}",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
    ]
    return (
        f'<meta http-equiv="Content-Security-Policy" content="{"; ".join(rules)}">\n'
        '<meta name="referrer" content="no-referrer">'
    )
