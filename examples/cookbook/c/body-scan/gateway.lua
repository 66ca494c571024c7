-- Uploads that hold what they must not.
--     moongate run -c examples/cookbook/c/body-scan/gateway.lua      (once it is built: ../CMakeLists.txt)
return {
  listen = os.getenv "LISTEN" or "127.0.0.1:8080",
  plugin_path = { "../build" },
  routes = {
    { "uploads", path = "/uploads/*", upstream = os.getenv "UPSTREAM" or "http://127.0.0.1:9001", plugins = {
      { "body-scan", strings = { test_virus = "$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!", internal = "COMPANY CONFIDENTIAL" } },
    } },
  },
}
