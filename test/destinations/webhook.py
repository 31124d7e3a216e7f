"""The signature is one that the library `standardwebhooks` accepts."""

SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"


def verified(tools):
    changes = [{"added": {"id": 1, "email": "ada@example.com", "balance": 12.5}}, {"added": {"id": 2, "email": "Grüße\n\"x\""}}, {"changed": {"id": 3}}, {"removed": {"id": 4}}]
    sent = tools["play"]({"sync": "contacts", "changes": changes})["requests"] + tools["play"]({"sync": "batches", "changes": changes})["requests"]
    assert len(sent) == 7, len(sent)
    # A retry is signed with the time of its attempt, under the same id.
    retried = tools["play"]({"sync": "contacts", "changes": changes[:1], "answers": [{"status": 429, "headers": {"Retry-After": "600"}}, {"status": 200}]})["requests"]
    first, second = (dict(r["headers"]) for r in retried)
    assert first["webhook-id"] == second["webhook-id"] and int(second["webhook-timestamp"]) == int(first["webhook-timestamp"]) + 600, retried
    webhooks = [{"secret": SECRET, "now": 1750000000 + int(r["seconds"]), "headers": r["headers"], "body": r["body"]} for r in sent + retried]
    wrong = [{**webhooks[0], "body": webhooks[0]["body"] + " "}, {**webhooks[0], "secret": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY4"},
             {**webhooks[0], "now": webhooks[0]["now"] + 600}]
    said = tools["node"]("signatures.js", {"webhooks": webhooks + wrong})["webhooks"]
    assert said[:len(webhooks)] == [None] * len(webhooks), said
    assert None not in said[len(webhooks):], said


checks = [("the library standardwebhooks accepts what is sent, and nothing else", verified)]
