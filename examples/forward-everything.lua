-- Forwards every request as unchanged as a proxy may: no fields added, the Host kept. For conformance suites and
-- measurements. UPSTREAM and LISTEN say from where to where:
--
--     LISTEN=127.0.0.1:8080 UPSTREAM=http://127.0.0.1:9000 moongate run -c examples/forward-everything.lua
return {
  listen = os.getenv("LISTEN") or "127.0.0.1:8080",
  forwarded = "none",
  via = "",
  routes = { { "all", path = "/*", upstream = os.getenv("UPSTREAM") or "http://127.0.0.1:9000" } },
}
