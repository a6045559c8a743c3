"""`/docs`: the API's OpenAPI description as a page, which asks no other machine for scripts as Swagger's does."""

from __future__ import annotations

from html import escape
from typing import Any


def render(description: dict[str, Any], address: str) -> str:
    """The page.

    Args:
        description: as OpenAPI.
        address: of the web UI, for the examples.
    """
    parts = []
    for path, ways in description["paths"].items():
        for method, about in ways.items():
            parts.append(_operation(method.upper(), path, about, address.rstrip("/")))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>repix: the API</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="stylesheet" href="static/style.css">'
        '<link rel="icon" href="static/icon.svg"></head><body class="docs"><main><h1>The API of repix</h1>'
        f"<p>{escape(description['info']['description'])} The same as "
        '<a href="openapi.json">OpenAPI</a>. <a href="./">Back to the web UI</a></p>'
        f"{''.join(parts)}</main></body></html>"
    )


def _operation(method: str, path: str, about: dict[str, Any], address: str) -> str:
    text = "".join(f"<p>{escape(part)}</p>" for part in about.get("description", "").split("\n\n"))
    body = about.get("requestBody", {}).get("content", {})
    fields = body.get("multipart/form-data", {}).get("schema", {})
    example = f"curl {address}{path}"
    if fields:
        sent = " ".join(f"-F {name}=@{name}.jpg" for name in fields["required"])
        example = f"curl {sent} {address}{path} -o result.jpg"
    rows = "".join(
        f"<tr><td><code>{escape(one['name'])}</code></td><td>{escape(_kind(one['schema']))}</td>"
        f"<td>{escape(one.get('description') or one['schema'].get('description', ''))}</td></tr>"
        for one in about.get("parameters", [])
    )
    files = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>file{'' if name in fields['required'] else ', optional'}</td>"
        "<td>A field of the form.</td></tr>"
        for name in fields.get("properties", {})
    )
    if "application/octet-stream" in body:
        text += "<p>The file may also be the raw body of the request.</p>"
    head = "<thead><tr><th>Name</th><th>Kind</th><th>What it is</th></tr></thead>"
    table = f"<table>{head}<tbody>{files}{rows}</tbody></table>"
    return (
        f"<section><h2><code>{method} {escape(path)}</code></h2>{text}<pre tabindex=0>{escape(example)}</pre>"
        f"{table if rows or files else ''}</section>"
    )


def _kind(schema: dict[str, Any]) -> str:
    options = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    kinds = [" | ".join(one["enum"]) if "enum" in one else str(one.get("type", "")) for one in options]
    default = schema.get("default")
    return " or ".join(kinds) + (
        "" if default in (None, "") else f" [{str(default).lower() if isinstance(default, bool) else default}]"
    )
