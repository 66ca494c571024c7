#include "server/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/list.h"

struct address {
    struct mg_list node;
    char key[MG_SOCKET_KEY];
    struct sockaddr_storage sa; /* with the real port */
    int fds[MG_SOCKETS_MAX];
    int n;
    bool is_wanted;             /* by the gateway process of now */
    dev_t dev;                  /* of a Unix socket's file, so that only our own is removed */
    ino_t ino;
};

struct mg_sockets {
    struct mg_list addresses;
};

static socklen_t sa_length(const struct sockaddr_storage *sa)
{
    if (sa->ss_family == AF_INET)
        return sizeof(struct sockaddr_in);
    if (sa->ss_family == AF_INET6)
        return sizeof(struct sockaddr_in6);
    return sizeof(struct sockaddr_un);
}

static int port_of(const struct sockaddr_storage *sa)
{
    if (sa->ss_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)sa)->sin_port);
    if (sa->ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)sa)->sin6_port);
    return -1;
}

static bool is_unix(const struct sockaddr_storage *sa) { return sa->ss_family == AF_UNIX; }

static const char *unix_path(const struct sockaddr_storage *sa)
{
    return ((const struct sockaddr_un *)sa)->sun_path;
}

struct mg_sockets *mg_sockets_new(void)
{
    struct mg_sockets *t = calloc(1, sizeof *t);

    if (t)
        mg_list_init(&t->addresses);
    return t;
}

/* Only the file that we made: another process may have put its own there since. */
static void remove_file(const struct address *a)
{
    struct stat st;

    if (is_unix(&a->sa) && a->ino && stat(unix_path(&a->sa), &st) == 0 && st.st_dev == a->dev && st.st_ino == a->ino)
        unlink(unix_path(&a->sa));
}

static void close_address(struct address *a)
{
    for (int i = 0; i < a->n; i++)
        close(a->fds[i]);
    mg_list_remove(&a->node);
    free(a);
}

void mg_sockets_forget(struct mg_sockets *t)
{
    if (!t)
        return;
    mg_list_each(n, &t->addresses)
        close_address(mg_container(n, struct address, node));
    free(t);
}

void mg_sockets_free(struct mg_sockets *t)
{
    if (!t)
        return;
    mg_list_each(n, &t->addresses)
        remove_file(mg_container(n, struct address, node));
    mg_sockets_forget(t);
}

static struct address *find(struct mg_sockets *t, const char *key)
{
    mg_list_each(n, &t->addresses) {
        struct address *a = mg_container(n, struct address, node);

        if (strcmp(a->key, key) == 0)
            return a;
    }
    return NULL;
}

void mg_sockets_drop(struct mg_sockets *t, const char *key)
{
    struct address *a = find(t, key);

    if (!a)
        return;
    remove_file(a);
    close_address(a);
}

void mg_sockets_mark(struct mg_sockets *t)
{
    mg_list_each(n, &t->addresses)
        mg_container(n, struct address, node)->is_wanted = false;
}

void mg_sockets_sweep(struct mg_sockets *t)
{
    mg_list_each(n, &t->addresses) {
        struct address *a = mg_container(n, struct address, node);

        if (a->is_wanted)
            continue;
        remove_file(a);
        close_address(a);
    }
}

static bool holds_port(struct mg_sockets *t, int port)
{
    mg_list_each(n, &t->addresses)
        if (port_of(&mg_container(n, struct address, node)->sa) == port)
            return true;
    return false;
}

static int open_socket(const struct sockaddr_storage *sa, bool reuse_port)
{
    int one = 1;
    int fd = socket(sa->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -errno;
    if (!is_unix(sa)) {
        /* Accepted sockets inherit TCP_NODELAY, which saves a call for each connection. */
        if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0 ||
            (reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) != 0) ||
            (sa->ss_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one) != 0))
            goto fail;
    }
    if (bind(fd, (const struct sockaddr *)sa, sa_length(sa)) != 0)
        goto fail;
    return fd;
fail:;
    int rc = -errno;

    close(fd);
    return rc;
}

static int fail_bind(struct mg_error *err, int rc, const char *key)
{
    return mg_fail(err, rc, "cannot listen on %s: %s", key, strerror(-rc));
}

/* A foreign listener with SO_REUSEPORT (of the same user) would share its connections with us unnoticed. Without
 * the option the bind fails when anybody is there. Our own sockets on that port make the probe useless. */
static int probe(struct mg_sockets *t, const struct mg_bind_ask *ask, struct mg_error *err)
{
    int fd;

    if (port_of(&ask->sa) == 0 || holds_port(t, port_of(&ask->sa)))
        return 0;
    fd = open_socket(&ask->sa, false);
    if (fd < 0)
        return fail_bind(err, fd, ask->key);
    close(fd);
    return 0;
}

/* A file is left over when nobody answers behind it. */
static int remove_stale(const struct sockaddr_storage *sa, const char *key, struct mg_error *err)
{
    struct stat st;
    int fd, rc;

    if (lstat(unix_path(sa), &st) != 0)
        return 0;
    if (!S_ISSOCK(st.st_mode))
        return mg_fail(err, -EADDRINUSE, "cannot listen on %s: the file exists and is no socket", key);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail_bind(err, -errno, key);
    rc = connect(fd, (const struct sockaddr *)sa, sizeof(struct sockaddr_un)) == 0 ? 0 : errno;
    close(fd);
    if (rc != ECONNREFUSED && rc != ENOENT)
        return mg_fail(err, -EADDRINUSE, "cannot listen on %s: another process answers there", key);
    if (unlink(unix_path(sa)) != 0 && errno != ENOENT)
        return mg_fail(err, -errno, "cannot remove the stale socket %s: %s", key, strerror(errno));
    return 0;
}

static int add_socket(struct address *a, const struct mg_bind_ask *ask, struct mg_error *err)
{
    socklen_t n = sizeof a->sa;
    struct stat st;
    int fd = open_socket(&a->sa, true);

    if (fd < 0)
        return fail_bind(err, fd, ask->key);
    if (listen(fd, ask->backlog) != 0) {
        int rc = -errno;

        close(fd);
        return fail_bind(err, rc, ask->key);
    }
    if (a->n == 0 && !is_unix(&a->sa))
        (void)getsockname(fd, (struct sockaddr *)&a->sa, &n);
    if (is_unix(&a->sa) && stat(unix_path(&a->sa), &st) == 0) {
        a->dev = st.st_dev;
        a->ino = st.st_ino;
    }
    a->fds[a->n++] = fd;
    return 0;
}

static struct address *add_address(struct mg_sockets *t, const struct mg_bind_ask *ask, struct mg_error *err)
{
    struct address *a;

    if ((is_unix(&ask->sa) ? remove_stale(&ask->sa, ask->key, err) : probe(t, ask, err)) != 0)
        return NULL;
    a = calloc(1, sizeof *a);
    if (!a) {
        mg_fail(err, MG_ENOMEM, "cannot listen on %s: out of memory", ask->key);
        return NULL;
    }
    snprintf(a->key, sizeof a->key, "%s", ask->key);
    a->sa = ask->sa;
    mg_list_push(&t->addresses, &a->node);
    return a;
}

int mg_sockets_take(struct mg_sockets *t, const struct mg_bind_ask *ask, int *fds, int room, struct mg_error *err)
{
    struct address *a = find(t, ask->key);
    int want = is_unix(&ask->sa) || ask->count < 1 ? 1 : ask->count > MG_SOCKETS_MAX ? MG_SOCKETS_MAX : ask->count;
    int n;

    if (!a && !(a = add_address(t, ask, err)))
        return err && err->code ? err->code : -EADDRINUSE;
    a->is_wanted = true;
    while (a->n < want) {
        int rc = add_socket(a, ask, err);

        if (rc != 0) {
            if (a->n == 0)
                close_address(a);
            return rc;
        }
    }
    n = a->n < room ? a->n : room;
    memcpy(fds, a->fds, (size_t)n * sizeof *fds);
    return n;
}
