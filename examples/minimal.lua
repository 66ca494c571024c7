-- The smallest gateway that does something: everything on 8080 goes to one service.
return {
  listen = "0.0.0.0:8080",
  routes = { { "all", path = "/*", upstream = "http://127.0.0.1:9000" } },
}
