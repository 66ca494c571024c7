#include "server/listeners.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "base/log.h"
#include "proxy/proxy.h"
#include "server/sockets.h"

enum { PRESSURE_MS = 20, CLOSE_MS = 10, CLOSE_TURNS = 2, QUIET_MS = 10000 };

struct mg_listening {
    struct mg_list node;
    union { uv_tcp_t tcp; uv_pipe_t pipe; uv_stream_t uv; uv_handle_t handle; } h;
    struct mg_listeners *set;
    const struct mg_listener_conf *conf;
    bool is_held;    /* a connection was accepted by libuv and waits in the handle */
    bool is_closing;
    int turns;       /* of the loop until it is closed */
    int number;      /* of the address's sockets */
    char key[MG_SOCKET_KEY];
};

/* ---- file descriptors run short ---- */

/* Is the lowest free descriptor within the reserve? Asked only when there are enough connections for it to be possible:
 * each has at most an upstream connection beside it. */
static bool is_short_of_fds(struct mg_listeners *l)
{
    struct mg_worker *w = l->worker;
    uint64_t open = atomic_load_explicit(&w->connections_open, memory_order_relaxed);
    int workers = w->snapshot ? w->snapshot->workers : 1;
    int fd;

    if (!l->under_pressure && (2 * open + 64) * (uint64_t)workers < (uint64_t)l->fd_limit / 2)
        return false;
    fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return errno == EMFILE || errno == ENFILE;
    close(fd);
    return fd >= l->fd_limit - l->fd_reserve;
}

static void on_pressure(uv_timer_t *timer);

static void begin_pressure(struct mg_listeners *l)
{
    if (l->under_pressure)
        return;
    l->under_pressure = true;
    uv_timer_start(&l->pressure, on_pressure, PRESSURE_MS, PRESSURE_MS);
    if (l->pressure_logged && mg_loop_now_ms(&l->worker->loop) - l->pressure_since_ms < QUIET_MS)
        return;
    l->pressure_logged = true;
    l->pressure_since_ms = mg_loop_now_ms(&l->worker->loop);
    mg_log_number_c("limit", l->fd_limit);
    mg_logf(MG_LOG_WARN, "file descriptors or memory run short: new connections wait until there are some");
}

/* libuv has accepted one already and stops polling while nobody takes it. The proxy leaves it there when it has no
 * memory for a connection. */
static void hand_over(struct mg_listening *s)
{
    s->is_held = false;
    mg_client_accept(s->set->worker, &s->h.uv, s->conf);
    if (s->h.uv.accepted_fd >= 0) {
        s->is_held = true;
        begin_pressure(s->set);
    }
}

static void on_pressure(uv_timer_t *timer)
{
    struct mg_listeners *l = timer->data;

    mg_list_each(n, &l->all) {
        struct mg_listening *s = mg_container(n, struct mg_listening, node);

        if (is_short_of_fds(l))
            return;
        if (s->is_held && !s->is_closing)
            hand_over(s);
    }
    l->under_pressure = false;
    uv_timer_stop(&l->pressure);
    mg_logf(MG_LOG_INFO, "accepting connections again");
}

/* ---- accepting ---- */

/* libuv goes on accepting after an error; one that stays (ENOMEM, ENOBUFS) would hold the worker. */
static void accept_failed(struct mg_listening *s, int status)
{
    struct timespec pause = { .tv_nsec = 1000000 };

    mg_log_text_c("listener", mg_str_c(s->key));
    mg_logf(MG_LOG_ERROR, "cannot accept: %s", uv_strerror(status));
    nanosleep(&pause, NULL);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct mg_listening *s = listener->data;

    if (status < 0) {
        accept_failed(s, status);
        return;
    }
    if (!s->is_closing && is_short_of_fds(s->set)) {
        s->is_held = true;
        begin_pressure(s->set);
        return;
    }
    hand_over(s);
}

/* ---- opening ---- */

static void free_listening(uv_handle_t *h)
{
    free(h->data);
}

static void close_listening(struct mg_listening *s)
{
    mg_list_remove(&s->node);
    uv_close(&s->h.handle, free_listening);
}

static int open_handle(struct mg_listening *s, uv_loop_t *loop, bool is_unix, int fd)
{
    int rc = is_unix ? uv_pipe_init(loop, &s->h.pipe, 0) : uv_tcp_init(loop, &s->h.tcp);

    if (rc != 0) {
        close(fd);
        free(s);
        return rc;
    }
    s->h.handle.data = s;
    mg_list_push(&s->set->all, &s->node);
    rc = is_unix ? uv_pipe_open(&s->h.pipe, fd) : uv_tcp_open(&s->h.tcp, fd);
    if (rc != 0) {
        close(fd);
    } else {
        /* By default libuv sleeps a nanosecond after each accept, so that other processes get some: ours share by
         * SO_REUSEPORT. */
        if (!is_unix)
            uv_tcp_simultaneous_accepts(&s->h.tcp, 1);
        rc = uv_listen(&s->h.uv, s->conf->backlog > 0 ? s->conf->backlog : 4096, on_connection);
    }
    if (rc != 0)
        close_listening(s);
    return rc;
}

int mg_listeners_open(struct mg_listeners *l, const char *key, int number, const struct mg_listener_conf *conf, int fd)
{
    struct mg_listening *s = calloc(1, sizeof *s);

    if (!s) {
        close(fd);
        return UV_ENOMEM;
    }
    s->set = l;
    s->conf = conf;
    s->number = number;
    snprintf(s->key, sizeof s->key, "%s", key);
    return open_handle(s, &l->worker->loop.uv, conf->sa.ss_family == AF_UNIX, fd);
}

static struct mg_listening *find(const struct mg_listeners *l, const char *key, int number)
{
    mg_list_each(n, (struct mg_list *)(uintptr_t)&l->all) {
        struct mg_listening *s = mg_container(n, struct mg_listening, node);

        if (!s->is_closing && s->number == number && strcmp(s->key, key) == 0)
            return s;
    }
    return NULL;
}

bool mg_listeners_has(const struct mg_listeners *l, const char *key, int number)
{
    return find(l, key, number) != NULL;
}

void mg_listeners_rebind(struct mg_listeners *l, const char *key, const struct mg_listener_conf *conf)
{
    mg_list_each(n, &l->all) {
        struct mg_listening *s = mg_container(n, struct mg_listening, node);

        if (strcmp(s->key, key) == 0)
            s->conf = conf;
    }
}

/* ---- closing ---- */

static void begin_closing(struct mg_listening *s)
{
    s->is_closing = true;
    s->turns = CLOSE_TURNS;
    s->set->closing_n++;
    if (s->is_held)
        hand_over(s);
}

void mg_listeners_release(struct mg_listeners *l, const char *key, int number)
{
    struct mg_listening *s = find(l, key, number);

    if (s)
        begin_closing(s);
}

void mg_listeners_release_all(struct mg_listeners *l)
{
    mg_list_each(n, &l->all) {
        struct mg_listening *s = mg_container(n, struct mg_listening, node);

        if (!s->is_closing)
            begin_closing(s);
    }
}

/* A closed listening socket resets the connections in its queue. So no more handshakes are let in (a filter that
 * drops every segment for the socket), the queue is taken in the loop's next turns, and then it is closed. */
static void shut_door(struct mg_listening *s)
{
    struct sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
    struct sock_fprog program = { .len = 1, .filter = &drop };
    uv_os_fd_t fd;

    if (s->h.handle.type == UV_TCP && uv_fileno(&s->h.handle, &fd) == 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
    begin_closing(s);
}

static void on_closer(uv_timer_t *timer)
{
    struct mg_listeners *l = timer->data;

    mg_list_each(n, &l->all) {
        struct mg_listening *s = mg_container(n, struct mg_listening, node);

        if (!s->is_closing || --s->turns > 0)
            continue;
        close_listening(s);
        l->closing_n--;
    }
    if (l->closing_n > 0)
        return;
    uv_timer_stop(timer);
    if (l->on_closed) {
        void (*done)(struct mg_listeners *, void *) = l->on_closed;

        l->on_closed = NULL;
        done(l, l->on_closed_arg);
    }
}

void mg_listeners_close(struct mg_listeners *l, bool (*keep)(const char *key, void *arg), void *arg,
                        void (*done)(struct mg_listeners *l, void *arg), void *done_arg)
{
    mg_list_each(n, &l->all) {
        struct mg_listening *s = mg_container(n, struct mg_listening, node);

        if (!s->is_closing && !(keep && keep(s->key, arg)))
            shut_door(s);
    }
    l->on_closed = done;
    l->on_closed_arg = done_arg;
    uv_timer_start(&l->closer, on_closer, l->closing_n > 0 ? CLOSE_MS : 0, CLOSE_MS);
}

int mg_listeners_init(struct mg_listeners *l, struct mg_worker *w)
{
    struct rlimit limit = { .rlim_cur = 1024 };

    memset(l, 0, sizeof *l);
    mg_list_init(&l->all);
    l->worker = w;
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    l->fd_limit = limit.rlim_cur > INT32_MAX ? INT32_MAX : (int)limit.rlim_cur;
    l->fd_reserve = l->fd_limit / 8 < 64 ? l->fd_limit / 8 : 64;
    uv_timer_init(&w->loop.uv, &l->pressure);
    l->pressure.data = l;
    uv_timer_init(&w->loop.uv, &l->closer);
    l->closer.data = l;
    return 0;
}

void mg_listeners_deinit(struct mg_listeners *l)
{
    mg_list_each(n, &l->all)
        close_listening(mg_container(n, struct mg_listening, node));
    uv_close((uv_handle_t *)&l->pressure, NULL);
    uv_close((uv_handle_t *)&l->closer, NULL);
}
