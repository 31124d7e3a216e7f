"""The operations of a batch are requests, too: each is judged as if it had been sent by itself."""

import json


def requests_within(request):
    base, slash, _ = request["url"].partition("/batches")
    if request["method"] != "POST" or not slash:
        return []
    credentials = [h for h in request["headers"] if h[0].lower() == "authorization"]
    return [{"method": operation["method"], "url": base + operation["path"], "body": operation.get("body", ""),
             "headers": credentials + ([["Content-Type", "application/json"]] if "body" in operation else [])}
            for operation in json.loads(request["body"])["operations"]]
