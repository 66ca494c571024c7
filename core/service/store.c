#include "service/store.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "service/store_parts.h"

enum { BATCH = 256, PURGE_S = 60, TELL_S = 10 };

struct mg_store {
    struct mg_store *next;         /* in the list of open ones */
    int refs;
    char *path;                    /* NULL: in memory */
    struct mg_store_db db;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct mg_list queue;
    int queued_n;
    size_t queued_bytes;
    bool is_ending;
    int64_t told_us;               /* when the log was last told of trouble */
};

const char mg_store_kind;

static pthread_mutex_t open_lock = PTHREAD_MUTEX_INITIALIZER;
static struct mg_store *open_stores;

/* ---- jobs ---- */

static void job_free(struct mg_brought *b)
{
    struct mg_store_job *job = mg_container(b, struct mg_store_job, brought);

    mg_free(job->rows);
    mg_free(job->memory);
    mg_free(job);
}

static struct mg_str copy_into(char **at, struct mg_str s)
{
    char *p = *at;

    if (s.n)
        memcpy(p, s.p, s.n);
    *at += s.n;
    return mg_str(p, s.n);
}

struct mg_store_job *mg_store_job_new(const struct mg_store_job *like)
{
    size_t n = like->space.n + like->key.n + like->after.n + like->value.text.n + like->expected.text.n;
    struct mg_store_job *job = mg_malloc(sizeof *job + n);
    char *at;

    if (!job)
        return NULL;
    *job = *like;
    job->brought = (struct mg_brought){ .kind = &mg_store_kind, .op = like->brought.op, .free = job_free };
    mg_list_init(&job->node);
    job->got = (struct mg_datum){ .kind = MG_NIL };
    job->rows = NULL;
    job->memory = NULL;
    job->rows_n = 0;
    job->memory_n = job->memory_room = 0;
    job->bytes = sizeof *job + n;
    at = job->text;
    job->space = copy_into(&at, like->space);
    job->key = copy_into(&at, like->key);
    job->after = copy_into(&at, like->after);
    job->value.text = copy_into(&at, like->value.text);
    job->expected.text = copy_into(&at, like->expected.text);
    if (job->what == MG_STORE_LIST) {
        job->rows = mg_calloc((size_t)job->limit, sizeof *job->rows);
        if (!job->rows) {
            mg_free(job);
            return NULL;
        }
    }
    return job;
}

bool mg_store_keep(struct mg_store_job *job, const void *p, size_t n)
{
    if (job->memory_n + n > job->memory_room) {
        size_t room = (job->memory_n + n) * 2 + 64;
        char *memory = mg_realloc(job->memory, room);

        if (!memory)
            return false;
        job->memory = memory;
        job->memory_room = room;
    }
    if (n)
        memcpy(job->memory + job->memory_n, p, n);
    job->memory_n += n;
    return true;
}

/* ---- the way back ---- */

static void arrive(struct mg_worker *w, void *arg)
{
    struct mg_store_job *job = arg;
    struct mg_exchange *x = mg_handle(job->x);
    struct mg_op *op = x ? mg_op_find(x, job->brought.op) : NULL;
    int status = job->status;

    (void)w;
    if (!op || op->has_ended) {
        job_free(&job->brought);
        return;
    }
    if (mg_brought_keep(x, &job->brought) != 0)
        status = MG_ENOMEM;
    mg_op_end(op, status);
}

static void send_back(struct mg_store_job *job)
{
    struct timespec pause = { .tv_nsec = 1000000 };
    int rc = UV_ENOMEM;

    for (int tries = 0; rc == UV_ENOMEM && tries < 100; tries++) {
        rc = mg_worker_post_index(job->worker, arrive, job);
        if (rc == UV_ENOMEM)
            nanosleep(&pause, NULL);
    }
    if (rc != 0)
        job_free(&job->brought); /* the worker has ended, or there is no memory: the plugin's timeout tells its exchange */
}

/* ---- the thread ---- */

static bool writes(const struct mg_store_job *job)
{
    return job->what != MG_STORE_GET && job->what != MG_STORE_LIST;
}

static int code_of(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_BUSY: case SQLITE_LOCKED: return MG_EBUSY;
    case SQLITE_NOMEM: return MG_ENOMEM;
    case SQLITE_TOOBIG: return MG_ETOOBIG;
    default: return MG_EIO;
    }
}

static void tell(struct mg_store *s, int rc, const char *message)
{
    int64_t now = mg_clock_monotonic_us();

    if (s->told_us && now - s->told_us < TELL_S * INT64_C(1000000))
        return;
    s->told_us = now;
    mg_log_text_c("error", mg_str_c(sqlite3_errstr(rc)));
    mg_logf(MG_LOG_ERROR, "store: %s: %s", s->path ? s->path : "memory", message);
}

/* One transaction for all. When it fails none of it has happened, and all are told so. */
static void run_batch(struct mg_store *s, struct mg_list *batch)
{
    bool any_write = false;
    char message[256] = "";
    int rc;

    mg_list_each(n, batch)
        any_write |= writes(mg_container(n, struct mg_store_job, node));
    rc = mg_store_db_step(&s->db, any_write ? DB_BEGIN_WRITE : DB_BEGIN);
    mg_list_each(n, batch)
    {
        if (rc == SQLITE_OK)
            rc = mg_store_db_do(&s->db, mg_container(n, struct mg_store_job, node));
    }
    if (rc == SQLITE_OK)
        rc = mg_store_db_step(&s->db, DB_COMMIT);
    if (rc == SQLITE_OK)
        return;
    snprintf(message, sizeof message, "%s", sqlite3_errmsg(s->db.db));
    if (!sqlite3_get_autocommit(s->db.db))
        mg_store_db_step(&s->db, DB_ROLLBACK);
    tell(s, rc, message);
    mg_list_each(n, batch)
        mg_container(n, struct mg_store_job, node)->status = code_of(rc);
}

static void take_batch(struct mg_store *s, struct mg_list *batch)
{
    mg_list_init(batch);
    for (int i = 0; i < BATCH && !mg_list_empty(&s->queue); i++) {
        struct mg_list *n = mg_list_first(&s->queue);

        mg_list_remove(n);
        mg_list_push(batch, n);
        s->queued_n--;
        s->queued_bytes -= mg_container(n, struct mg_store_job, node)->bytes;
    }
}

static void purge(struct mg_store *s)
{
    if (mg_store_db_purge(&s->db, mg_clock_wall_us() / 1000) < 0)
        tell(s, sqlite3_errcode(s->db.db), sqlite3_errmsg(s->db.db));
}

/* Until there is something to do; now and then what is past its time is purged. false: it ends. Locked. */
static bool wait_for_work(struct mg_store *s, int64_t *purge_s)
{
    struct timespec at;

    while (mg_list_empty(&s->queue)) {
        if (s->is_ending)
            return false;
        at.tv_sec = *purge_s;
        at.tv_nsec = 0;
        if (pthread_cond_timedwait(&s->wake, &s->lock, &at) == ETIMEDOUT && mg_list_empty(&s->queue) && !s->is_ending) {
            pthread_mutex_unlock(&s->lock);
            purge(s);
            pthread_mutex_lock(&s->lock);
            clock_gettime(CLOCK_MONOTONIC, &at);
            *purge_s = at.tv_sec + PURGE_S;
        }
    }
    return true;
}

static void *run(void *arg)
{
    struct mg_store *s = arg;
    struct mg_list batch;
    struct timespec at;
    int64_t purge_s;

    clock_gettime(CLOCK_MONOTONIC, &at);
    purge_s = at.tv_sec + 1;
    pthread_mutex_lock(&s->lock);
    while (wait_for_work(s, &purge_s)) {
        take_batch(s, &batch);
        pthread_mutex_unlock(&s->lock);
        run_batch(s, &batch);
        while (!mg_list_empty(&batch)) {
            struct mg_list *n = mg_list_first(&batch);

            mg_list_remove(n);
            send_back(mg_container(n, struct mg_store_job, node));
        }
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static int do_here(struct mg_store *s, struct mg_store_job *job)
{
    struct mg_list batch;

    mg_list_init(&batch);
    mg_list_push(&batch, &job->node);
    run_batch(s, &batch);
    mg_list_remove(&job->node);
    arrive(mg_this_worker, job);
    return 0;
}

int mg_store_do(struct mg_store *s, struct mg_store_job *job)
{
    int rc = 0;

    job->store = s;
    if (!s->path)
        return do_here(s, job);
    pthread_mutex_lock(&s->lock);
    if (s->queued_n >= MG_STORE_QUEUE_MAX || s->queued_bytes + job->bytes > MG_STORE_QUEUE_BYTES) {
        rc = MG_EBUSY;
    } else {
        mg_list_push(&s->queue, &job->node);
        s->queued_n++;
        s->queued_bytes += job->bytes;
        pthread_cond_signal(&s->wake);
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* ---- opening ---- */

int mg_store_check(const char *path, struct mg_error *err)
{
    struct stat st;
    char folder[4096], *slash;
    sqlite3 *db = NULL;
    int rc;

    snprintf(folder, sizeof folder, "%s", path);
    slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = '\0';
    if (access(slash ? folder : ".", W_OK | X_OK) != 0) /* SQLite makes files of its own beside it */
        return mg_fail(err, MG_ECONF, "no file can be made in %s: %s", slash ? folder : ".", strerror(errno));
    if (stat(path, &st) != 0)
        return errno == ENOENT ? 0 : mg_fail(err, MG_ECONF, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return mg_fail(err, MG_ECONF, "%s is no file", path);
    if (access(path, R_OK | W_OK) != 0)
        return mg_fail(err, MG_ECONF, "%s: %s", path, strerror(errno));
    rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, "PRAGMA schema_version", NULL, NULL, NULL);
    if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_BUSY)
        rc = mg_fail(err, MG_ECONF, "%s: %s", path, db ? sqlite3_errmsg(db) : "out of memory");
    else
        rc = 0;
    sqlite3_close(db);
    return rc;
}

static void store_free(struct mg_store *s)
{
    mg_store_db_close(&s->db);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    mg_free(s->path);
    mg_free(s);
}

static struct mg_store *store_new(const char *path, struct mg_error *err)
{
    struct mg_store *s = mg_calloc(1, sizeof *s);
    size_t n = path ? strlen(path) + 1 : 0;
    pthread_condattr_t attr;

    if (s && path && (s->path = mg_malloc(n)))
        memcpy(s->path, path, n);
    if (!s || (path && !s->path)) {
        mg_free(s);
        mg_fail(err, MG_ENOMEM, "store: out of memory");
        return NULL;
    }
    s->refs = 1;
    mg_list_init(&s->queue);
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &attr);
    pthread_condattr_destroy(&attr);
    if (mg_store_db_open(&s->db, path, err) != 0) {
        store_free(s);
        return NULL;
    }
    if (path && pthread_create(&s->thread, NULL, run, s) != 0) {
        mg_fail(err, UV_EAGAIN, "store: no thread can be started");
        store_free(s);
        return NULL;
    }
    return s;
}

struct mg_store *mg_store_open(const char *path, struct mg_error *err)
{
    struct mg_store *s;

    if (!path)
        return store_new(NULL, err);
    pthread_mutex_lock(&open_lock);
    for (s = open_stores; s && strcmp(s->path, path) != 0; s = s->next)
        ;
    if (s) {
        s->refs++;
    } else if ((s = store_new(path, err))) {
        s->next = open_stores;
        open_stores = s;
    }
    pthread_mutex_unlock(&open_lock);
    return s;
}

/* The lock is held until the file is closed: who opens it next finds it whole. */
void mg_store_unref(struct mg_store *s)
{
    struct mg_store **at;

    if (!s)
        return;
    pthread_mutex_lock(&open_lock);
    if (--s->refs == 0) {
        for (at = &open_stores; *at && *at != s; at = &(*at)->next)
            ;
        if (*at)
            *at = s->next;
        pthread_mutex_lock(&s->lock);
        s->is_ending = true;
        pthread_cond_signal(&s->wake);
        pthread_mutex_unlock(&s->lock);
        if (s->path)
            pthread_join(s->thread, NULL);
        store_free(s);
    }
    pthread_mutex_unlock(&open_lock);
}

void mg_store_chown(struct mg_store *s, uid_t user, gid_t group)
{
    static const char *const endings[] = { "", "-wal", "-shm" };
    char path[4200];

    for (int i = 0; s->path && i < 3; i++) {
        snprintf(path, sizeof path, "%s%s", s->path, endings[i]);
        if (chown(path, user, group) != 0 && errno != ENOENT)
            mg_logf(MG_LOG_WARN, "store: %s: %s", path, strerror(errno));
    }
}
