/* store_db.c - what a store asks SQLite.
 *
 *     kv (space, key) -> value, kind (enum mg_kind), until (wall clock, milliseconds; NULL: for ever)
 *
 * Rows past their time are absent to every question, and are purged now and then. */
#include "service/store_parts.h"

#include <stdio.h>

enum { BUSY_MS = 2000, PURGE_ROWS = 500, VERSION = 1 };

static const char *const texts[DB_STATEMENTS] = {
    [DB_BEGIN] = "BEGIN",
    [DB_BEGIN_WRITE] = "BEGIN IMMEDIATE",
    [DB_COMMIT] = "COMMIT",
    [DB_ROLLBACK] = "ROLLBACK",
    [DB_GET] = "SELECT value, kind, until FROM kv WHERE space = ?1 AND key = ?2 AND (until IS NULL OR until > ?3)",
    [DB_PUT] = "INSERT INTO kv (space, key, value, kind, until) VALUES (?1, ?2, ?3, ?4, ?5) "
               "ON CONFLICT (space, key) DO UPDATE SET value = excluded.value, kind = excluded.kind, until = excluded.until",
    [DB_DELETE] = "DELETE FROM kv WHERE space = ?1 AND key = ?2",
    [DB_LIST] = "SELECT key, value, kind FROM kv WHERE space = ?1 AND key > ?2 AND key >= ?3 AND (until IS NULL OR until > ?4) ORDER BY key",
    [DB_PURGE] = "DELETE FROM kv WHERE (space, key) IN (SELECT space, key FROM kv WHERE until <= ?1 LIMIT ?2)",
};

/* FULL: a commit is on the disk when it returns, also when the machine loses power. */
static const char setup[] = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                            "CREATE TABLE IF NOT EXISTS kv (space BLOB NOT NULL, key BLOB NOT NULL, value, kind INTEGER NOT NULL, until INTEGER,"
                            " PRIMARY KEY (space, key)) WITHOUT ROWID;"
                            "CREATE INDEX IF NOT EXISTS kv_until ON kv (until) WHERE until IS NOT NULL;"
                            "PRAGMA user_version = 1;";

static int version_of(sqlite3 *db)
{
    sqlite3_stmt *s = NULL;
    int version = -1;

    if (sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
        version = sqlite3_column_int(s, 0);
    sqlite3_finalize(s);
    return version;
}

void mg_store_db_close(struct mg_store_db *d)
{
    for (int i = 0; i < DB_STATEMENTS; i++)
        sqlite3_finalize(d->statements[i]);
    sqlite3_close(d->db);
    memset(d, 0, sizeof *d);
}

int mg_store_db_open(struct mg_store_db *d, const char *path, struct mg_error *err)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, version;

    memset(d, 0, sizeof *d);
    if (sqlite3_open_v2(path ? path : ":memory:", &d->db, flags, NULL) != SQLITE_OK)
        goto fail;
    sqlite3_busy_timeout(d->db, BUSY_MS);
    version = version_of(d->db);
    if (version > VERSION) {
        mg_fail(err, MG_ECONF, "store: %s: made by a newer version, or not a store of ours", path);
        mg_store_db_close(d);
        return MG_ECONF;
    }
    if (version < 0 || sqlite3_exec(d->db, setup, NULL, NULL, NULL) != SQLITE_OK)
        goto fail;
    for (int i = 0; i < DB_STATEMENTS; i++)
        if (sqlite3_prepare_v3(d->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &d->statements[i], NULL) != SQLITE_OK)
            goto fail;
    return 0;
fail:
    mg_fail(err, MG_ECONF, "store: %s: %s", path ? path : "memory", d->db ? sqlite3_errmsg(d->db) : "out of memory");
    mg_store_db_close(d);
    return MG_ECONF;
}

int mg_store_db_step(struct mg_store_db *d, int statement)
{
    int rc = sqlite3_step(d->statements[statement]);

    sqlite3_reset(d->statements[statement]);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* ---- values ---- */

static void bind_text(sqlite3_stmt *s, int at, struct mg_str text)
{
    sqlite3_bind_blob(s, at, text.n ? text.p : "", (int)text.n, SQLITE_STATIC);
}

static bool take_value(struct mg_store_job *job, sqlite3_stmt *s, int at, struct mg_datum *out, size_t *offset)
{
    *out = (struct mg_datum){ .kind = sqlite3_column_int(s, at + 1) };
    *offset = job->memory_n;
    if (out->kind != MG_TEXT) {
        out->number = sqlite3_column_double(s, at);
        return true;
    }
    out->text.n = (size_t)sqlite3_column_bytes(s, at);
    return mg_store_keep(job, sqlite3_column_blob(s, at), out->text.n);
}

static int done(sqlite3_stmt *s, int rc)
{
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

/* What is there now: job->got, MG_NIL when absent. */
static int look(struct mg_store_db *d, struct mg_store_job *job, int64_t *until)
{
    sqlite3_stmt *s = d->statements[DB_GET];
    size_t offset;
    int rc;

    job->got = (struct mg_datum){ .kind = MG_NIL };
    bind_text(s, 1, job->space);
    bind_text(s, 2, job->key);
    sqlite3_bind_int64(s, 3, job->now_ms);
    rc = sqlite3_step(s);
    *until = 0;
    if (rc == SQLITE_ROW) {
        *until = sqlite3_column_int64(s, 2);
        if (!take_value(job, s, 0, &job->got, &offset))
            rc = SQLITE_NOMEM;
        else if (job->got.kind == MG_TEXT)
            job->got.text.p = job->memory + offset;
    }
    return done(s, rc);
}

static int put(struct mg_store_db *d, const struct mg_store_job *job, const struct mg_datum *value, int64_t until)
{
    sqlite3_stmt *s = d->statements[DB_PUT];

    bind_text(s, 1, job->space);
    bind_text(s, 2, job->key);
    if (value->kind == MG_TEXT)
        bind_text(s, 3, value->text);
    else
        sqlite3_bind_double(s, 3, value->number);
    sqlite3_bind_int(s, 4, value->kind);
    if (until)
        sqlite3_bind_int64(s, 5, until);
    return done(s, sqlite3_step(s));
}

static int drop(struct mg_store_db *d, const struct mg_store_job *job)
{
    sqlite3_stmt *s = d->statements[DB_DELETE];

    bind_text(s, 1, job->space);
    bind_text(s, 2, job->key);
    return done(s, sqlite3_step(s));
}

static int64_t until_of(const struct mg_store_job *job)
{
    return job->ttl_ms == 0 ? 0 : job->ttl_ms > INT64_MAX - job->now_ms ? INT64_MAX : job->now_ms + job->ttl_ms;
}

/* ---- jobs ---- */

static int do_put(struct mg_store_db *d, struct mg_store_job *job)
{
    int64_t until;
    int rc;

    if (job->when != MG_SHARED_SET) {
        rc = look(d, job, &until);
        if (rc != SQLITE_OK)
            return rc;
        if ((job->when == MG_SHARED_ADD) == (job->got.kind != MG_NIL)) {
            job->status = job->when == MG_SHARED_ADD ? MG_EEXIST : MG_ENOENT;
            return SQLITE_OK;
        }
    }
    return put(d, job, &job->value, until_of(job));
}

static bool is_same(const struct mg_datum *a, const struct mg_datum *b)
{
    return a->kind == b->kind && (a->kind == MG_NIL || (a->kind == MG_TEXT ? mg_str_eq(a->text, b->text) : a->number == b->number));
}

static int do_swap(struct mg_store_db *d, struct mg_store_job *job)
{
    int64_t until;
    int rc = look(d, job, &until);

    if (rc != SQLITE_OK)
        return rc;
    if (!is_same(&job->got, &job->expected)) {
        job->status = MG_EEXIST;
        return SQLITE_OK;
    }
    return job->value.kind == MG_NIL ? drop(d, job) : put(d, job, &job->value, until_of(job));
}

static int do_delete(struct mg_store_db *d, struct mg_store_job *job)
{
    int64_t until;
    int rc = look(d, job, &until);

    if (rc != SQLITE_OK)
        return rc;
    job->status = job->got.kind == MG_NIL ? MG_ENOENT : 0;
    return drop(d, job);
}

static int do_incr(struct mg_store_db *d, struct mg_store_job *job)
{
    int64_t until;
    int rc = look(d, job, &until);

    if (rc != SQLITE_OK)
        return rc;
    if (job->got.kind == MG_NIL) {
        until = until_of(job);
        job->got = (struct mg_datum){ .kind = MG_DOUBLE, .number = job->expected.number };
    } else if (job->got.kind != MG_DOUBLE) {
        job->status = MG_EINVAL;
        return SQLITE_OK;
    }
    job->got.number += job->value.number;
    return put(d, job, &job->got, until);
}

static bool starts(sqlite3_stmt *s, struct mg_str prefix)
{
    return (size_t)sqlite3_column_bytes(s, 0) >= prefix.n && (prefix.n == 0 || memcmp(sqlite3_column_blob(s, 0), prefix.p, prefix.n) == 0);
}

/* Rows' bytes follow each other in the result's memory: key, text, key, text… */
static void point_rows(struct mg_store_job *job)
{
    char *p = job->memory;

    for (int i = 0; i < job->rows_n; i++) {
        job->rows[i].key.p = p;
        p += job->rows[i].key.n;
        if (job->rows[i].value.kind == MG_TEXT) {
            job->rows[i].value.text.p = p;
            p += job->rows[i].value.text.n;
        }
    }
}

static int do_list(struct mg_store_db *d, struct mg_store_job *job)
{
    sqlite3_stmt *s = d->statements[DB_LIST];
    size_t offset;
    int rc;

    bind_text(s, 1, job->space);
    bind_text(s, 2, job->after);
    bind_text(s, 3, job->key);
    sqlite3_bind_int64(s, 4, job->now_ms);
    while ((rc = sqlite3_step(s)) == SQLITE_ROW && starts(s, job->key) && job->rows_n < job->limit &&
           (job->rows_n == 0 || job->memory_n < MG_STORE_PAGE_BYTES)) {
        struct mg_store_row *row = &job->rows[job->rows_n];

        row->key.n = (size_t)sqlite3_column_bytes(s, 0);
        if (!mg_store_keep(job, sqlite3_column_blob(s, 0), row->key.n) || !take_value(job, s, 1, &row->value, &offset))
            return done(s, SQLITE_NOMEM);
        job->rows_n++;
    }
    point_rows(job);
    job->status = job->rows_n;
    return done(s, rc);
}

int mg_store_db_do(struct mg_store_db *d, struct mg_store_job *job)
{
    int64_t until;
    int rc;

    job->status = 0;
    switch (job->what) {
    case MG_STORE_GET:
        rc = look(d, job, &until);
        job->status = job->got.kind == MG_NIL ? MG_ENOENT : 0;
        return rc;
    case MG_STORE_PUT: return do_put(d, job);
    case MG_STORE_SWAP: return do_swap(d, job);
    case MG_STORE_DELETE: return do_delete(d, job);
    case MG_STORE_INCR: return do_incr(d, job);
    default: return do_list(d, job);
    }
}

int mg_store_db_purge(struct mg_store_db *d, int64_t now_ms)
{
    sqlite3_stmt *s = d->statements[DB_PURGE];

    sqlite3_bind_int64(s, 1, now_ms);
    sqlite3_bind_int(s, 2, PURGE_ROWS);
    return done(s, sqlite3_step(s)) == SQLITE_OK ? sqlite3_changes(d->db) : -1;
}
