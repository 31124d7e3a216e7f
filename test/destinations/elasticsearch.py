"""Requests that AWS Signature Version 4 signs are signed as the library `aws4` does it; test/unit has the published suite."""

KEYS = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}


def by_http(service, request):
    """The same signer, in type http, with a path and a query that invite mistakes."""
    return {"type": "http", "secrets": {"secret_access_key": KEYS["secret_access_key"]},
            "config": {"base_url": "https://example.eu-central-1.amazonaws.com", "auth": {"type": "aws_sigv4", "region": "eu-central-1", "service": service, "access_key_id": KEYS["access_key_id"]}},
            "sync": {"mapping": {"id": "id", "name": "name"}, "config": {"requests": {"upsert": request}}}, "changes": [{"added": {"id": "a b/c~ü+1", "name": "two  words"}}]}


def aws4(tools):
    plays = [by_http("sqs", {"path": "/", "headers": {"X-Amz-Target": "AmazonSQS.SendMessage", "Content-Type": "application/x-amz-json-1.0"}}),
             by_http("lambda", {"path": "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aeu-central-1%3A1%3Afunction%3Af/invocations"}),
             by_http("es", {"path": "/products/_doc/{{ id }}", "method": "PUT", "query": {"refresh": "true", "a": "{{ name }}"}}),
             by_http("execute-api", {"path": "/x?uploads&z=1&a=2&a=1&b="}),
             by_http("s3", {"path": "/bucket/{{ name }}/%C3%BC~1", "method": "PUT", "query": {"x": "{{ id }}"}})]
    services = ["sqs", "lambda", "es", "execute-api", "s3"]
    requests = [{**result["requests"][0], "service": service} for service, result in zip(services, tools["driver"](plays))]
    golden = tools["play"]({"sync": "opensearch_on_aws", "changes": [{"added": {"id": 1, "name": "Engine"}}, {"added": {"id": 2, "name": "Grüße"}}]})["requests"]
    requests += [{**r, "service": "es", "secret_access_key": "wJalrXUtnFEMI"} for r in golden]
    assert len(requests) == 6, requests
    made = tools["node"]("signatures.js", {"aws": [{**KEYS, "region": "eu-central-1", **r} for r in requests]})["aws"]
    for request, expected in zip(requests, made):
        found = dict(request["headers"])["Authorization"]
        assert found == expected, f"{request['method']} {request['url']}\nfound    {found}\nexpected {expected}"


checks = [("signed as the library aws4 does it", aws4)]
