"""Requests as the text of a .http file: JSON is laid out for reading, and nothing but white space is changed."""

import difflib
import re

WIDTH = 110
TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+)')


def document(title, requests):
    return f"# {title}\n\n" + "\n###\n\n".join(request_text(r) for r in requests)


def request_text(request):
    head = f"{request['method']} {request['url']}\n" + "".join(f"{name}: {value}\n" for name, value in request["headers"])
    body = request["body"]
    if not body:
        return head
    content_type = next((v for n, v in request["headers"] if n.lower() == "content-type"), "")
    if "json" in content_type and "ndjson" not in content_type:
        body = layout(body)
    return head + "\n" + body + ("" if body.endswith("\n") else "\n")


def layout(text):
    """JSON text with line breaks. Tokens stay as they are: 1.50 is not 1.5."""
    tokens = TOKEN.findall(text)
    at = 0

    def read():
        nonlocal at
        token = tokens[at]
        at += 1
        if token not in "{[":
            return token
        close, entries = {"{": "}", "[": "]"}[token], []
        while tokens[at] != close:
            if tokens[at] == ",":
                at += 1
            name = ""
            if token == "{":
                name = tokens[at] + ": "
                at += 2
            entries.append((name, read()))
        at += 1
        return token, entries, close

    def write(value, indent, room):
        if isinstance(value, str):
            return value
        line = flat(value)
        if len(line) <= room - len(indent):
            return line
        inner = indent + "  "
        return value[0] + "\n" + ",\n".join(inner + name + write(v, inner, room - len(name)) for name, v in value[1]) + "\n" + indent + value[2]

    def flat(value):
        if isinstance(value, str):
            return value
        return value[0] + ", ".join(name + flat(v) for name, v in value[1]) + value[2]

    return write(read(), "", WIDTH)


def difference(expected, found):
    return "\n".join(difflib.unified_diff(expected.splitlines(), found.splitlines(), "expected", "found", lineterm="", n=2))
