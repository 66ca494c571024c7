#include "server/binder.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
#include "server/notify.h"

enum kind { ASK_LISTEN = 1, ASK_DROP, ASK_NOTE };

struct question {
    uint32_t kind;
    struct mg_word word;
    struct mg_bind_ask ask;
};
struct answer {
    int32_t rc; /* sockets sent, or an error */
    char message[256];
};

struct mg_binder {
    int fd;                   /* -1: local */
    struct mg_sockets *table; /* local */
    pthread_mutex_t lock;     /* a question and its answer */
};

static struct mg_binder *new_binder(int fd, struct mg_sockets *table)
{
    struct mg_binder *b = calloc(1, sizeof *b);

    if (!b)
        return NULL;
    b->fd = fd;
    b->table = table;
    pthread_mutex_init(&b->lock, NULL);
    return b;
}

struct mg_binder *mg_binder_local(void)
{
    struct mg_sockets *table = mg_sockets_new();
    struct mg_binder *b = table ? new_binder(-1, table) : NULL;

    if (!b)
        mg_sockets_free(table);
    return b;
}

struct mg_binder *mg_binder_remote(int fd)
{
    struct mg_binder *b = new_binder(fd, NULL);

    if (!b)
        close(fd);
    return b;
}

void mg_binder_free(struct mg_binder *b)
{
    if (!b)
        return;
    if (b->fd >= 0)
        close(b->fd);
    mg_sockets_free(b->table);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

/* ---- over the socket pair ---- */

union fd_control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(MG_SOCKETS_MAX * sizeof(int))];
};

static int send_message(int fd, const void *p, size_t n, const int *fds, int fds_n)
{
    union fd_control control;
    struct iovec iov = { .iov_base = (void *)(uintptr_t)p, .iov_len = n };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
    ssize_t rc;

    if (fds_n > 0) {
        size_t bytes = (size_t)fds_n * sizeof(int);

        memset(&control, 0, sizeof control);
        m.msg_control = control.bytes;
        m.msg_controllen = CMSG_SPACE(bytes);
        CMSG_FIRSTHDR(&m)->cmsg_level = SOL_SOCKET;
        CMSG_FIRSTHDR(&m)->cmsg_type = SCM_RIGHTS;
        CMSG_FIRSTHDR(&m)->cmsg_len = CMSG_LEN(bytes);
        memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), fds, bytes);
    }
    do
        rc = sendmsg(fd, &m, MSG_NOSIGNAL);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? -errno : 0;
}

/* Whole messages only (SOCK_SEQPACKET). *got: how many sockets came; -1 when some were lost for want of descriptors. */
static int receive_message(int fd, void *p, size_t n, int *fds, int *got)
{
    union fd_control control;
    struct iovec iov = { .iov_base = p, .iov_len = n };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control };
    ssize_t rc;

    *got = 0;
    do
        rc = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
    while (rc < 0 && errno == EINTR);
    if (rc < 0)
        return -errno;
    if (rc == 0)
        return -ECONNRESET;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
            *got = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
            memcpy(fds, CMSG_DATA(c), (size_t)*got * sizeof(int));
        }
    if ((size_t)rc != n || (m.msg_flags & MSG_CTRUNC)) {
        for (int i = 0; i < *got; i++)
            close(fds[i]);
        *got = -1;
    }
    return 0;
}

static int ask_supervisor(struct mg_binder *b, const struct question *q, int *fds, struct mg_error *err)
{
    struct answer a = { 0 };
    int got = 0, rc;

    pthread_mutex_lock(&b->lock);
    rc = send_message(b->fd, q, sizeof *q, NULL, 0);
    if (rc == 0)
        rc = receive_message(b->fd, &a, sizeof a, fds, &got);
    pthread_mutex_unlock(&b->lock);
    if (rc < 0)
        return mg_fail(err, rc, "the supervisor does not answer: %s", strerror(-rc));
    if (got < 0)
        return mg_fail(err, -EMFILE, "cannot take over the sockets of %s: too many open files", q->ask.key);
    if (a.rc < 0)
        return mg_fail(err, a.rc, "%.*s", (int)sizeof a.message, a.message);
    return got;
}

static void refuse(struct answer *a, const struct mg_error *err)
{
    a->rc = err->code ? err->code : -EINVAL;
    snprintf(a->message, sizeof a->message, "%s", err->message);
}

static int take_from(struct mg_sockets *table, bool is_leaving, const struct mg_bind_ask *ask, int *fds, struct mg_error *err)
{
    if (is_leaving)
        return mg_fail(err, -EBUSY, "cannot listen on %s: this process has a successor", ask->key);
    return mg_sockets_take(table, ask, fds, MG_SOCKETS_MAX, err);
}

int mg_binder_serve(int fd, struct mg_sockets *table, bool is_leaving, struct mg_word *word)
{
    struct question q;
    struct answer a = { 0 };
    struct mg_error err = { 0 };
    int fds[MG_SOCKETS_MAX], got, n = 0, rc;

    memset(word, 0, sizeof *word);
    rc = receive_message(fd, &q, sizeof q, fds, &got);
    if (rc < 0)
        return rc;
    if (got != 0)
        return -EPROTO;
    q.ask.key[MG_SOCKET_KEY - 1] = '\0';
    if (q.kind == ASK_LISTEN) {
        n = take_from(table, is_leaving, &q.ask, fds, &err);
        a.rc = n;
        if (n < 0)
            refuse(&a, &err);
    } else if (q.kind == ASK_DROP) {
        if (!is_leaving)
            mg_sockets_drop(table, q.ask.key);
    } else {
        *word = q.word;
    }
    rc = send_message(fd, &a, sizeof a, fds, n > 0 ? n : 0);
    if (rc != 0 && n > 0) { /* it waits for an answer */
        mg_fail(&err, rc, "cannot hand over the sockets of %s: %s", q.ask.key, strerror(-rc));
        refuse(&a, &err);
        rc = send_message(fd, &a, sizeof a, NULL, 0);
    }
    return rc;
}

/* ---- either way ---- */

static int take_local(struct mg_binder *b, const struct mg_bind_ask *ask, int *fds, int room, struct mg_error *err)
{
    int n;

    pthread_mutex_lock(&b->lock);
    n = mg_sockets_take(b->table, ask, fds, room, err);
    for (int i = 0; i < n; i++) {
        fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
        if (fds[i] < 0) {
            int rc = -errno;

            while (i-- > 0)
                close(fds[i]);
            n = mg_fail(err, rc, "cannot take over the sockets of %s: %s", ask->key, strerror(-rc));
        }
    }
    pthread_mutex_unlock(&b->lock);
    return n;
}

int mg_binder_listen(struct mg_binder *b, const struct mg_bind_ask *ask, int *fds, int room, struct mg_error *err)
{
    struct question q = { .kind = ASK_LISTEN, .ask = *ask };
    int all[MG_SOCKETS_MAX];
    int n;

    if (b->fd < 0)
        return take_local(b, ask, fds, room, err);
    n = ask_supervisor(b, &q, all, err);
    for (int i = 0; i < n; i++) {
        if (i < room)
            fds[i] = all[i];
        else
            close(all[i]);
    }
    return n < room ? n : room;
}

void mg_binder_drop(struct mg_binder *b, const char *key)
{
    struct question q = { .kind = ASK_DROP };
    int none[MG_SOCKETS_MAX];

    if (b->fd < 0) {
        pthread_mutex_lock(&b->lock);
        mg_sockets_drop(b->table, key);
        pthread_mutex_unlock(&b->lock);
        return;
    }
    snprintf(q.ask.key, sizeof q.ask.key, "%s", key);
    (void)ask_supervisor(b, &q, none, NULL);
}

void mg_binder_note(struct mg_binder *b, enum mg_note note)
{
    struct mg_word word = { .note = note };

    if (b->fd < 0)
        mg_notify(note);
    else
        mg_binder_tell(b, &word);
}

void mg_binder_tell(struct mg_binder *b, const struct mg_word *word)
{
    struct question q = { .kind = ASK_NOTE, .word = *word };
    int none[MG_SOCKETS_MAX];

    if (b->fd >= 0)
        (void)ask_supervisor(b, &q, none, NULL);
}
