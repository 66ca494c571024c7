/* schema.c - the keys of the config. docs/configuration.md says the same for people. */
#include "server/schema.h"

#define AT(type_, member) .offset = offsetof(type_, member)
#define RANGE(low, high) .has_min = true, .min = (low), .has_max = true, .max = (high)
#define AT_LEAST(low) .has_min = true, .min = (low)

static const struct mg_field text_item = { .type = MG_STRING, AT_LEAST(1) };
static const struct mg_field path_item = { .type = MG_PATH };
static const struct mg_field free_item = { .type = 0 };
/* Read from the tree by whoever builds it; what the struct gets is not looked at. */
#define UNUSED .item = &free_item, .item_bytes = sizeof(struct mg_str)
#define TEXTS .type = MG_LIST, .item = &text_item, .item_bytes = sizeof(struct mg_str), .single = true

#define DAY 864e5
#define HOUR 36e5
/* preset: the top level's default; a level below inherits what it does not set. */
#define TIMEOUT(name_, preset_, doc_) \
    { .name = #name_, .type = MG_DURATION, AT(struct mg_timeouts, name_), .preset = preset_, RANGE(0, 30 * DAY), .doc = doc_ }
#define TIMEOUTS(a, b, c, d, e, f) HEAD_TIMEOUTS(a, b), BODY_TIMEOUTS(c, d, e, f)
#define HEAD_TIMEOUTS(a, b) \
    TIMEOUT(client_head, a, "From the first byte of a request to its whole head: 408."), \
    TIMEOUT(client_idle, b, "A kept connection without a request: closed.")
#define BODY_TIMEOUTS(c, d, e, f) \
    TIMEOUT(client_body, c, "Between two pieces of a request's body: 408."), \
    TIMEOUT(client_write, d, "Without progress towards the client: closed."), \
    TIMEOUT(exchange, e, "A whole exchange: 504. 0s: no limit."), TIMEOUT(plugin, f, "A plugin's wait: 504.")

static const struct mg_field top_timeouts[] = { TIMEOUTS("10s", "75s", "60s", "60s", "0s", "60s"), { 0 } };
const struct mg_field mg_schema_timeouts[] = { TIMEOUTS(NULL, NULL, NULL, NULL, NULL, NULL), { 0 } };

#define LIMIT(name_, type_, preset_, doc_) \
    { .name = #name_, .type = type_, AT(struct mg_limits, name_), .preset = preset_, RANGE(0, 1e15), .doc = doc_ }
#define HEAD_LIMITS(a, b, c, d) \
    { .name = "head", .type = MG_SIZE, AT(struct mg_limits, head), .preset = a, RANGE(1024, 1 << 20), .doc = "A request's head: 431." }, \
    { .name = "target", .type = MG_SIZE, AT(struct mg_limits, target), .preset = b, RANGE(64, 1 << 20), .doc = "A request's target: 414." }, \
    { .name = "headers", .type = MG_INT, AT(struct mg_limits, headers), .preset = c, RANGE(1, 10000), .doc = "Fields of a head: 431." }, \
    { .name = "trailers", .type = MG_SIZE, AT(struct mg_limits, trailers), .preset = d, RANGE(0, 1 << 20), .doc = "Trailers of a message." }
#define BODY_LIMITS(a, b, c, d) \
    LIMIT(body, MG_SIZE, a, "A request's body: 413. 0: no limit."), \
    LIMIT(buffered_body, MG_SIZE, b, "A body that a plugin gathers."), \
    LIMIT(spilled_body, MG_SIZE, d, "A body that a plugin gathers in a temporary file."), \
    { .name = "memory", .type = MG_SIZE, AT(struct mg_limits, memory), .preset = c, RANGE(65536, 1 << 30), \
      .doc = "An exchange's memory, apart from gathered bodies." }

static const struct mg_field top_limits[] = { HEAD_LIMITS("32k", "8k", "100", "8k"), BODY_LIMITS("0", "1m", "1m", "1g"), { 0 } };
const struct mg_field mg_schema_limits[] = { HEAD_LIMITS(NULL, NULL, NULL, NULL), BODY_LIMITS(NULL, NULL, NULL, NULL), { 0 } };
static const struct mg_field route_limits[] = { BODY_LIMITS(NULL, NULL, NULL, NULL), { 0 } };

/* ---- listeners ---- */

static const char *const tls_versions[] = { "1.2", "1.3", NULL };

static const struct mg_field cert_fields[] = {
    { .name = "cert", .type = MG_PATH, AT(struct mg_conf_cert, cert), .required = true, .doc = "PEM file: the chain, leaf first." },
    { .name = "key", .type = MG_PATH, AT(struct mg_conf_cert, key), .required = true, .doc = "PEM file with its key." },
    { 0 }
};
static const struct mg_field cert_item = { .type = MG_TABLE, .fields = cert_fields };

static const struct mg_field tls_server_fields[] = {
    { .name = "cert", .type = MG_PATH, AT(struct mg_conf_tls_server, cert), .doc = "PEM file: the chain, leaf first." },
    { .name = "key", .type = MG_PATH, AT(struct mg_conf_tls_server, key), .doc = "PEM file with its key." },
    { .name = "certs", .type = MG_LIST, AT(struct mg_conf_tls_server, certs), .item = &cert_item, .item_bytes = sizeof(struct mg_conf_cert),
      .single = true, .doc = "Several certificates, chosen by SNI." },
    { .name = "min_version", .type = MG_ENUM, AT(struct mg_conf_tls_server, min_version), .values = tls_versions, .preset = "1.2",
      .doc = "Lowest version of TLS." },
    { .name = "ciphers", .type = MG_STRING, AT(struct mg_conf_tls_server, ciphers), .doc = "OpenSSL's list for TLS 1.2." },
    { .name = "ciphersuites", .type = MG_STRING, AT(struct mg_conf_tls_server, ciphersuites), .doc = "OpenSSL's list for TLS 1.3." },
    { .name = "session_tickets", .type = MG_BOOL, AT(struct mg_conf_tls_server, session_tickets), .preset = "true", .doc = "Resumption by ticket." },
    { .name = "session_timeout", .type = MG_DURATION, AT(struct mg_conf_tls_server, session_timeout_ms), .preset = "1h", RANGE(0, 7 * DAY),
      .doc = "How long a session may be resumed." },
    { 0 }
};

static const struct mg_field listener_fields[] = {
    { .name = "address", .type = MG_STRING, AT(struct mg_conf_listener, address), .required = true, .at = 1, AT_LEAST(1),
      .doc = "\"0.0.0.0:8080\", \"[::]:8080\" or \"unix:PATH\"." },
    { .name = "name", .type = MG_STRING, AT(struct mg_conf_listener, name), .preset = "", .doc = "For a route's `listener`." },
    { .name = "tls", .type = MG_TABLE, AT(struct mg_conf_listener, tls), .fields = tls_server_fields, .doc = "Certificates." },
    { .name = "half_close", .type = MG_BOOL, AT(struct mg_conf_listener, half_close), .preset = "false",
      .doc = "A client that ends its half after a request still gets the answer." },
    { .name = "backlog", .type = MG_INT, AT(struct mg_conf_listener, backlog), .preset = "4096", RANGE(1, 65535), .doc = "Connections that wait to be accepted." },
    { .name = "connections", .type = MG_INT, AT(struct mg_conf_listener, connections), .preset = "0", RANGE(0, 10000000),
      .doc = "Most connections for each worker; 0: no limit." },
    { .name = "redirect_https", .type = 0, .doc = "Answer every request with a redirect to https." },
    { .name = "redirect_port", .type = MG_INT, AT(struct mg_conf_listener, redirect_port), .preset = "443", RANGE(1, 65535), .doc = "The port named in it." },
    { .name = "timeouts", .type = MG_TABLE, AT(struct mg_conf_listener, timeouts), .fields = mg_schema_timeouts, .doc = "In place of the top level's." },
    { .name = "limits", .type = MG_TABLE, AT(struct mg_conf_listener, limits), .fields = mg_schema_limits, .doc = "In place of the top level's." },
    { 0 }
};
static const struct mg_field listener_item = { .type = MG_TABLE, .fields = listener_fields };

/* ---- routes ---- */

static const char *const schemes[] = { "any", "http", "https", NULL };

/* Checked only: what a route says is taken over by build_routes.c. */
static const struct mg_field route_timeouts[] = {
    BODY_TIMEOUTS(NULL, NULL, NULL, NULL),
    { .name = "connect", .type = MG_DURATION, AT(struct mg_conf_route_timeouts, connect), RANGE(1, DAY), .doc = "In place of the upstream's." },
    { .name = "first_byte", .type = MG_DURATION, AT(struct mg_conf_route_timeouts, first_byte), RANGE(0, DAY), .doc = "In place of the upstream's." },
    { .name = "upstream_idle", .type = MG_DURATION, AT(struct mg_conf_route_timeouts, upstream_idle), RANGE(0, DAY), .doc = "In place of the upstream's idle." },
    { 0 }
};

static const struct mg_field route_fields[] = {
    { .name = "id", .type = MG_STRING, AT(struct mg_conf_route, id), .required = true, .at = 1, RANGE(1, 128), .doc = "Names the route." },
    { .name = "host", TEXTS, AT(struct mg_conf_route, hosts), .doc = "Hosts, exact or \"*.example.com\"." },
    { .name = "path", TEXTS, AT(struct mg_conf_route, paths), .doc = "Path patterns." },
    { .name = "methods", TEXTS, AT(struct mg_conf_route, methods), .doc = "Methods." },
    { .name = "headers", .type = MG_MAP, AT(struct mg_conf_route, unused), UNUSED, .doc = "Conditions on header fields." },
    { .name = "query", .type = MG_MAP, AT(struct mg_conf_route, unused), UNUSED, .doc = "Conditions on query arguments." },
    { .name = "cookies", .type = MG_MAP, AT(struct mg_conf_route, unused), UNUSED, .doc = "Conditions on cookies." },
    { .name = "client", TEXTS, AT(struct mg_conf_route, clients), .doc = "CIDRs of clients." },
    { .name = "scheme", .type = MG_ENUM, AT(struct mg_conf_route, scheme), .values = schemes, .doc = "Only plain or only TLS." },
    { .name = "listener", .type = MG_STRING, AT(struct mg_conf_route, listener), .doc = "A listener's name or address." },
    { .name = "upstream", .type = MG_STRING, AT(struct mg_conf_route, upstream), AT_LEAST(1), .doc = "An upstream's name, or a URL." },
    { .name = "rewrite", .type = MG_STRING, AT(struct mg_conf_route, rewrite), AT_LEAST(1), .doc = "The path to send." },
    { .name = "strip_prefix", .type = MG_BOOL, AT(struct mg_conf_route, strip_prefix), .preset = "false", .doc = "Take the literal part before * off the path." },
    { .name = "host_header", .type = MG_STRING, AT(struct mg_conf_route, host_header), .preset = "preserve", AT_LEAST(1),
      .doc = "\"preserve\", \"upstream\" or a host." },
    { .name = "redirect_https", .type = 0, .doc = "Redirect plain requests." },
    { .name = "timeouts", .type = MG_TABLE, AT(struct mg_conf_route, timeouts), .fields = route_timeouts, .doc = "In place of the listener's and the upstream's." },
    { .name = "limits", .type = MG_TABLE, AT(struct mg_conf_route, limits), .fields = route_limits, .doc = "In place of the listener's." },
    { .name = "plugins", .type = MG_LIST, AT(struct mg_conf_route, unused), UNUSED, .single = true, .doc = "The route's chain." },
    { 0 }
};
static const struct mg_field route_item = { .type = MG_TABLE, .fields = route_fields };

/* ---- upstreams ---- */

const struct mg_field mg_schema_tls_client[] = {
    { .name = "verify", .type = MG_BOOL, AT(struct mg_conf_tls_client, verify), .preset = "true", .doc = "Check the certificate's chain and name." },
    { .name = "ca", .type = MG_PATH, AT(struct mg_conf_tls_client, ca), .doc = "PEM file in place of the system's authorities." },
    { .name = "cert", .type = MG_PATH, AT(struct mg_conf_tls_client, cert), .doc = "PEM file: our own certificate." },
    { .name = "key", .type = MG_PATH, AT(struct mg_conf_tls_client, key), .doc = "PEM file with its key." },
    { .name = "server_name", .type = MG_STRING, AT(struct mg_conf_tls_client, server_name), .doc = "In place of the target's host." },
    { .name = "min_version", .type = MG_ENUM, AT(struct mg_conf_tls_client, min_version), .values = tls_versions, .preset = "1.2",
      .doc = "Lowest version of TLS." },
    { 0 }
};
static const struct mg_field target_fields[] = {
    { .name = "address", .type = MG_STRING, AT(struct mg_conf_target, address), .required = true, .at = 1, AT_LEAST(1), .doc = "\"host:port\" or \"unix:PATH\"." },
    { .name = "weight", .type = MG_INT, AT(struct mg_conf_target, weight), .preset = "1", RANGE(1, 65535), .doc = "Its share." },
    { 0 }
};
static const struct mg_field target_item = { .type = MG_TABLE, .fields = target_fields };
static const struct mg_field upstream_timeouts[] = {
    { .name = "connect", .type = MG_DURATION, .offset = 0, .preset = "5s", RANGE(1, DAY), .doc = "Until a connection is there." },
    { .name = "first_byte", .type = MG_DURATION, .offset = 8, .preset = "60s", RANGE(0, DAY), .doc = "From the request sent to the response's head: 504." },
    { .name = "idle", .type = MG_DURATION, .offset = 16, .preset = "60s", RANGE(0, DAY), .doc = "Between two pieces, either way." },
    { 0 }
};
static const struct mg_field keepalive_fields[] = {
    { .name = "max", .type = MG_INT, .offset = 0, .preset = "64", RANGE(0, 100000), .doc = "Idle connections for each worker and target." },
    { .name = "idle", .type = MG_DURATION, .offset = 8, .preset = "60s", RANGE(0, DAY), .doc = "How long one is kept." },
    { .name = "requests", .type = MG_INT, .offset = 16, .preset = "10000", RANGE(0, 1e9), .doc = "Requests on one connection; 0: no limit." },
    { 0 }
};
static const char *const balancers[] = { "round-robin", NULL };
static const struct mg_field upstream_fields[] = {
    { .name = "targets", .type = MG_LIST, AT(struct mg_conf_upstream, targets), .item = &target_item, .item_bytes = sizeof(struct mg_conf_target),
      .required = true, .single = true, AT_LEAST(1), .doc = "Its servers." },
    { .name = "balance", .type = MG_ENUM, AT(struct mg_conf_upstream, balance), .values = balancers, .preset = "round-robin", .doc = "How one is chosen." },
    { .name = "tls", .type = 0, .doc = "true, or a table: verify, ca, cert, key, server_name, min_version." },
    { .name = "timeouts", .type = MG_TABLE, AT(struct mg_conf_upstream, timeouts), .fields = upstream_timeouts, .preset = "{}", .doc = "Timeouts." },
    { .name = "keepalive", .type = MG_TABLE, AT(struct mg_conf_upstream, keepalive), .fields = keepalive_fields, .preset = "{}", .doc = "Idle connections." },
    { .name = "connections", .type = MG_INT, AT(struct mg_conf_upstream, connections), .preset = "0", RANGE(0, 1000000),
      .doc = "Most for each worker; 0: no limit." },
    { 0 }
};
static const struct mg_field upstream_item = { .type = MG_TABLE, .fields = upstream_fields };

/* ---- consumers ---- */

const struct mg_field mg_schema_groups[] = {
    { .name = "groups", TEXTS, .offset = 0, .doc = "Groups of the consumer." },
    { 0 }
};

/* ---- the top level ---- */

static const char *const forwarded_words[] = { "none", "x", "rfc7239", "both", NULL }; /* index: enum mg_forwarded_mode flags */
static const char *const levels[] = { "debug", "info", "warn", "error", NULL };
static const char *const log_formats[] = { "text", "json", NULL };
static const struct mg_field error_fields[] = {
    { .name = "content_type", .type = MG_STRING, AT(struct mg_conf, errors.content_type) - offsetof(struct mg_conf, errors),
      .preset = "application/problem+json", AT_LEAST(1), .doc = "Media type." },
    { .name = "body", .type = MG_STRING, AT(struct mg_conf, errors.body) - offsetof(struct mg_conf, errors), .required = true, .doc = "A template." },
    { 0 }
};
static const struct mg_field log_fields[] = {
    { .name = "level", .type = MG_ENUM, AT(struct mg_conf, log.level) - offsetof(struct mg_conf, log), .values = levels, .preset = "info", .doc = "Lowest level written." },
    { .name = "format", .type = MG_ENUM, AT(struct mg_conf, log.format) - offsetof(struct mg_conf, log), .values = log_formats, .preset = "text", .doc = "Shape of a line." },
    { .name = "path", .type = MG_PATH, AT(struct mg_conf, log.path) - offsetof(struct mg_conf, log), .doc = "A file; stderr without one." },
    { 0 }
};
static const struct mg_field resolver_fields[] = {
    { .name = "servers", TEXTS, AT(struct mg_conf, resolver.servers) - offsetof(struct mg_conf, resolver), .doc = "DNS servers; the system's without." },
    { .name = "timeout", .type = MG_DURATION, AT(struct mg_conf, resolver.timeout_ms) - offsetof(struct mg_conf, resolver), .preset = "2s", RANGE(10, 6e4), .doc = "Of one try." },
    { .name = "tries", .type = MG_INT, AT(struct mg_conf, resolver.tries) - offsetof(struct mg_conf, resolver), .preset = "3", RANGE(1, 10), .doc = "Tries." },
    { 0 }
};
static const struct mg_field quarantine_fields[] = {
    { .name = "crashes", .type = MG_INT, .offset = 0, .preset = "3", RANGE(0, MG_QUARANTINE_CRASHES_MAX), .doc = "So many put an entry out; 0: never." },
    { .name = "window", .type = MG_DURATION, .offset = 8, .preset = "5m", RANGE(1000, DAY), .doc = "Within this time." },
    { 0 }
};
static const struct mg_field debug_secret = { .type = MG_STRING, AT_LEAST(16) };
#define DEBUG_AT(member) AT(struct mg_conf, debug.member) - offsetof(struct mg_conf, debug)
static const struct mg_field debug_fields[] = {
    { .name = "secret", .type = MG_LIST, .item = &debug_secret, .item_bytes = sizeof(struct mg_str), .single = true, DEBUG_AT(secrets), .required = true,
      AT_LEAST(1), .secret = true, .doc = "What the header must hold." },
    { .name = "header", .type = MG_STRING, DEBUG_AT(header), .preset = "x-moongate-debug", .pattern = "[A-Za-z0-9-]{1,64}", .doc = "The header that asks." },
    { .name = "networks", TEXTS, DEBUG_AT(networks), .doc = "Clients that may ask." },
    { .name = "mask", TEXTS, DEBUG_AT(mask), .doc = "Names whose values are not shown." },
    { .name = "keep", .type = MG_INT, DEBUG_AT(keep), .preset = "100", RANGE(1, 1000), .doc = "How many traces are kept." },
    { 0 }
};
static const struct mg_field lua_fields[] = {
    { .name = "memory", .type = MG_SIZE, .offset = 0, .preset = "256m", RANGE(1 << 20, 64e9), .doc = "Most memory of each Lua VM." },
    { 0 }
};

static const struct mg_field shared_item = { .type = MG_SIZE, RANGE(16384, 64e9) };
static const struct mg_field tasks_fields[] = {
    { .name = "max", .type = MG_INT, .offset = 0, .preset = "1000", RANGE(1, 1000000), .doc = "Most tasks of each worker." },
    { .name = "timers", .type = MG_INT, .offset = 8, .preset = "1000", RANGE(1, 1000000), .doc = "Most timers of each worker." },
    { .name = "memory", .type = MG_SIZE, .offset = 16, .preset = "1m", RANGE(65536, 1 << 30), .doc = "Memory of one task." },
    { .name = "on_worker", .type = MG_DURATION, .offset = 24, .preset = "10s", RANGE(1, HOUR), .doc = "How long a worker waits for on_worker handlers before it serves without them." },
    { 0 }
};

const struct mg_field mg_schema[] = {
    { .name = "listen", .type = MG_LIST, AT(struct mg_conf, listen), .item = &listener_item, .item_bytes = sizeof(struct mg_conf_listener),
      .required = true, .single = true, AT_LEAST(1), .doc = "Addresses to serve." },
    { .name = "admin", .type = MG_TABLE, AT(struct mg_conf, admin), .fields = listener_fields, .doc = "The admin listener: loopback or a Unix socket." },
    { .name = "workers", .type = MG_INT, AT(struct mg_conf, workers), RANGE(1, MG_WORKERS_MAX - 1), .doc = "Worker threads." },
    { .name = "routes", .type = MG_LIST, AT(struct mg_conf, routes), .item = &route_item, .item_bytes = sizeof(struct mg_conf_route), .single = true,
      .doc = "Routes." },
    { .name = "plugins", .type = MG_LIST, AT(struct mg_conf, unused), UNUSED, .single = true, .doc = "The global chain." },
    { .name = "upstreams", .type = MG_MAP, AT(struct mg_conf, upstreams), .item = &upstream_item, .item_bytes = sizeof(struct mg_conf_named_upstream),
      .doc = "Named groups of servers." },
    { .name = "consumers", .type = MG_MAP, AT(struct mg_conf, unused), UNUSED, .doc = "Who may call." },
    { .name = "timeouts", .type = MG_TABLE, AT(struct mg_conf, timeouts), .fields = top_timeouts, .preset = "{}", .doc = "Defaults for listeners and routes." },
    { .name = "limits", .type = MG_TABLE, AT(struct mg_conf, limits), .fields = top_limits, .preset = "{}", .doc = "Defaults for listeners and routes." },
    { .name = "trusted_proxies", TEXTS, AT(struct mg_conf, trusted_proxies), .doc = "Peers whose forwarding fields are believed." },
    { .name = "forwarded", .type = MG_ENUM, AT(struct mg_conf, forwarded), .values = forwarded_words, .preset = "x", .doc = "Fields that the upstream gets." },
    { .name = "via", .type = MG_STRING, AT(struct mg_conf, via), .preset = "moongate", .has_max = true, .max = 64, .doc = "Pseudonym in Via." },
    { .name = "server", .type = MG_STRING, AT(struct mg_conf, server), .preset = "", .has_max = true, .max = 128, .doc = "In place of Server in answers." },
    { .name = "errors", .type = MG_TABLE, AT(struct mg_conf, errors), .fields = error_fields, .doc = "Shape of the gateway's own answers." },
    { .name = "plugin_path", .type = MG_LIST, AT(struct mg_conf, plugin_path), .item = &path_item, .item_bytes = sizeof(struct mg_str), .single = true,
      .doc = "Folders with plugins." },
    { .name = "sandbox", TEXTS, AT(struct mg_conf, sandbox), .doc = "Lua plugins, or folders of them, that are sandboxed." },
    { .name = "log", .type = MG_TABLE, AT(struct mg_conf, log), .fields = log_fields, .preset = "{}", .doc = "The gateway's own log." },
    { .name = "user", .type = MG_STRING, AT(struct mg_conf, user), AT_LEAST(1), .doc = "Become that user after binding." },
    { .name = "group", .type = MG_STRING, AT(struct mg_conf, group), AT_LEAST(1), .doc = "Become that group after binding." },
    { .name = "stall", .type = MG_DURATION, AT(struct mg_conf, stall_ms), .preset = "5s", RANGE(0, DAY), .doc = "How long a plugin may hold a worker." },
    { .name = "quarantine", .type = MG_TABLE, AT(struct mg_conf, quarantine), .fields = quarantine_fields, .preset = "{}", .doc = "Plugins that crash." },
    { .name = "drain", .type = MG_DURATION, AT(struct mg_conf, drain_ms), .preset = "30s", RANGE(0, DAY), .doc = "How long a stop waits." },
    { .name = "resolver", .type = MG_TABLE, AT(struct mg_conf, resolver), .fields = resolver_fields, .preset = "{}", .doc = "Name resolution." },
    { .name = "store", .type = MG_PATH, AT(struct mg_conf, store), AT_LEAST(1), .doc = "File of what plugins keep over restarts." },
    { .name = "tmp", .type = MG_PATH, AT(struct mg_conf, tmp), AT_LEAST(1), .doc = "Folder of temporary files." },
    { .name = "shared", .type = MG_MAP, AT(struct mg_conf, shared), .item = &shared_item, .item_bytes = sizeof(struct mg_conf_shared),
      .doc = "Sizes of dictionaries shared by all workers." },
    { .name = "debug", .type = MG_TABLE, AT(struct mg_conf, debug), .fields = debug_fields, .doc = "Who may ask for a trace." },
    { .name = "tasks", .type = MG_TABLE, AT(struct mg_conf, tasks), .fields = tasks_fields, .preset = "{}", .doc = "Bounds of work outside of exchanges." },
    { .name = "lua", .type = MG_TABLE, AT(struct mg_conf, lua), .fields = lua_fields, .preset = "{}", .doc = "Bounds of Lua." },
    { 0 }
};
