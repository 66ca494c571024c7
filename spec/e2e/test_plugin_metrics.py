"""metrics: what /metrics says after some requests."""
import re

from harness import wait_for

def values(g):
    text = g.admin("GET", "/metrics").body.decode()
    return {m[1]: float(m[2]) for m in re.finditer(r"^([a-z_]+(?:\{[^}]*\})?) ([0-9.e+-]+)$", text, re.M)}


def value(v, name, **labels):
    """The one series of that name with these labels (others may be there)."""
    found = [n for k, n in v.items() if k.split("{")[0] == name and all(f'{a}="{b}"' in k for a, b in labels.items())]
    assert len(found) == 1, (name, labels, found)
    return found[0]


def value_or_0(v, name, **labels):
    """The same for a series that may not be there yet: a count is made in on_log, after the client has its answer."""
    try:
        return value(v, name, **labels)
    except AssertionError:
        return 0


def test_requests_times_and_bytes_are_counted(proxy, free_port):
    g, u = proxy(top='consumers = { alice = { keys = "k-1" } },',
                 plugins='{ "metrics", consumers = true, buckets = { 0.5, 60 } }, { "key-auth", anonymous = "alice" }', workers=2)
    for _ in range(3):
        g.ask("GET", "/a", [("x-api-key", "k-1")])
    g.ask("POST", "/a", body=b"12345")
    g.ask("PROPFIND", "/a")
    wait_for(lambda: value_or_0(values(g), "moongate_request_duration_seconds_count", route="all") == 5, "on_log of all five")
    v = values(g)
    assert value(v, "moongate_requests_total", route="all", method="GET", status="200") == 3
    assert value(v, "moongate_requests_total", route="all", method="POST", status="200") == 1
    assert value(v, "moongate_requests_total", route="all", method="other", status="200") == 1
    assert value(v, "moongate_consumer_requests_total", consumer="alice", route="all", status="200") == 5
    assert value(v, "moongate_request_duration_seconds_count", route="all") == 5
    assert value(v, "moongate_request_duration_seconds_bucket", route="all", le="60") == 5
    assert value(v, "moongate_request_duration_seconds_bucket", route="all", le="+Inf") == 5
    assert value(v, "moongate_bytes_total", route="all", direction="in") > 150
    assert value(v, "moongate_bytes_total", route="all", direction="out") > 150


def test_failures_are_counted_by_cause_and_a_reload_keeps_counts(gateway, free_port):
    g = gateway(f"""return {{ listen = "127.0.0.1:0", admin = "127.0.0.1:0", plugins = {{ "metrics" }},
      routes = {{ {{ "dead", path = "/dead", upstream = "http://127.0.0.1:{free_port}" }} }} }}""")
    status = g.ask(target="/dead").status
    assert g.ask(target="/nowhere").status == 404
    assert g.reload().status == 200
    g.ask(target="/dead")
    wait_for(lambda: value_or_0(values(g), "moongate_requests_total", route="dead", status=str(status)) == 2, "on_log of both")
    v = values(g)
    assert value(v, "moongate_requests_total", route="dead", status=str(status)) == 2
    assert value(v, "moongate_requests_total", route="", status="404") == 1
    assert value(v, "moongate_failures_total", route="dead") == 2
