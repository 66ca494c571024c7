-- HTTPS with a certificate for each name (chosen by SNI), plain HTTP redirected, the upstream verified by a CA of our own.
--
--     TLS_FOLDER=/etc/moongate/tls moongate run -c examples/tls.lua
--     curl --cacert ca.pem --resolve api.test:8443:127.0.0.1 https://api.test:8443/
--
-- TLS_FOLDER has api.pem, api.key, www.pem, www.key and ca.pem.
local folder = os.getenv("TLS_FOLDER") or "tls"
local https = os.getenv("HTTPS_PORT") or "8443"
local http = os.getenv("HTTP_PORT") or "8080"

return {
  listen = {
    { "127.0.0.1:" .. https, name = "https", tls = {
        certs = {
          { cert = folder .. "/api.pem", key = folder .. "/api.key" }, -- for clients that name nothing we know
          { cert = folder .. "/www.pem", key = folder .. "/www.key" },
        },
        min_version = "1.2",
    } },
    { "127.0.0.1:" .. http, name = "http", redirect_https = 308, redirect_port = tonumber(https) ~= 0 and tonumber(https) or 443 },
  },

  upstreams = {
    orders = {
      targets = { os.getenv("UPSTREAM") or "127.0.0.1:9443" },
      tls = { ca = folder .. "/ca.pem", server_name = "localhost" },
    },
  },

  routes = { { "orders", path = "/*", upstream = "orders", host_header = "upstream" } },
}
