/* sink_thread.c - the log thread: the only one that waits for a disk, a pipe or syslog. */
#include "base/log.h"
#include "base/alloc.h"
#include "base/sink_private.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <syslog.h>
#include <time.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t count_lines(const char *p, size_t n)
{
    uint64_t lines = 0;

    for (size_t i = 0; i < n; i++)
        lines += p[i] == '\n';
    return lines;
}

/* Says that a sink fails, and that it works again, once each. */
static void note_result(struct mg_sink *s, int error, uint64_t lost)
{
    if (error) {
        s->lost_lines += lost;
        atomic_fetch_add(&mg_sinks.dropped, lost);
        if (!s->is_failing)
            mg_logf(MG_LOG_ERROR, "access log: %s: %s; lines are being lost", s->where, strerror(error));
        s->is_failing = true;
    } else if (s->is_failing) {
        mg_logf(MG_LOG_WARN, "access log: %s can be written again; %llu lines were lost", s->where,
                (unsigned long long)s->lost_lines);
        s->is_failing = false;
        s->lost_lines = 0;
    }
}

static void write_fd(struct mg_sink *s, const char *p, size_t n)
{
    while (n) {
        ssize_t done = write(s->fd, p, n);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0 && errno == EAGAIN) { /* a terminal or pipe that someone made non-blocking */
            poll(&(struct pollfd){ .fd = s->fd, .events = POLLOUT }, 1, 1000);
            continue;
        }
        if (done <= 0) {
            note_result(s, done < 0 ? errno : ENOSPC, count_lines(p, n));
            return;
        }
        p += done;
        n -= (size_t)done;
    }
    note_result(s, 0, 0);
}

static void write_syslog(const char *p, size_t n)
{
    static bool is_open;

    if (!is_open)
        openlog("moongate", LOG_PID | LOG_NDELAY, LOG_DAEMON);
    is_open = true;
    while (n) {
        const char *end = memchr(p, '\n', n);
        size_t line = end ? (size_t)(end - p) : n;

        syslog(LOG_INFO, "%.*s", (int)line, p);
        line += end != NULL;
        p += line;
        n -= line;
    }
}

static void reopen(struct mg_sink *s)
{
    int fd = mg_sink_open_file(s->where);

    if (fd < 0) { /* better the old file than none */
        mg_logf(MG_LOG_ERROR, "access log: %s: %s; the old file is kept", s->where, strerror(errno));
        return;
    }
    close(s->fd);
    s->fd = fd;
}

/* Under the lock; opening is fast enough to keep it. */
static void reopen_marked(void)
{
    mg_sinks.wants_reopen = false;
    for (struct mg_sink *s = mg_sinks.first; s; s = s->next) {
        if (s->wants_reopen)
            reopen(s);
        s->wants_reopen = false;
    }
}

static void write_next(void)
{
    struct mg_sink_buffer *b = mg_sinks.queue;
    struct mg_sink *s = b->sink;

    mg_sinks.queue = b->next;
    if (!b->next)
        mg_sinks.queue_last = NULL;
    atomic_store(&s->is_lagging, s->queued_bytes >= MG_SINK_LAG_BYTES);
    pthread_mutex_unlock(&mg_sinks.lock); /* the buffer's reference keeps the sink, only this thread uses its fd */
    if (s->is_syslog)
        write_syslog(b->bytes, b->n);
    else
        write_fd(s, b->bytes, b->n);
    pthread_mutex_lock(&mg_sinks.lock);
    s->queued_bytes -= b->n;
    atomic_store(&s->is_lagging, s->queued_bytes >= MG_SINK_LAG_BYTES);
    mg_sink_buffer_give(b);
}

static void *run(void *unused)
{
    (void)unused;
    pthread_setname_np(pthread_self(), "moongate-log");
    pthread_mutex_lock(&mg_sinks.lock);
    for (;;) {
        if (mg_sinks.wants_reopen)
            reopen_marked();
        else if (mg_sinks.queue)
            write_next();
        else if (mg_sinks.is_stopping)
            break;
        else
            pthread_cond_wait(&mg_sinks.work, &mg_sinks.lock);
    }
    pthread_mutex_unlock(&mg_sinks.lock);
    return NULL;
}

bool mg_sink_thread_start(void)
{
    sigset_t all, before;

    if (mg_sinks.has_thread || mg_sinks.is_stopping)
        return mg_sinks.has_thread;
    sigfillset(&all); /* signals are for the main thread */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    mg_sinks.has_thread = pthread_create(&mg_sinks.thread, NULL, run, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return mg_sinks.has_thread;
}

void mg_sink_reopen_all(void)
{
    pthread_mutex_lock(&mg_sinks.lock);
    for (struct mg_sink *s = mg_sinks.first; s; s = s->next) {
        s->wants_reopen = s->is_file;
        mg_sinks.wants_reopen |= s->is_file;
    }
    if (!mg_sink_thread_start())
        reopen_marked();
    pthread_cond_signal(&mg_sinks.work);
    pthread_mutex_unlock(&mg_sinks.lock);
}

void mg_sink_give_all(uid_t user, gid_t group)
{
    struct stat st;

    pthread_mutex_lock(&mg_sinks.lock);
    for (struct mg_sink *s = mg_sinks.first; s; s = s->next)
        if (s->is_file && fstat(s->fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
            fchown(s->fd, user, group) != 0)
            mg_logf(MG_LOG_WARN, "access log: %s: cannot give it to the config's user: %s", s->where, strerror(errno));
    pthread_mutex_unlock(&mg_sinks.lock);
}

/* A pipe that nobody reads must not keep the process from ending. */
static bool join_within(int seconds)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += seconds;
    return pthread_timedjoin_np(mg_sinks.thread, NULL, &until) == 0;
}

void mg_sink_shutdown(void)
{
    struct mg_sink_buffer *b;
    bool has_thread;

    mg_sink_flush_thread();
    pthread_mutex_lock(&mg_sinks.lock);
    has_thread = mg_sinks.has_thread;
    mg_sinks.is_stopping = true;
    pthread_cond_signal(&mg_sinks.work);
    pthread_mutex_unlock(&mg_sinks.lock);
    if (has_thread && !join_within(MG_SINK_END_S)) {
        mg_logf(MG_LOG_ERROR, "access log: the log thread is stuck in a write; what it holds is lost");
        return;
    }
    pthread_mutex_lock(&mg_sinks.lock);
    mg_sinks.has_thread = mg_sinks.is_stopping = false; /* a later line starts it anew */
    while ((b = mg_sinks.spare)) {
        mg_sinks.spare = b->next;
        mg_free(b);
    }
    mg_sinks.spare_n = 0;
    pthread_mutex_unlock(&mg_sinks.lock);
}
