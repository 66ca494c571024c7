#include "server/addresses.h"

#include <arpa/inet.h>
#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/log.h"

static struct mg_open_address *find_in(struct mg_list *list, const char *key)
{
    mg_list_each(n, list) {
        struct mg_open_address *a = mg_container(n, struct mg_open_address, node);

        if (strcmp(a->key, key) == 0)
            return a;
    }
    return NULL;
}

static struct mg_str id_of(const struct mg_listener_conf *l)
{
    return l->id.n ? l->id : l->address;
}

int mg_addresses_name(struct mg_snapshot *s)
{
    for (size_t i = 0; i < s->listeners_n; i++) {
        struct mg_str id = id_of(&s->listeners[i]);
        int same = 1;

        for (size_t k = 0; k < i; k++)
            same += mg_str_starts(id_of(&s->listeners[k]), id) &&
                    (s->listeners[k].id.n == id.n || s->listeners[k].id.p[id.n] == '#');
        s->listeners[i].id = same == 1 ? id : mg_arena_printf(&s->arena, "%.*s#%d", (int)id.n, id.p, same);
        if (!s->listeners[i].id.p)
            return MG_ENOMEM;
    }
    return 0;
}

void mg_address_key(const struct mg_snapshot *s, size_t listener, char out[MG_SOCKET_KEY])
{
    struct mg_str id = s->listeners[listener].id;

    snprintf(out, MG_SOCKET_KEY, "%.*s", (int)id.n, id.p);
}

static int find_listener(const struct mg_snapshot *s, const char *key)
{
    char mine[MG_SOCKET_KEY];

    for (size_t i = 0; i < s->listeners_n; i++) {
        mg_address_key(s, i, mine);
        if (strcmp(mine, key) == 0)
            return (int)i;
    }
    return -1;
}

bool mg_addresses_keep(const char *key, void *snapshot)
{
    return find_listener(snapshot, key) >= 0;
}

/* ---- opening ---- */

/* The address with the port that the system chose. */
static void describe(struct mg_open_address *a)
{
    struct sockaddr_storage sa;
    socklen_t n = sizeof sa;
    char ip[INET6_ADDRSTRLEN] = "?";

    if (getsockname(a->fds[0], (struct sockaddr *)&sa, &n) != 0)
        return;
    if (sa.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&sa;

        a->port = ntohs(in->sin_port);
        snprintf(a->text, sizeof a->text, "%s:%d", inet_ntop(AF_INET, &in->sin_addr, ip, sizeof ip), a->port);
    } else if (sa.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)&sa;

        a->port = ntohs(in->sin6_port);
        snprintf(a->text, sizeof a->text, "[%s]:%d", inet_ntop(AF_INET6, &in->sin6_addr, ip, sizeof ip), a->port);
    } else {
        snprintf(a->text, sizeof a->text, "unix:%s", ((const struct sockaddr_un *)&sa)->sun_path);
    }
}

static int sockets_wanted(const struct mg_snapshot *s, const struct mg_listener_conf *l)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);

    if (l->is_admin || l->sa.ss_family == AF_UNIX)
        return 1;
    return cpus > s->workers ? (int)cpus : s->workers;
}

static int open_one(struct mg_gateway *g, const struct mg_snapshot *s, size_t i, struct mg_list *opened, struct mg_error *err)
{
    const struct mg_listener_conf *l = &s->listeners[i];
    struct mg_bind_ask ask = { .sa = l->sa, .backlog = l->backlog > 0 ? l->backlog : 4096, .count = sockets_wanted(s, l) };
    struct mg_open_address *a;

    mg_address_key(s, i, ask.key);
    if (find_in(&g->addresses, ask.key))
        return 0;
    a = calloc(1, sizeof *a);
    if (!a)
        return mg_fail(err, MG_ENOMEM, "out of memory");
    a->is_admin = l->is_admin;
    a->is_tls = l->tls != NULL;
    snprintf(a->key, sizeof a->key, "%s", ask.key);
    snprintf(a->name, sizeof a->name, "%.*s", (int)l->name.n, l->name.p);
    a->fds_n = mg_binder_listen(g->binder, &ask, a->fds, MG_SOCKETS_MAX, err);
    if (a->fds_n <= 0) {
        int rc = a->fds_n < 0 ? a->fds_n : mg_fail(err, MG_EINVAL, "no socket for %s", ask.key);

        free(a);
        return rc;
    }
    describe(a);
    mg_list_push(opened, &a->node);
    return 0;
}

int mg_addresses_open(struct mg_gateway *g, const struct mg_snapshot *s, struct mg_list *opened, struct mg_error *err)
{
    for (size_t i = 0; i < s->listeners_n; i++) {
        int rc = open_one(g, s, i, opened, err);

        if (rc != 0)
            return rc;
    }
    return 0;
}

void mg_addresses_move(struct mg_list *to, struct mg_list *from)
{
    while (!mg_list_empty(from)) {
        struct mg_list *n = mg_list_first(from);

        mg_list_remove(n);
        mg_list_push(to, n);
    }
}

/* ---- giving up ---- */

static void drop(struct mg_gateway *g, struct mg_open_address *a)
{
    for (int i = 0; i < a->fds_n; i++)
        close(a->fds[i]);
    mg_binder_drop(g->binder, a->key);
    mg_list_remove(&a->node);
    free(a);
}

void mg_addresses_abandon(struct mg_gateway *g, struct mg_list *opened)
{
    mg_list_each(n, opened)
        drop(g, mg_container(n, struct mg_open_address, node));
}

void mg_addresses_drop(struct mg_gateway *g, bool admin_too)
{
    mg_list_each(n, &g->addresses) {
        struct mg_open_address *a = mg_container(n, struct mg_open_address, node);

        if (admin_too || !a->is_admin)
            drop(g, a);
    }
}

/* ---- coming into force ---- */

/* Is the socket one of this worker's? A Unix socket is one queue for all workers. */
static bool is_mine(const struct mg_thread *t, const struct mg_snapshot *s, const struct mg_listener_conf *conf, int number, int n)
{
    int w = t->worker.index;

    if (conf->is_admin)
        return true;
    if (w >= s->workers)
        return false; /* it leaves */
    if (conf->sa.ss_family == AF_UNIX)
        return true;
    return number % s->workers == w || (w >= n && w % n == number);
}

static void listen_here(struct mg_thread *t, const char *key, int number, const struct mg_listener_conf *conf, int fd)
{
    int mine = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    int rc = mine < 0 ? -errno : mg_listeners_open(&t->listeners, key, number, conf, mine);

    if (rc == 0)
        return;
    mg_log_text_c("listener", mg_str_c(key));
    mg_logf(MG_LOG_ERROR, "worker %d cannot listen: %s", t->worker.index, mg_error_name(rc));
}

static void take_share(struct mg_thread *t, const struct mg_snapshot *s, const struct mg_listener_conf *conf, struct mg_open_address *a)
{
    for (int i = 0; i < a->fds_n; i++) {
        bool has = mg_listeners_has(&t->listeners, a->key, i);
        bool mine = is_mine(t, s, conf, i, a->fds_n);

        if (mine && !has)
            listen_here(t, a->key, i, conf, a->fds[i]);
        else if (!mine && has)
            mg_listeners_release(&t->listeners, a->key, i);
    }
}

void mg_addresses_apply(struct mg_thread *t, struct mg_snapshot *s, struct mg_list *opened)
{
    char key[MG_SOCKET_KEY];

    for (size_t i = 0; i < s->listeners_n; i++) {
        const struct mg_listener_conf *conf = &s->listeners[i];
        struct mg_open_address *a;

        if (conf->is_admin != t->is_control)
            continue;
        mg_address_key(s, i, key);
        mg_listeners_rebind(&t->listeners, key, conf);
        a = find_in(opened, key);
        if (!a)
            a = find_in(&t->gateway->addresses, key);
        if (a)
            take_share(t, s, conf, a);
    }
}

/* ---- a worker that does not come back ---- */

struct adoption { size_t n; struct { char key[MG_SOCKET_KEY]; int number, fd; } sockets[MG_SOCKETS_MAX]; };

static void adopt_here(struct mg_worker *w, void *arg)
{
    struct mg_thread *t = mg_container(w, struct mg_thread, worker);
    struct adoption *a = arg;

    for (size_t i = 0; i < a->n; i++) {
        int conf = w->snapshot && !w->is_draining ? find_listener(w->snapshot, a->sockets[i].key) : -1;

        if (conf < 0 || mg_listeners_has(&t->listeners, a->sockets[i].key, a->sockets[i].number))
            close(a->sockets[i].fd);
        else
            (void)mg_listeners_open(&t->listeners, a->sockets[i].key, a->sockets[i].number, &w->snapshot->listeners[conf], a->sockets[i].fd);
    }
    free(a);
}

static void add_orphans(struct adoption *a, const struct mg_thread *from, const struct mg_snapshot *s, const struct mg_open_address *o)
{
    int conf = find_listener(s, o->key);

    for (int i = 0; conf >= 0 && i < o->fds_n && a->n < MG_SOCKETS_MAX; i++) {
        const struct mg_listener_conf *l = &s->listeners[conf];

        if (l->is_admin || l->sa.ss_family == AF_UNIX || !is_mine(from, s, l, i, o->fds_n))
            continue;
        snprintf(a->sockets[a->n].key, sizeof a->sockets[a->n].key, "%s", o->key);
        a->sockets[a->n].number = i;
        a->sockets[a->n].fd = fcntl(o->fds[i], F_DUPFD_CLOEXEC, 0);
        a->n += a->sockets[a->n].fd >= 0;
    }
}

bool mg_addresses_adopt(struct mg_gateway *g, const struct mg_thread *from, struct mg_thread *to)
{
    struct adoption *a = g->snapshot ? calloc(1, sizeof *a) : NULL;

    if (!a)
        return false;
    mg_list_each(n, &g->addresses)
        add_orphans(a, from, g->snapshot, mg_container(n, struct mg_open_address, node));
    mg_gateway_post(&to->worker, adopt_here, a);
    return true;
}

void mg_addresses_committed(struct mg_gateway *g, struct mg_list *opened)
{
    mg_list_each(n, opened) {
        struct mg_open_address *a = mg_container(n, struct mg_open_address, node);

        mg_log_text_c("address", mg_str_c(a->text));
        mg_logf(MG_LOG_INFO, a->is_admin ? "listening (admin)" : "listening");
    }
    mg_addresses_move(&g->addresses, opened);
    mg_list_each(n, &g->addresses) {
        struct mg_open_address *a = mg_container(n, struct mg_open_address, node);

        if (find_listener(g->snapshot, a->key) < 0)
            drop(g, a);
    }
}

/* ---- for those who started us ---- */

static int write_line(FILE *f, const struct mg_open_address *a)
{
    cJSON *o = cJSON_CreateObject();
    char *text = NULL;
    int rc = -ENOMEM;

    if (o && cJSON_AddStringToObject(o, "name", a->name) && cJSON_AddStringToObject(o, "configured", a->key) &&
        cJSON_AddStringToObject(o, "address", a->text) && cJSON_AddNumberToObject(o, "port", a->port) &&
        cJSON_AddBoolToObject(o, "admin", a->is_admin) && cJSON_AddBoolToObject(o, "tls", a->is_tls) &&
        (text = cJSON_PrintUnformatted(o)))
        rc = fprintf(f, "%s\n", text) < 0 ? -EIO : 0;
    free(text);
    cJSON_Delete(o);
    return rc;
}

/* Whole or not at all: whoever waits for the file may read it as soon as it is there. */
int mg_addresses_write(const struct mg_list *addresses, const char *path)
{
    char *temporary = NULL;
    FILE *f;
    int rc = 0;

    if (asprintf(&temporary, "%s.%d", path, (int)getpid()) < 0)
        return -ENOMEM;
    f = fopen(temporary, "we");
    if (!f) {
        rc = -errno;
        free(temporary);
        return rc;
    }
    mg_list_each(n, (struct mg_list *)(uintptr_t)addresses)
        if (rc == 0)
            rc = write_line(f, mg_container(n, struct mg_open_address, node));
    if (fclose(f) != 0 && rc == 0)
        rc = -errno;
    if (rc == 0 && rename(temporary, path) != 0)
        rc = -errno;
    if (rc != 0)
        unlink(temporary);
    free(temporary);
    return rc;
}
