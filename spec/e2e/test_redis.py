"""mg.redis against a real redis-server: values, pipelines, transactions, scripts, times, breaks, TLS, names and passwords."""
import threading

import pytest

from harness import wait_for
from redis_probe import config, probe, redis  # noqa: F401


def test_values_come_back_as_they_were_stored(probe, redis):
    r = redis()
    g = probe(url=f"redis://{r.address}")
    assert g.run("call", "SET", "k", "v\r\n\0w") == ("OK", None)
    assert g.run("call", "GET", "k") == ("v\r\n\0w", None)
    assert g.run("call", "GET", "absent") == (None, None)
    assert g.run("call", "INCRBY", "n", "41") == (41, None)
    assert g.run("call", "INCRBY", "big", "9007199254740993") == ("9007199254740993LL", None)
    assert g.run("call", "RPUSH", "list", "a", "", "c") == (3, None)
    assert g.run("call", "LRANGE", "list", "0", "-1") == (["a", "", "c"], None)
    assert g.run("call", "MGET", "k", "absent")[0][1] is False
    assert g.run("call", "LRANGE", "absent", "0", "-1") == ([], None)
    assert g.run("call", "HSET", "h", "f", "1", "g", "2") == (2, None)
    assert g.run("hgetall", "h") == ({"f": "1", "g": "2"}, None)
    value, why = g.run("call", "LPUSH", "k", "x")
    assert value is None and why.startswith("WRONGTYPE")


def test_a_pipeline_answers_each_command_and_a_transaction_all_or_none(probe, redis):
    r = redis()
    g = probe(url=f"redis://{r.address}")
    values, _ = g.run("pipeline", "SET", "a", "1", ";", "LPUSH", "a", "x", ";", "GET", "a", ";", "GET", "absent")
    assert values[0] == "OK" and values[1].startswith("ERR WRONGTYPE") and values[2:] == ["1", False]
    assert g.run("transaction", "INCR", "a", ";", "GET", "a") == ([2, "2"], None)
    value, why = g.run("transaction", "INCR", "a", ";", "NOSUCHCOMMAND")
    assert value is None and "unknown command" in why
    assert r.ask("GET", "a") == "2"


def test_a_script_is_sent_whole_once_and_then_by_its_digest(probe, redis):
    r = redis()
    g = probe(url=f"redis://{r.address}")
    for _ in range(3):
        assert g.run("eval", "return { KEYS[1], ARGV[1], 7 }", "k", "a") == (["k", "a", 7], None)
    stats = r.ask("INFO", "commandstats")
    assert "cmdstat_eval:calls=1," in stats and "cmdstat_evalsha:calls=3," in stats


def test_ten_thousand_commands_from_three_workers_go_over_few_connections(probe, redis):
    r = redis()
    g = probe(workers=3, url=f"redis://{r.address}")
    done, lock = [], threading.Lock()

    def client():
        c = g.client()
        n = g.run("many", "n", 250, client=c)[0]
        with lock:
            done.append(n)
        c.close()

    threads = [threading.Thread(target=client) for _ in range(40)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sum(done) == 10000
    assert r.ask("GET", "n") == "10000"
    assert 1 <= len(r.clients()) <= 6 # two shared ones a worker


def test_a_server_that_was_away_is_used_again(probe, redis):
    r = redis()
    g = probe(url=f"redis://{r.address}")
    assert g.run("call", "SET", "k", "1")[0] == "OK"
    r.kill()
    value, why = g.run("call", "GET", "k")
    assert value is None and r.address in why
    assert "refused" in g.run("call", "GET", "k")[1]
    r.start()
    wait_for(lambda: g.run("call", "SET", "k", "2")[0] == "OK", "the server's return")


def test_a_slow_server_times_out_and_its_late_answer_goes_to_nobody(probe, redis):
    r = redis()
    g = probe(url=f"redis://{r.address}", timeout="100ms", shared="1")
    assert g.run("call", "SET", "k", "v")[0] == "OK"
    assert g.run("call", "DEBUG", "SLEEP", "0.25") == (None, "redis: no answer within 100 ms")
    assert g.run("patient", "GET", "k") == ("v", None)
    assert g.run("patient", "ECHO", "mine") == ("mine", None)
    assert len(r.clients()) == 1 # still the same connection


def test_a_broken_connection_is_told_and_only_the_idempotent_is_sent_again(probe, redis):
    r = redis()
    g = probe(url=f"redis://{r.address}")
    for how in ("patient", "idempotent"):
        got = []
        t = threading.Thread(target=lambda: got.append(g.run(how, "EVAL", "return redis.call('INCR', KEYS[1])", "1", how)))
        with_pause = r.connect()
        with_pause.ask("CLIENT", "PAUSE", "60000", "WRITE")
        t.start()
        wait_for(lambda: any(c["cmd"] == "eval" for c in r.clients()), "the command at the server")
        with_pause.ask("CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES")
        with_pause.ask("CLIENT", "UNPAUSE")
        t.join()
        if how == "patient":
            assert got[0][0] is None and "closed" in got[0][1]
        else:
            assert got[0] == (1, None)


def test_a_blocking_command_has_a_connection_of_its_own(probe, redis):
    r = redis()
    g = probe(url=f"redis://{r.address}", shared="1")
    got = []
    t = threading.Thread(target=lambda: got.append(g.run("call", "BLPOP", "q", "0")))
    t.start()
    wait_for(lambda: any(c["cmd"] == "blpop" for c in r.clients()), "BLPOP at the server")
    assert g.run("call", "SET", "k", "v") == ("OK", None) # goes on beside it
    assert g.run("call", "BLPOP", "other", "0.05") == (None, None)
    assert r.ask("RPUSH", "q", "item") == 1
    t.join()
    assert got == [(["q", "item"], None)]


def test_a_client_that_leaves_takes_its_blocking_command_along(probe, redis):
    r = redis()
    g = probe(url=f"redis://{r.address}")
    c = g.client()
    c.request("GET", "/call?w=BLPOP&w=q&w=0")
    wait_for(lambda: any(x["cmd"] == "blpop" for x in r.clients()), "BLPOP at the server")
    c.close()
    wait_for(lambda: not any(x["cmd"] == "blpop" for x in r.clients()), "BLPOP to be given up")
    assert r.ask("RPUSH", "q", "kept") == 1
    assert r.ask("LLEN", "q") == 1


def test_a_reload_keeps_the_connections(probe, redis):
    r = redis()
    g = probe(url=f"redis://{r.address}")
    assert g.run("call", "SET", "k", "1")[0] == "OK"
    before = {c["id"] for c in r.clients()}
    assert g.reload().status == 200
    assert g.run("call", "GET", "k")[0] == "1"
    assert {c["id"] for c in r.clients()} >= before
    g.write(config({"url": f"redis://{r.address}", "timeout": "3s"}))
    assert g.reload().status == 200
    assert g.run("call", "GET", "k")[0] == "1"
    wait_for(lambda: not {c["id"] for c in r.clients()} & before, "the former client's connections to go")


def test_too_large_a_reply_is_refused(probe, redis):
    r = redis()
    g = probe(url=f"redis://{r.address}", reply_max="64k")
    assert g.run("call", "SETRANGE", "big", "100000", "x")[0] == 100001
    value, why = g.run("call", "GET", "big")
    assert value is None and "reply_max" in why
    assert g.run("call", "STRLEN", "big") == (100001, None)


def test_what_a_shared_connection_cannot_take_is_refused(probe, redis):
    g = probe(url=f"redis://{redis().address}")
    for words in ("w=SELECT&w=1", "w=MULTI", "w=SUBSCRIBE&w=a", "w=CLIENT&w=REPLY&w=OFF", "w=MONITOR"):
        assert "a shared connection cannot take" in g.ask("GET", "/call?" + words).json()["misuse"]


def test_users_passwords_and_databases(probe, redis):
    r = redis("user alice on >s3cret/@ ~* &* +@all", "requirepass main", password=("main",))
    g = probe(url=f"redis://alice:s3cret%2F%40@{r.address}/3")
    assert g.run("call", "SET", "k", "v") == ("OK", None)
    assert r.clients()[0]["user"] == "alice" and r.clients()[0]["db"] == "3"
    g = probe(url=f"redis://:main@{r.address}")
    assert g.run("call", "GET", "k") == (None, None) # database 0
    g = probe(url=f"redis://alice:wrong@{r.address}")
    value, why = g.run("call", "GET", "k")
    assert value is None and "AUTH" in why and "WRONGPASS" in why and "wrong" not in why.replace("WRONGPASS", "")
    g = probe(url=f"redis://{r.address}")
    assert "NOAUTH" in g.run("call", "GET", "k")[1]


def test_tls_with_verification_and_a_client_certificate(probe, redis, certs):
    cert, key = certs.pem("localhost", "127.0.0.1")
    client_cert, client_key = certs.pem("client")
    r = redis(f"tls-cert-file {cert}", f"tls-key-file {key}", f"tls-ca-cert-file {certs.ca}", tls=certs)
    g = probe(url=f"rediss://{r.address}", ca=certs.ca, cert=client_cert, key=client_key)
    assert g.run("call", "SET", "k", "x" * 5000) == ("OK", None)
    assert g.run("call", "GET", "k") == ("x" * 5000, None)
    g = probe(url=f"rediss://{r.address}", ca=certs.ca)
    assert g.run("call", "GET", "k")[0] is None # no client certificate
    g = probe(url=f"rediss://{r.address}", cert=client_cert, key=client_key)
    assert "certificate" in g.run("call", "GET", "k")[1]
    g = probe(url=f"rediss://{r.address}", ca=certs.ca, cert=client_cert, key=client_key, server_name="other.example")
    assert g.run("call", "GET", "k")[0] is None


def test_a_unix_socket_and_a_name(probe, redis):
    r = redis(unix=True)
    g = probe(url=f"unix:{r.path}")
    assert g.run("call", "SET", "k", "v") == ("OK", None)
    r = redis()
    g = probe(url=f"redis://localhost:{r.port}")
    assert g.run("call", "SET", "k", "v") == ("OK", None)
    g = probe(url=f"redis://no-such-name.invalid:{r.port}")
    assert "does not resolve" in g.run("call", "SET", "k", "v")[1]


def test_a_wrong_option_is_told_when_the_config_is_loaded(probe):
    with pytest.raises(AssertionError) as e:
        probe(url="redis://127.0.0.1:1", timout="1s")
    assert 'did you mean \\"timeout\\"' in str(e.value) or 'did you mean "timeout"' in str(e.value)


def test_a_channel_is_heard(probe, redis):
    g = probe(url=f"redis://{redis().address}")
    assert g.run("subscribe", "news") == ({"channel": "news", "payload": "hello"}, None)


def test_commands_errors_and_connections_are_counted(probe, redis):
    r = redis()
    g = probe(workers=2, url=f"redis://{r.address}")

    def figure(name):
        text = g.admin("GET", "/metrics").body.decode()
        lines = [line for line in text.splitlines() if line.startswith(f"moongate_redis_{name}{{") and f'server="{r.address}"' in line]
        assert len(lines) == 1 and 'db="0",name="gateway"' in lines[0], text
        return float(lines[0].split()[-1])

    for i in range(10):
        assert g.run("call", "SET", "k", i)[0] == "OK"
    assert g.run("call", "LPUSH", "k", "x")[0] is None
    g.run("pipeline", "SET", "a", "1", ";", "GET", "a")
    assert (figure("requests_total"), figure("errors_total"), figure("failures_total")) == (13, 1, 0)
    assert 1 <= figure("connections_open") == figure("connections_total") <= 2 * 2
    r.kill()
    assert g.run("call", "GET", "k")[0] is None
    wait_for(lambda: figure("connections_open") == 0, "the connections to be gone")
    assert figure("failures_total") == 1
