/* store.c - the store as plugins see it, with the seam (exchange/outside.h).
 *
 * Services: "store.get", "store.set", "store.swap", "store.delete", "store.incr", "store.list". Question: space (the plugin's name, '/', the
 * space), key and the rest of what is asked, with line feeds between; values as service/words.h writes them. Answer: the value; of list:
 * for each row the lengths of key and value with spaces behind them, then both. */
#include "pdk/call.h"
#include "exchange/outside.h"
#include "base/clock.h"
#include "plugin/chain.h"
#include "service/store.h"
#include "service/words.h"

#include <stdio.h>

enum { SPACE_MAX = 64 };

/* ---- answers as bytes ---- */

static struct mg_store_job *job_of(struct mg_exchange *x, int op)
{
    struct mg_brought *b = mg_brought_find(x, &mg_store_kind, op);

    return b ? mg_container(b, struct mg_store_job, brought) : NULL;
}

static int save_value(struct mg_op *op, struct mg_str *answer)
{
    const struct mg_store_job *job = job_of(op->x, op->id);

    *answer = job ? mg_words_of(&op->x->arena, &job->got) : mg_str(NULL, 0);
    return 0;
}

static int load_value(struct mg_op *op, int status, struct mg_str answer)
{
    struct mg_store_job *job = mg_store_job_new(&(struct mg_store_job){ .brought.op = op->id });

    if (!job)
        return MG_ENOMEM;
    mg_words_take(answer, &job->got);
    if (job->got.kind == MG_TEXT) {
        if (!mg_store_keep(job, job->got.text.p, job->got.text.n)) {
            job->brought.free(&job->brought);
            return MG_ENOMEM;
        }
        job->got.text.p = job->memory;
    }
    return mg_brought_keep(op->x, &job->brought) == 0 ? status : MG_ENOMEM;
}

static int save_rows(struct mg_op *op, struct mg_str *answer)
{
    const struct mg_store_job *job = job_of(op->x, op->id);
    struct mg_arena *a = &op->x->arena;
    char *p, *at;

    *answer = mg_str(NULL, 0);
    if (!job)
        return 0;
    p = at = mg_arena_alloc(a, job->memory_n + (size_t)job->rows_n * 80 + 1);
    for (int i = 0; p && i < job->rows_n; i++) {
        const struct mg_store_row *row = &job->rows[i];
        struct mg_str value = mg_words_of(a, &row->value);

        if (!value.p)
            return MG_ENOMEM;
        at += sprintf(at, "%zu %zu ", row->key.n, value.n);
        memcpy(at, row->key.p, row->key.n);
        memcpy(at + row->key.n, value.p, value.n);
        at += row->key.n + value.n;
    }
    *answer = mg_str(p, p ? (size_t)(at - p) : 0);
    return p ? 0 : MG_ENOMEM;
}

static bool take_length(struct mg_str *s, size_t *out)
{
    const char *space = s->n ? memchr(s->p, ' ', s->n) : NULL;
    uint64_t n;

    if (!space || !mg_str_u64(mg_str(s->p, (size_t)(space - s->p)), s->n, &n))
        return false;
    s->n -= (size_t)(space + 1 - s->p);
    s->p = space + 1;
    *out = n;
    return true;
}

/* Texts point into a copy of the answer. */
static int load_rows(struct mg_op *op, int status, struct mg_str answer)
{
    struct mg_store_job *job = mg_store_job_new(&(struct mg_store_job){ .brought.op = op->id, .what = MG_STORE_LIST, .limit = MG_STORE_ROWS_MAX });
    struct mg_str rest;
    size_t key_n, value_n;

    if (!job || !mg_store_keep(job, answer.p, answer.n)) {
        if (job)
            job->brought.free(&job->brought);
        return MG_ENOMEM;
    }
    rest = mg_str(job->memory, job->memory_n);
    while (job->rows_n < job->limit && take_length(&rest, &key_n) && take_length(&rest, &value_n) && key_n + value_n <= rest.n) {
        struct mg_store_row *row = &job->rows[job->rows_n++];

        row->key = mg_str(rest.p, key_n);
        mg_words_take(mg_str(rest.p + key_n, value_n), &row->value);
        rest.p += key_n + value_n;
        rest.n -= key_n + value_n;
    }
    return mg_brought_keep(op->x, &job->brought) == 0 ? status : MG_ENOMEM;
}

static const struct mg_op_kind kinds[] = {
    [MG_STORE_GET] = { "store.get", save_value, load_value },
    [MG_STORE_PUT] = { "store.set", NULL, NULL },
    [MG_STORE_SWAP] = { "store.swap", save_value, load_value },
    [MG_STORE_DELETE] = { "store.delete", NULL, NULL },
    [MG_STORE_INCR] = { "store.incr", save_value, load_value },
    [MG_STORE_LIST] = { "store.list", save_rows, load_rows },
};

static struct mg_str question(struct mg_exchange *x, const struct mg_store_job *ask)
{
    struct mg_arena *a = &x->arena;
    struct mg_str ttl = mg_arena_printf(a, "%lld", (long long)ask->ttl_ms), parts[6] = { ask->space, ask->key };
    size_t n = 2;

    switch (ask->what) {
    case MG_STORE_PUT:
        parts[n++] = mg_str_c(ask->when == MG_SHARED_ADD ? "add" : ask->when == MG_SHARED_REPLACE ? "replace" : "set");
        parts[n++] = ttl;
        parts[n++] = mg_words_of(a, &ask->value);
        break;
    case MG_STORE_SWAP:
    case MG_STORE_INCR:
        parts[n++] = mg_words_of(a, &ask->expected);
        parts[n++] = ttl;
        parts[n++] = mg_words_of(a, &ask->value);
        break;
    case MG_STORE_LIST:
        parts[n++] = ask->after;
        parts[n++] = mg_arena_printf(a, "%d", ask->limit);
        break;
    default: break;
    }
    return mg_words_join(a, parts, n);
}

/* ---- starting ---- */

/* The plugin that runs, and its space. */
static struct mg_str space_of(struct mg_exchange *x, struct mg_str space)
{
    const struct mg_chain_entry *e = x->worker->running_entry;
    struct mg_str plugin = e ? mg_str_c(e->plugin->name) : MG_STR("");

    return mg_arena_printf(&x->arena, "%.*s/%.*s", (int)plugin.n, plugin.p, (int)space.n, space.n ? space.p : "");
}

static bool is_value(const struct mg_datum *v, bool nil)
{
    return v->kind == MG_TEXT || v->kind == MG_DOUBLE || v->kind == MG_BOOLEAN || (nil && v->kind == MG_NIL);
}

/* The operation's number; what goes wrong from here on is its status, like every outcome. */
static int start(struct mg_exchange *x, struct mg_store_job *ask)
{
    struct mg_store *store = x->snapshot ? mg_snapshot_view.store(x->snapshot) : NULL;
    struct mg_store_job *job;
    struct mg_op *op;
    int rc = 0;

    ask->space = space_of(x, ask->space);
    op = ask->space.p ? mg_op_start(x, NULL) : NULL;
    if (!op)
        return MG_ENOMEM;
    if (x->outside && mg_outside_takes(op, &kinds[ask->what], question(x, ask)))
        return op->id;
    if (!store) {
        mg_op_drop(op);
        return MG_ECONF;
    }
    ask->brought.op = op->id;
    ask->worker = x->worker->index;
    ask->x = mg_handle_of(x);
    ask->now_ms = mg_clock_wall_us() / 1000;
    job = mg_store_job_new(ask);
    rc = job ? mg_store_do(store, job) : MG_ENOMEM;
    if (rc != 0) {
        if (job)
            job->brought.free(&job->brought);
        mg_op_end(op, rc);
    }
    return op->id;
}

static int may_ask(struct mg_exchange *x, size_t space_n, size_t key_n, int64_t ttl_ms)
{
    if (!x)
        return MG_EENDED;
    if (!x->in_step || !mg_may(x, MG_START_WAIT))
        return MG_EPHASE;
    if (key_n > MG_STORE_KEY_MAX)
        return MG_ETOOBIG;
    return space_n > SPACE_MAX || ttl_ms < 0 ? MG_EINVAL : 0;
}

static int ask_key(struct mg_x *h, struct mg_store_job *ask)
{
    struct mg_exchange *x = mg_handle(h);
    int rc = may_ask(x, ask->space.n, ask->key.n, ask->ttl_ms);

    if (rc == 0 && ask->key.n == 0)
        rc = MG_EINVAL;
    if (rc == 0 && (ask->value.text.n > MG_STORE_VALUE_MAX || ask->expected.text.n > MG_STORE_VALUE_MAX))
        rc = MG_ETOOBIG;
    return rc ? rc : start(x, ask);
}

int mg_store_get(struct mg_x *h, const char *space, size_t space_n, const char *key, size_t key_n)
{
    return ask_key(h, &(struct mg_store_job){ .what = MG_STORE_GET, .space = { space, space_n }, .key = { key, key_n } });
}

/* Whatever else the struct of a plugin holds, only a text's bytes are looked at. */
static struct mg_datum plain(const struct mg_datum *v)
{
    struct mg_datum d = { .kind = v->kind, .number = v->kind == MG_BOOLEAN ? v->number != 0 : v->kind == MG_DOUBLE ? v->number : 0 };

    if (v->kind == MG_TEXT)
        d.text = v->text;
    return d;
}

int mg_store_set(struct mg_x *h, const char *space, size_t space_n, const char *key, size_t key_n, int when, const struct mg_datum *value,
                 int64_t ttl_ms)
{
    struct mg_store_job ask = { .what = MG_STORE_PUT, .when = when, .space = { space, space_n }, .key = { key, key_n }, .ttl_ms = ttl_ms };

    if (!is_value(value, false) || when < MG_SHARED_SET || when > MG_SHARED_REPLACE)
        return MG_EINVAL;
    ask.value = plain(value);
    return ask_key(h, &ask);
}

int mg_store_swap(struct mg_x *h, const char *space, size_t space_n, const char *key, size_t key_n, const struct mg_datum *expected,
                  const struct mg_datum *value, int64_t ttl_ms)
{
    struct mg_store_job ask = { .what = MG_STORE_SWAP, .space = { space, space_n }, .key = { key, key_n }, .ttl_ms = ttl_ms };

    if (!is_value(value, true) || !is_value(expected, true))
        return MG_EINVAL;
    ask.value = plain(value);
    ask.expected = plain(expected);
    return ask_key(h, &ask);
}

int mg_store_delete(struct mg_x *h, const char *space, size_t space_n, const char *key, size_t key_n)
{
    return ask_key(h, &(struct mg_store_job){ .what = MG_STORE_DELETE, .space = { space, space_n }, .key = { key, key_n } });
}

int mg_store_incr(struct mg_x *h, const char *space, size_t space_n, const char *key, size_t key_n, double by, double init, int64_t ttl_ms)
{
    return ask_key(h, &(struct mg_store_job){ .what = MG_STORE_INCR, .space = { space, space_n }, .key = { key, key_n }, .ttl_ms = ttl_ms,
                                             .value = { .kind = MG_DOUBLE, .number = by }, .expected = { .kind = MG_DOUBLE, .number = init } });
}

int mg_store_list(struct mg_x *h, const char *space, size_t space_n, const char *prefix, size_t prefix_n, const char *after, size_t after_n,
                  int limit)
{
    struct mg_store_job ask = { .what = MG_STORE_LIST, .space = { space, space_n }, .key = { prefix, prefix_n }, .after = { after, after_n },
                                .limit = limit };
    struct mg_exchange *x = mg_handle(h);
    int rc = may_ask(x, space_n, prefix_n > after_n ? prefix_n : after_n, 0);

    if (rc == 0 && (limit < 1 || limit > MG_STORE_ROWS_MAX))
        rc = MG_EINVAL;
    return rc ? rc : start(x, &ask);
}

/* ---- results ---- */

int mg_store_value(struct mg_x *h, int op, struct mg_datum *out)
{
    struct mg_exchange *x = mg_handle(h);
    struct mg_store_job *job = x ? job_of(x, op) : NULL;

    *out = job ? job->got : (struct mg_datum){ .kind = MG_NIL };
    return !x ? MG_EENDED : job ? 0 : MG_ENOENT;
}

int mg_store_row(struct mg_x *h, int op, int i, struct mg_str *key, struct mg_datum *value)
{
    struct mg_exchange *x = mg_handle(h);
    struct mg_store_job *job = x ? job_of(x, op) : NULL;

    *key = mg_str(NULL, 0);
    *value = (struct mg_datum){ .kind = MG_NIL };
    if (!job || i < 0 || i >= job->rows_n)
        return x ? MG_ENOENT : MG_EENDED;
    *key = job->rows[i].key;
    *value = job->rows[i].value;
    return 0;
}

int mg_store_forget(struct mg_x *h, int op)
{
    struct mg_exchange *x = mg_handle(h);
    struct mg_store_job *job = x ? job_of(x, op) : NULL;

    if (job)
        mg_brought_drop(x, &job->brought);
    return !x ? MG_EENDED : job ? 0 : MG_ENOENT;
}
