/* redis_name.c - a server's name to an address, for one connection: by the config's resolver, which keeps what it knows for its TTL. */
#include "service/redis_parts.h"

static void set_address(struct mg_redis_server *s, const struct mg_address *a)
{
    s->address = *a;
    if (a->sa.ss_family == AF_INET6)
        ((struct sockaddr_in6 *)&s->address.sa)->sin6_port = htons((uint16_t)s->host.port);
    else
        ((struct sockaddr_in *)&s->address.sa)->sin_port = htons((uint16_t)s->host.port);
    mg_address_format(&s->address);
}

static void found(struct mg_dns_lookup *l, int status, const struct mg_address *addrs, size_t n)
{
    struct mg_redis_conn *c = mg_container(l, struct mg_redis_conn, lookup);

    if (status != 0 || n == 0) {
        mg_redis_conn_fail(c, MG_ENOENT, status == MG_ETIMEOUT ? "its name does not resolve: no answer in time" : "its name does not resolve");
        return;
    }
    set_address(c->server, &addrs[c->server->address_at % n]);
    mg_redis_conn_connect(c);
}

int mg_redis_lookup_start(struct mg_redis_conn *c)
{
    c->lookup.done = found;
    return mg_dns_lookup(&c->lookup, mg_container(c->server->client->loop, struct mg_worker, loop), mg_str_c(c->server->host.name));
}
