/* job.c - which exchanges are recorded, and their documents until somebody takes them. */
#include "record/parts.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "pdk/random.h"

enum { TAKE_BYTES = 1 << 20 };

static struct mg_record_job *running; /* the control thread's */

void mg_record_job_unref(struct mg_record_job *job)
{
    if (!job || atomic_fetch_sub(&job->refs, 1) != 1)
        return;
    uv_mutex_destroy(&job->lock);
    mg_free(job->lines);
    mg_free((void *)(uintptr_t)job->conf.secret);
    mg_free(job->texts);
    mg_free(job);
}

static void forget_lines(struct mg_record_job *job)
{
    mg_free(job->lines);
    job->lines = NULL;
    job->lines_n = job->lines_room = 0;
}

/* Has nobody taken its documents for long? Then it has ended, and they go. */
static bool is_abandoned(struct mg_record_job *job)
{
    bool yes;

    uv_mutex_lock(&job->lock);
    yes = mg_clock_monotonic_us() / 1000 - job->taken_ms > MG_RECORD_IDLE_MS;
    if (yes) {
        job->is_abandoned = true;
        atomic_store(&job->has_ended, true);
        forget_lines(job);
    }
    uv_mutex_unlock(&job->lock);
    return yes;
}

/* ---- beginning and ending ---- */

static struct mg_str keep(char **at, struct mg_str s)
{
    struct mg_str copy = { *at, s.n };

    if (s.n)
        memcpy(*at, s.p, s.n);
    *at += s.n;
    return copy;
}

static bool copy_conf(struct mg_record_job *job, const struct mg_record_conf *conf)
{
    size_t n = conf->route.n + conf->host.n + conf->method.n + conf->path.n + 1;
    struct mg_str *secret;
    char *at;

    for (size_t i = 0; i < conf->secret_n; i++)
        n += conf->secret[i].n;
    job->conf = *conf;
    job->texts = at = mg_malloc(n);
    job->conf.secret = secret = mg_calloc(conf->secret_n + 1, sizeof *secret);
    if (!at || !secret)
        return false;
    job->conf.route = keep(&at, conf->route);
    job->conf.host = keep(&at, conf->host);
    job->conf.method = keep(&at, conf->method);
    job->conf.path = keep(&at, conf->path);
    for (size_t i = 0; i < conf->secret_n; i++)
        secret[i] = keep(&at, conf->secret[i]);
    return true;
}

static struct mg_record_job *job_new(const struct mg_record_conf *conf)
{
    struct mg_record_job *job = mg_calloc(1, sizeof *job);

    if (!job)
        return NULL;
    if (uv_mutex_init(&job->lock) != 0) {
        mg_free(job);
        return NULL;
    }
    atomic_init(&job->refs, 1);
    atomic_init(&job->left, conf->count > 0 ? conf->count : INT64_MAX);
    job->taken_ms = mg_clock_monotonic_us() / 1000;
    if (!copy_conf(job, conf) || mg_random_bytes(job->key, sizeof job->key) != 0) {
        mg_record_job_unref(job);
        return NULL;
    }
    return job;
}

static void leave(struct mg_worker *w)
{
    mg_record_job_unref(w->record);
    w->record = NULL;
}

static void enter_here(struct mg_worker *w, void *arg)
{
    leave(w);
    w->record = arg;
}

void mg_record_leave(struct mg_worker *w)
{
    leave(w);
}

void mg_record_tell(struct mg_worker *w)
{
    if (!running)
        return;
    atomic_fetch_add(&running->refs, 1);
    if (mg_worker_post(w, enter_here, running) != 0) {
        mg_record_job_unref(running);
        mg_logf(MG_LOG_WARN, "recording: no memory to tell a worker of it");
    }
}

/* The process's part goes. Workers let go as they see that it has ended. */
static void close_running(void)
{
    struct mg_record_job *job = running;

    running = NULL;
    atomic_store(&job->has_ended, true);
    uv_mutex_lock(&job->lock);
    forget_lines(job);
    mg_logf(MG_LOG_INFO, "recording ends: %llu exchanges, %llu dropped", (unsigned long long)job->recorded, (unsigned long long)job->dropped);
    uv_mutex_unlock(&job->lock);
    mg_record_job_unref(job);
}

struct mg_record_job *mg_record_start(const struct mg_record_conf *conf, struct mg_worker *const *workers, int workers_n, struct mg_error *err)
{
    if (running && is_abandoned(running))
        close_running();
    if (running) {
        mg_fail(err, MG_EBUSY, "another recording is under way");
        return NULL;
    }
    if (!(conf->sample > 0 && conf->sample <= 1) || conf->body_max < 0) {
        mg_fail(err, MG_EINVAL, "sample: more than 0, at most 1");
        return NULL;
    }
    running = job_new(conf);
    if (!running) {
        mg_fail(err, MG_ENOMEM, "out of memory");
        return NULL;
    }
    for (int i = 0; i < workers_n; i++)
        mg_record_tell(workers[i]);
    mg_logf(MG_LOG_INFO, "recording begins");
    return running;
}

void mg_record_stop(void)
{
    if (running)
        atomic_store(&running->has_ended, true);
}

/* Whole lines, at most TAKE_BYTES unless the first is longer. */
static size_t cut(const struct mg_record_job *job)
{
    size_t n = job->lines_n;
    const char *end;

    if (n <= TAKE_BYTES)
        return n;
    end = memrchr(job->lines, '\n', TAKE_BYTES);
    if (!end)
        end = memchr(job->lines, '\n', n);
    return (size_t)(end - job->lines) + 1;
}

bool mg_record_take(struct mg_str *out, bool *more, uint64_t *recorded, uint64_t *dropped)
{
    struct mg_record_job *job = running;
    bool over = false;
    size_t n;
    char *p;

    *out = mg_str(NULL, 0);
    if (!job)
        return false;
    uv_mutex_lock(&job->lock);
    job->taken_ms = mg_clock_monotonic_us() / 1000;
    n = cut(job);
    p = n ? mg_malloc(n) : NULL;
    if (p) {
        memcpy(p, job->lines, n);
        memmove(job->lines, job->lines + n, job->lines_n - n);
        job->lines_n -= n;
        *out = mg_str(p, n);
    }
    over = job->lines_n == 0 && (atomic_load(&job->left) <= 0 || job->is_abandoned || (job->under_way == 0 && atomic_load(&job->has_ended)));
    *recorded = job->recorded;
    *dropped = job->dropped;
    uv_mutex_unlock(&job->lock);
    *more = !over;
    if (over)
        close_running();
    return true;
}

/* ---- workers ---- */

bool mg_record_job_wants(struct mg_record_job *job, const struct mg_exchange *x)
{
    const struct mg_record_conf *c = &job->conf;

    if (c->method.n && !mg_str_eq(c->method, x->req->method_text))
        return false;
    if (c->host.n && !mg_str_ieq(c->host, x->host))
        return false;
    if (c->path.n && !mg_str_starts(x->path, c->path))
        return false;
    if (c->sample < 1 && mg_random() >= c->sample)
        return false;
    if (atomic_load(&job->has_ended) || atomic_load(&job->left) <= 0)
        return false;
    if (is_abandoned(job))
        return false;
    uv_mutex_lock(&job->lock);
    job->under_way++;
    uv_mutex_unlock(&job->lock);
    atomic_fetch_add(&job->refs, 1);
    return true;
}

bool mg_record_job_keeps(const struct mg_record_job *job, const struct mg_exchange *x)
{
    const struct mg_record_conf *c = &job->conf;
    int status = x->res ? x->res->status : 0;

    if (c->route.n && !(x->route && mg_str_eq(c->route, x->route->id)))
        return false;
    return !c->status_from || (status >= c->status_from && status <= c->status_to);
}

static bool room_for(struct mg_record_job *job, size_t n)
{
    size_t room = job->lines_room ? job->lines_room : 65536;
    char *p;

    if (job->is_abandoned || n > MG_RECORD_HELD || job->lines_n > MG_RECORD_HELD - n)
        return false;
    while (room < job->lines_n + n)
        room *= 2;
    if (room == job->lines_room)
        return true;
    p = mg_realloc(job->lines, room);
    if (!p)
        return false;
    job->lines = p;
    job->lines_room = room;
    return true;
}

void mg_record_job_add(struct mg_record_job *job, const char *line, size_t n)
{
    uv_mutex_lock(&job->lock);
    job->under_way--;
    if (line && atomic_fetch_sub(&job->left, 1) > 0) {
        if (room_for(job, n + 1)) {
            memcpy(job->lines + job->lines_n, line, n);
            job->lines[job->lines_n + n] = '\n';
            job->lines_n += n + 1;
            job->recorded++;
        } else {
            job->dropped++;
        }
    }
    uv_mutex_unlock(&job->lock);
}
