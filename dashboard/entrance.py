"""The sign-in page: works without scripts, and loads nothing but its style, its sign and one small script."""

from __future__ import annotations

from html import escape
from urllib.parse import quote

from headrace.dashboard.guard import policy
from headrace.dashboard.layout import THEME_SCRIPT

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="dark light">
<meta name="robots" content="noindex">
<title>Sign in · headrace</title>
<link rel="icon" type="image/svg+xml" href="{base}assets/mark.svg">
<script>{theme}</script>
<link rel="stylesheet" href="{base}assets/theme.css">
<link rel="stylesheet" href="{base}assets/sign-in.css">
<script src="{base}assets/sign-in.js" defer></script>
</head>
<body data-base="{base}" data-next="{there}">
<main>
<header>
<img src="{base}assets/mark.svg" width="44" height="44" alt="">
<div><h1>headrace</h1><p>Live dashboard · {name}</p></div>
</header>
<form method="post" action="{base}sign-in?next={quoted}">
<input name="username" autocomplete="username" value="headrace" hidden>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required autofocus
 maxlength="1024" aria-describedby="{described}"{invalid}>
{error}
<button type="submit">Sign in</button>
<p id="roles" class="roles">{roles}</p>
</form>
<footer><a href="{there}">Signed in already? Go on</a></footer>
</main>
</body>
</html>"""

ROLES = {
    ("operator",): "The operator's password lets you look and act.",
    ("viewer",): "The viewer's password lets you look. Nobody may act here.",
    ("operator", "viewer"): "The viewer's password lets you look, the operator's also act.",
}


def page(base: str, name: str, roles: tuple[str, ...], there: str, error: str = "") -> str:
    """The page as HTML. `base` is the path of the dashboard, ending in /; `there` where to go afterwards."""
    said = f'<p id="error" class="error" role="alert">{escape(error)}</p>' if error else ""
    return PAGE.format(
        base=escape(base),
        there=escape(there),
        quoted=quote(there, safe=""),
        name=escape(name),
        theme=THEME_SCRIPT,
        roles=escape(ROLES.get(roles, "")),
        error=said,
        described="error roles" if error else "roles",
        invalid=' aria-invalid="true"' if error else "",
    )


def page_policy(scripts: list[str]) -> str:
    """The policy of the page: the one of the others, without styles in it."""
    return policy(scripts, styles=False)


def local(path: str) -> str:
    """`path` if it leads to a page of this dashboard, without its prefix; else that of the first page."""
    plain = path.startswith("/") and not path.startswith(("//", "/sign-"))
    return path if plain and path.isprintable() and "\\" not in path and len(path) <= 2000 else "/"
