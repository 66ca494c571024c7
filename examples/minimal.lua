-- The smallest gateway that does something: everything on 8080 goes to one service.
--
--     moongate echo &                          an upstream on 9000 that answers what it was asked
--     moongate run -c examples/minimal.lua
--     curl http://127.0.0.1:8080/any/path
return {
  listen = "0.0.0.0:8080",
  routes = { { "all", path = "/*", upstream = "http://127.0.0.1:9000" } },
}
