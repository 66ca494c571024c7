/* build_listeners.c - addresses to serve, their certificates, and the levels of timeouts and limits. */
#include "server/build_parts.h"

#include <stddef.h>
#include <stdio.h>
#include <sys/un.h>

void mg_merge_fields(const struct mg_field *fields, const struct mg_value *table, void *into)
{
    for (; table && fields->name; fields++) {
        const struct mg_value *v = mg_value_get(table, fields->name);
        int64_t n = v ? (int64_t)v->number : 0;

        if (v)
            memcpy((char *)into + fields->offset, &n, sizeof(n));
    }
}

bool mg_split_host_port(struct mg_str text, struct mg_str *host, int *port)
{
    size_t i = text.n;
    uint64_t n;

    while (i > 0 && text.p[i - 1] != ':')
        i--;
    if (i == 0 || !mg_str_u64(mg_str(text.p + i, text.n - i), 65535, &n))
        return false;
    *port = (int)n;
    *host = mg_str(text.p, i - 1);
    if (host->n >= 2 && host->p[0] == '[' && host->p[host->n - 1] == ']') {
        *host = mg_str(host->p + 1, host->n - 2);
        return host->n > 0 && memchr(host->p, ':', host->n);
    }
    return host->n > 0 && !memchr(host->p, ':', host->n);
}

int mg_redirect_status(struct mg_making *m, const struct mg_value *v)
{
    if (!v || (v->kind == MG_V_BOOL && !v->boolean))
        return 0;
    if (v->kind == MG_V_BOOL)
        return 308;
    if (v->kind == MG_V_NUMBER && (v->number == 301 || v->number == 302 || v->number == 307 || v->number == 308))
        return (int)v->number;
    mg_check_add(&m->check, v, "expected true, 301, 302, 307 or 308");
    return 0;
}

static int unix_address(struct mg_making *m, struct mg_listener_conf *l, struct mg_str path, const struct mg_value *at)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&l->sa;

    path = mg_making_path(m, path);
    if (!path.p)
        return MG_ENOMEM;
    if (path.n == 0 || path.n >= sizeof(un->sun_path)) {
        mg_check_add(&m->check, at, "expected a path of 1 to %zu bytes after \"unix:\"", sizeof(un->sun_path) - 1);
        return 0;
    }
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path.p, path.n);
    l->id = mg_arena_printf(mg_making_arena(m), "unix:%.*s", (int)path.n, path.p);
    return l->id.p ? 0 : MG_ENOMEM;
}

static bool is_loopback(const struct mg_listener_conf *l)
{
    const struct sockaddr_in *in4 = (const struct sockaddr_in *)&l->sa;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&l->sa;

    if (l->sa.ss_family == AF_INET)
        return (ntohl(in4->sin_addr.s_addr) >> 24) == 127;
    return l->sa.ss_family == AF_UNIX || (l->sa.ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr));
}

static int address(struct mg_making *m, struct mg_listener_conf *l, const struct mg_value *node)
{
    const struct mg_value *at = mg_value_get(node, "address");
    struct mg_address a = { 0 };
    struct mg_str host;
    int port;

    if (!at)
        at = node;
    if (mg_str_starts(l->address, MG_STR("unix:")))
        return unix_address(m, l, mg_str(l->address.p + 5, l->address.n - 5), at);
    if (!mg_split_host_port(l->address, &host, &port)) {
        mg_check_add(&m->check, at, "expected an address such as \"0.0.0.0:8080\", \"[::]:8080\" or \"unix:PATH\"; found \"%.*s\"",
                     (int)l->address.n, l->address.p);
        return 0;
    }
    if (mg_str_eq(host, MG_STR("localhost")))
        host = MG_STR("127.0.0.1");
    if (mg_address_parse(host, port, &a) != 0) {
        mg_check_add(&m->check, at, "\"%.*s\" is no address of this machine's: expected numbers, such as 127.0.0.1 or [::1]", (int)host.n, host.p);
        return 0;
    }
    mg_address_format(&a);
    l->sa = a.sa;
    l->id = mg_arena_copy(mg_making_arena(m), a.text, strlen(a.text));
    return l->id.p ? 0 : MG_ENOMEM;
}

static int tls(struct mg_making *m, struct mg_listener_conf *l, const struct mg_conf_tls_server *t, const struct mg_value *at)
{
    size_t n = t->certs.n + (t->cert.n > 0);
    struct mg_tls_cert *certs = mg_arena_zalloc(mg_making_arena(m), (n + 1) * sizeof(*certs));
    struct mg_tls_server_conf conf = { .certs = certs, .min_version = t->min_version ? 13 : 12, .ciphers = t->ciphers,
                                       .ciphersuites = t->ciphersuites, .session_tickets = t->session_tickets,
                                       .session_timeout_ms = t->session_timeout_ms };
    struct mg_error err = { 0 };

    if (!certs)
        return MG_ENOMEM;
    if ((t->cert.n > 0) != (t->key.n > 0)) {
        mg_check_add(&m->check, at, "cert and key go together; %s is missing", t->cert.n ? "key" : "cert");
        return 0;
    }
    if (t->cert.n)
        certs[conf.certs_n++] = (struct mg_tls_cert){ t->cert, t->key };
    for (size_t i = 0; i < t->certs.n; i++) {
        const struct mg_conf_cert *c = (const struct mg_conf_cert *)t->certs.items + i;

        if (c->cert.n && c->key.n)
            certs[conf.certs_n++] = (struct mg_tls_cert){ c->cert, c->key };
    }
    if (conf.certs_n == 0) {
        if (t->certs.n == 0)
            mg_check_add(&m->check, at, "expected cert and key, or certs = { { cert = …, key = … }, … }");
        return 0;
    }
    l->tls = mg_tls_server_new(&conf, &err);
    if (!l->tls)
        mg_check_add(&m->check, at, "%s", err.message);
    return 0;
}

static int listener(struct mg_making *m, const struct mg_conf_listener *c, const struct mg_value *node, struct mg_listener_conf *l)
{
    const struct mg_value *tls_node = mg_value_get(node, "tls");
    size_t before = m->check.n;
    int rc;

    l->name = c->name;
    l->address = c->address;
    l->backlog = (int)c->backlog;
    l->half_close = c->half_close;
    l->connections_max = (int)c->connections;
    l->redirect_https = mg_redirect_status(m, mg_value_get(node, "redirect_https"));
    l->redirect_port = (int)c->redirect_port;
    l->timeouts = m->conf.timeouts;
    l->limits = m->conf.limits;
    mg_merge_fields(mg_schema_timeouts, mg_value_get(node, "timeouts"), &l->timeouts);
    mg_merge_fields(mg_schema_limits, mg_value_get(node, "limits"), &l->limits);
    l->h1 = (struct mg_h1_limits){ .head_bytes = (uint32_t)l->limits.head, .target_bytes = (uint32_t)l->limits.target,
                                   .headers_max = (uint32_t)l->limits.headers, .trailer_bytes = (uint32_t)l->limits.trailers };
    if (c->address.n == 0)
        return 0;
    rc = address(m, l, node);
    if (rc == 0 && tls_node && tls_node->kind == MG_V_TABLE)
        rc = tls(m, l, &c->tls, tls_node);
    if (rc == 0 && l->redirect_https && tls_node)
        mg_check_add(&m->check, mg_value_get(node, "redirect_https"), "this listener speaks TLS already");
    if (rc == 0 && l->is_admin && m->check.n == before && !is_loopback(l))
        mg_check_add(&m->check, node, "the admin listener has no passwords: expected a loopback address or \"unix:PATH\"; found \"%.*s\"",
                     (int)l->address.n, l->address.p);
    return rc;
}

/* Two listeners of one address (port 0 apart) or of one name. */
static void refuse_doubles(struct mg_making *m, size_t i, const struct mg_value *node)
{
    const struct mg_listener_conf *l = &m->s->listeners[i];

    for (size_t k = 0; k < i; k++) {
        const struct mg_listener_conf *other = &m->s->listeners[k];
        bool any_port = l->id.n > 2 && l->sa.ss_family != AF_UNIX && memcmp(l->id.p + l->id.n - 2, ":0", 2) == 0;

        if (l->id.n && !any_port && mg_str_eq(l->id, other->id)) {
            mg_check_add(&m->check, node, "%.*s is served by another listener already", (int)l->id.n, l->id.p);
            return;
        }
        if (l->name.n && mg_str_eq(l->name, other->name)) {
            mg_check_add(&m->check, node, "another listener is named \"%.*s\" already", (int)l->name.n, l->name.p);
            return;
        }
    }
}

int mg_make_listeners(struct mg_making *m)
{
    const struct mg_value *list = mg_value_get(m->config->root, "listen"), *admin = mg_value_get(m->config->root, "admin");
    const struct mg_conf_listener *conf = m->conf.listen.items;
    size_t n = m->conf.listen.n;
    struct mg_snapshot *s = m->s;

    s->listeners = mg_arena_zalloc(&s->arena, (n + 1) * sizeof(*s->listeners));
    if (!s->listeners)
        return MG_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        if (listener(m, &conf[i], mg_value_at(list, i), &s->listeners[s->listeners_n++]) != 0)
            return MG_ENOMEM;
        refuse_doubles(m, i, mg_value_at(list, i));
    }
    if (admin && admin->kind == MG_V_TABLE) {
        s->listeners[s->listeners_n].is_admin = true;
        if (listener(m, &m->conf.admin, admin, &s->listeners[s->listeners_n++]) != 0)
            return MG_ENOMEM;
        refuse_doubles(m, s->listeners_n - 1, admin);
    }
    return 0;
}
