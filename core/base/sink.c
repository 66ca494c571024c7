/* sink.c - the workers' side: lines gather in buffers of this thread, full ones go to the log thread.
 *
 *     worker: line -> this thread's buffer for the sink -> queue -> log thread: write(2)   (sink_thread.c)
 */
#include "base/sink.h"
#include "base/alloc.h"
#include "base/sink_private.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct mg_sinks mg_sinks = { .lock = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER };

/* Buffers that this thread is filling, one for each sink that it writes to. */
static _Thread_local struct mg_sink_buffer *mine;
static pthread_key_t thread_end;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void flush_at_thread_end(void *unused)
{
    (void)unused;
    mg_sink_flush_thread();
}

static void make_key(void) { pthread_key_create(&thread_end, flush_at_thread_end); }

/* ---- sinks by name ---- */

int mg_sink_open_file(const char *path)
{
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
}

void mg_sink_look_only(void)
{
    pthread_mutex_lock(&mg_sinks.lock);
    mg_sinks.look_only = true;
    pthread_mutex_unlock(&mg_sinks.lock);
}

void mg_sink_capture(void (*line)(const char *where, struct mg_str line, void *arg), void *arg)
{
    mg_sinks.captured = line;
    mg_sinks.captured_arg = arg;
}

/* Could it be opened? 0, or -1 with errno. path: absolute. */
static int look(const char *path)
{
    char folder[4096];
    const char *slash = strrchr(path, '/');
    struct stat st;

    if (stat(path, &st) == 0) {
        errno = EISDIR;
        return S_ISDIR(st.st_mode) ? -1 : access(path, W_OK);
    }
    if (errno != ENOENT)
        return -1;
    snprintf(folder, sizeof(folder), "%.*s", slash == path ? 1 : (int)(slash - path), path);
    return access(folder, W_OK | X_OK);
}

static struct mg_sink *find(struct mg_str where)
{
    for (struct mg_sink *s = mg_sinks.first; s; s = s->next) {
        if (mg_str_eq(mg_str_c(s->where), where))
            return s;
    }
    return NULL;
}

static int open_sink(struct mg_sink *s, struct mg_error *err)
{
    struct mg_str where = mg_str_c(s->where);

    if (mg_sinks.captured)
        return 0;
    if (mg_str_eq(where, MG_STR("stdout")))
        s->fd = STDOUT_FILENO;
    else if (mg_str_eq(where, MG_STR("stderr")))
        s->fd = STDERR_FILENO;
    else if (mg_str_eq(where, MG_STR("syslog")))
        s->is_syslog = true;
    else if (s->where[0] != '/')
        return mg_fail(err, MG_ECONF, "%s: expected \"stdout\", \"stderr\", \"syslog\" or an absolute path", s->where);
    else if (mg_sinks.look_only)
        return look(s->where) == 0 ? 0 : mg_fail(err, MG_ECONF, "%s: %s", s->where, strerror(errno));
    else if ((s->fd = mg_sink_open_file(s->where)) < 0)
        return mg_fail(err, MG_ECONF, "%s: %s", s->where, strerror(errno));
    else
        s->is_file = true;
    return 0;
}

static struct mg_sink *sink_new(struct mg_str where, struct mg_error *err)
{
    struct mg_sink *s = where.n < 4096 ? mg_calloc(1, sizeof(*s) + where.n + 1) : NULL;

    if (!s) {
        mg_fail(err, MG_ENOMEM, "sink: out of memory");
        return NULL;
    }
    memcpy(s->where, where.p, where.n);
    s->refs = 1;
    s->fd = -1;
    if (strlen(s->where) != where.n) {
        mg_fail(err, MG_ECONF, "a path cannot hold a NUL byte");
    } else if (open_sink(s, err) == 0) {
        s->next = mg_sinks.first;
        mg_sinks.first = s;
        return s;
    }
    mg_free(s);
    return NULL;
}

struct mg_sink *mg_sink_ref(struct mg_str where, struct mg_error *err)
{
    struct mg_sink *s;

    pthread_mutex_lock(&mg_sinks.lock);
    s = find(where);
    if (s)
        s->refs++;
    else
        s = sink_new(where, err);
    pthread_mutex_unlock(&mg_sinks.lock);
    return s;
}

void mg_sink_drop(struct mg_sink *s)
{
    struct mg_sink **p = &mg_sinks.first;

    if (--s->refs > 0)
        return;
    while (*p != s)
        p = &(*p)->next;
    *p = s->next;
    if (s->is_file)
        close(s->fd);
    mg_free(s);
}

void mg_sink_unref(struct mg_sink *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&mg_sinks.lock);
    mg_sink_drop(s);
    pthread_mutex_unlock(&mg_sinks.lock);
}

/* ---- buffers ---- */

static struct mg_sink_buffer *buffer_take(struct mg_sink *s, size_t n)
{
    struct mg_sink_buffer *b = NULL;
    size_t max = n > MG_SINK_BUFFER_BYTES ? n : MG_SINK_BUFFER_BYTES;

    pthread_mutex_lock(&mg_sinks.lock);
    if (max == MG_SINK_BUFFER_BYTES && mg_sinks.spare) {
        b = mg_sinks.spare;
        mg_sinks.spare = b->next;
        mg_sinks.spare_n--;
    }
    if (!b)
        b = mg_malloc(sizeof(*b) + max);
    if (b) {
        b->sink = s;
        b->n = 0;
        b->lines = 0;
        b->max = max;
        s->refs++; /* the sink outlives what waits for it */
    }
    pthread_mutex_unlock(&mg_sinks.lock);
    return b;
}

void mg_sink_buffer_give(struct mg_sink_buffer *b)
{
    mg_sink_drop(b->sink);
    if (b->max != MG_SINK_BUFFER_BYTES || mg_sinks.spare_n >= MG_SINK_SPARE_MAX) {
        mg_free(b);
        return;
    }
    b->next = mg_sinks.spare;
    mg_sinks.spare = b;
    mg_sinks.spare_n++;
}

/* Full or old: to the log thread, or away when it lags. Takes b. Returns false when its lines are lost. */
static bool hand_over(struct mg_sink_buffer *b)
{
    bool kept;

    pthread_mutex_lock(&mg_sinks.lock);
    kept = b->sink->queued_bytes < MG_SINK_LAG_BYTES && mg_sink_thread_start();
    if (kept) {
        b->next = NULL;
        b->sink->queued_bytes += b->n;
        *(mg_sinks.queue_last ? &mg_sinks.queue_last->next : &mg_sinks.queue) = b;
        mg_sinks.queue_last = b;
        if (b->sink->queued_bytes >= MG_SINK_LAG_BYTES)
            atomic_store(&b->sink->is_lagging, true);
        pthread_cond_signal(&mg_sinks.work);
    } else {
        atomic_fetch_add(&mg_sinks.dropped, b->lines);
        mg_sink_buffer_give(b);
    }
    pthread_mutex_unlock(&mg_sinks.lock);
    return kept;
}

static struct mg_sink_buffer **find_mine(struct mg_sink *s)
{
    struct mg_sink_buffer **p = &mine;

    while (*p && (*p)->sink != s)
        p = &(*p)->next;
    return p;
}

static int64_t coarse_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* This thread's buffer for s with room for n bytes; NULL when there is no memory. */
static struct mg_sink_buffer *buffer_for(struct mg_sink *s, size_t n)
{
    struct mg_sink_buffer **p = find_mine(s), *b = *p;

    if (b && n > b->max - b->n) {
        *p = b->next;
        hand_over(b);
        b = NULL;
    }
    if (b)
        return b;
    pthread_once(&once, make_key);
    pthread_setspecific(thread_end, &mg_sinks); /* any value but NULL: have the destructor called */
    b = buffer_take(s, n);
    if (!b)
        return NULL;
    b->born_ms = coarse_ms();
    b->next = mine;
    mine = b;
    return b;
}

int mg_sink_line(struct mg_sink *s, struct mg_str line)
{
    struct mg_sink_buffer *b;

    if (mg_sinks.captured) {
        mg_sinks.captured(s->where, line, mg_sinks.captured_arg);
        return 0;
    }
    if (atomic_load_explicit(&s->is_lagging, memory_order_relaxed)) {
        atomic_fetch_add(&mg_sinks.dropped, 1);
        return MG_EBUSY;
    }
    b = line.n < MG_SINK_LAG_BYTES ? buffer_for(s, line.n + 1) : NULL;
    if (!b) {
        atomic_fetch_add(&mg_sinks.dropped, 1);
        return MG_EBUSY;
    }
    if (line.n)
        memcpy(b->bytes + b->n, line.p, line.n);
    b->bytes[b->n + line.n] = '\n';
    b->n += line.n + 1;
    b->lines++;
    if (coarse_ms() - b->born_ms >= MG_SINK_AGE_MS) { /* threads that are no workers are not asked to flush */
        *find_mine(s) = b->next;
        hand_over(b);
    }
    return 0;
}

void mg_sink_flush_thread(void)
{
    struct mg_sink_buffer *b;

    while ((b = mine)) {
        mine = b->next;
        hand_over(b);
    }
}

uint64_t mg_sink_dropped(void) { return atomic_load(&mg_sinks.dropped); }
