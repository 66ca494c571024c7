/* redis_name.c - a server's name to an address, for one connection. */
#include "service/redis_parts.h"
#include "base/alloc.h"

#include <stdio.h>

enum { HOLDS_MS = 10000 };

struct mg_redis_lookup {
    uv_getaddrinfo_t uv;
    struct mg_redis_conn *conn;      /* NULL: it has gone */
};

static void found(struct mg_redis_conn *c, const struct addrinfo *list)
{
    struct mg_redis_server *s = c->server;
    size_t n = list->ai_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);

    memset(&s->address, 0, sizeof s->address);
    memcpy(&s->address.sa, list->ai_addr, n);
    mg_address_format(&s->address);
    s->address_until_ms = mg_loop_now_ms(s->client->loop) + HOLDS_MS;
    mg_redis_conn_connect(c);
}

static void on_found(uv_getaddrinfo_t *uv, int status, struct addrinfo *list)
{
    struct mg_redis_lookup *l = mg_container(uv, struct mg_redis_lookup, uv);
    struct mg_redis_conn *c = l->conn;

    if (c) {
        c->lookup = NULL;
        if (status == 0 && list)
            found(c, list);
        else
            mg_redis_conn_fail(c, MG_ENOENT, "its name does not resolve");
    }
    uv_freeaddrinfo(list);
    mg_free(l);
}

int mg_redis_lookup_start(struct mg_redis_conn *c)
{
    const struct mg_redis_server *s = c->server;
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    struct mg_redis_lookup *l = mg_calloc(1, sizeof *l);
    char port[8];

    if (!l)
        return MG_ENOMEM;
    snprintf(port, sizeof port, "%u", (unsigned)(uint16_t)s->host.port);
    if (uv_getaddrinfo(&s->client->loop->uv, &l->uv, on_found, s->host.name, port, &hints) != 0) {
        mg_free(l);
        return MG_ENOMEM;
    }
    l->conn = c;
    c->lookup = l;
    return 0;
}

void mg_redis_lookup_cancel(struct mg_redis_conn *c)
{
    if (!c->lookup)
        return;
    c->lookup->conn = NULL;
    uv_cancel((uv_req_t *)&c->lookup->uv);
    c->lookup = NULL;
}
