/* shared.c - the shared dictionaries as plugins see them, with the seam (exchange/outside.h).
 *
 * Services: "shared.get", "shared.set", … Question: the dictionary's name, the key, and what else is asked, with line feeds between; a value
 * as in the answer. Answer: a value as service/words.h writes it; keys: each on a line of its own, after its length and a
 * space. The status is what the call returns. */
#include "service/shared.h"
#include "base/scratch.h"
#include "exchange/outside.h"
#include "service/words.h"

#include <stdio.h>

static _Thread_local struct mg_scratch simulated;

/* Text goes to the thread's memory, as the real call's does. */
static int datum_take(struct mg_str s, struct mg_datum *out)
{
    char *p;

    mg_words_take(s, out);
    if (out->kind != MG_TEXT)
        return 0;
    p = mg_scratch_take(&simulated, out->text.n);
    if (!p)
        return MG_ENOMEM;
    memcpy(p, out->text.p, out->text.n);
    out->text.p = p;
    return 0;
}

struct ask {
    struct mg_exchange *x;         /* NULL: nobody listens */
    const char *service;
    struct mg_str answer;          /* simulated */
    int64_t status;
};

/* true: the answer is in a->status and a->answer. */
static bool ask(struct ask *a, const char *service, struct mg_shared *d, struct mg_str key, struct mg_str more)
{
    a->x = mg_outside_here();
    if (!a->x)
        return false;
    a->service = service;
    return mg_outside_answers(a->x, service, mg_words_join(&a->x->arena, (struct mg_str[]){ mg_shared_name(d), key, more }, more.n ? 3 : 2),
                              &a->status, &a->answer);
}

static int64_t tell(const struct ask *a, int64_t status, const struct mg_datum *value)
{
    if (a->x)
        mg_outside_told(a->x, a->service, status, value ? mg_words_of(&a->x->arena, value) : mg_str(NULL, 0));
    return status;
}

static bool is_key(size_t n) { return n > 0 && n <= MG_SHARED_KEY_MAX; }

/* ---- the calls ---- */

struct mg_shared *mg_shared_open(const char *name, size_t name_n)
{
    int rc;

    return mg_shared_find(mg_str(name, name_n), &rc);
}

static int get(struct mg_shared *d, struct mg_str key, bool stale, struct mg_datum *out)
{
    struct ask a;
    int rc;

    *out = (struct mg_datum){ .kind = MG_NIL };
    if (!is_key(key.n))
        return MG_EINVAL;
    if (ask(&a, stale ? "shared.get_stale" : "shared.get", d, key, mg_str(NULL, 0))) {
        rc = datum_take(a.answer, out);
        return rc ? rc : (int)a.status;
    }
    rc = mg_shared_read(d, key, stale, out);
    return (int)tell(&a, rc, out);
}

int mg_shared_get(struct mg_shared *d, const char *key, size_t key_n, struct mg_datum *out)
{
    if (!d)
        return MG_EINVAL;
    return get(d, mg_str(key, key_n), false, out);
}

int mg_shared_get_stale(struct mg_shared *d, const char *key, size_t key_n, struct mg_datum *out)
{
    if (!d)
        return MG_EINVAL;
    return get(d, mg_str(key, key_n), true, out);
}

static int set(struct mg_shared *d, int when, struct mg_str key, const struct mg_datum *value, int64_t ttl_ms)
{
    static const char *const names[] = { "shared.set", "shared.add", "shared.replace" };
    struct mg_exchange *x = mg_outside_here();
    struct mg_str more = { 0 };
    struct ask a;

    if (!is_key(key.n) || ttl_ms < 0 || when < MG_SHARED_SET || when > MG_SHARED_REPLACE)
        return MG_EINVAL;
    if (x)
        more = mg_words_join(&x->arena, (struct mg_str[]){ mg_arena_printf(&x->arena, "%lld", (long long)ttl_ms), mg_words_of(&x->arena, value) }, 2);
    if (ask(&a, names[when], d, key, more))
        return (int)a.status;
    return (int)tell(&a, mg_shared_write(d, when, key, value, ttl_ms), NULL);
}

int mg_shared_set_text(struct mg_shared *d, int when, const char *key, size_t key_n, const char *p, size_t n, int64_t ttl_ms)
{
    if (!d)
        return MG_EINVAL;
    return set(d, when, mg_str(key, key_n), &(struct mg_datum){ .kind = MG_TEXT, .text = { p, n } }, ttl_ms);
}

int mg_shared_set_number(struct mg_shared *d, int when, const char *key, size_t key_n, double value, int64_t ttl_ms)
{
    if (!d)
        return MG_EINVAL;
    return set(d, when, mg_str(key, key_n), &(struct mg_datum){ .kind = MG_DOUBLE, .number = value }, ttl_ms);
}

int mg_shared_set_boolean(struct mg_shared *d, int when, const char *key, size_t key_n, int value, int64_t ttl_ms)
{
    if (!d)
        return MG_EINVAL;
    return set(d, when, mg_str(key, key_n), &(struct mg_datum){ .kind = MG_BOOLEAN, .number = value != 0 }, ttl_ms);
}

int mg_shared_incr(struct mg_shared *d, const char *key, size_t key_n, double by, int has_init, double init, int64_t ttl_ms, double *out)
{
    if (!d)
        return MG_EINVAL;
    struct mg_exchange *x = mg_outside_here();
    struct mg_str more = { 0 };
    struct mg_datum sum = { .kind = MG_DOUBLE };
    struct ask a;
    int64_t rc;

    if (!is_key(key_n) || ttl_ms < 0)
        return MG_EINVAL;
    if (x && has_init)
        more = mg_arena_printf(&x->arena, "%.17g\n%.17g\n%lld", by, init, (long long)ttl_ms);
    else if (x)
        more = mg_arena_printf(&x->arena, "%.17g", by);
    if (ask(&a, "shared.incr", d, mg_str(key, key_n), more)) {
        rc = datum_take(a.answer, &sum);
        rc = rc ? rc : a.status;
    } else {
        rc = mg_shared_add(d, mg_str(key, key_n), by, has_init ? &init : NULL, ttl_ms, &sum.number);
        tell(&a, rc, rc >= 0 ? &sum : NULL);
    }
    if (out && rc >= 0)
        *out = sum.number;
    return (int)rc;
}

int mg_shared_delete(struct mg_shared *d, const char *key, size_t key_n)
{
    if (!d)
        return MG_EINVAL;
    struct ask a;

    if (!is_key(key_n))
        return MG_EINVAL;
    if (ask(&a, "shared.delete", d, mg_str(key, key_n), mg_str(NULL, 0)))
        return (int)a.status;
    return (int)tell(&a, mg_shared_remove(d, mg_str(key, key_n)), NULL);
}

int mg_shared_expire(struct mg_shared *d, const char *key, size_t key_n, int64_t ttl_ms)
{
    if (!d)
        return MG_EINVAL;
    struct mg_exchange *x = mg_outside_here();
    struct mg_str more = { 0 };
    struct ask a;

    if (!is_key(key_n) || ttl_ms < 0)
        return MG_EINVAL;
    if (x)
        more = mg_arena_printf(&x->arena, "%lld", (long long)ttl_ms);
    if (ask(&a, "shared.expire", d, mg_str(key, key_n), more))
        return (int)a.status;
    return (int)tell(&a, mg_shared_set_ttl(d, mg_str(key, key_n), ttl_ms), NULL);
}

int64_t mg_shared_ttl(struct mg_shared *d, const char *key, size_t key_n)
{
    if (!d)
        return MG_EINVAL;
    struct ask a;

    if (!is_key(key_n))
        return MG_EINVAL;
    if (ask(&a, "shared.ttl", d, mg_str(key, key_n), mg_str(NULL, 0)))
        return a.status;
    return tell(&a, mg_shared_get_ttl(d, mg_str(key, key_n)), NULL);
}

/* ---- lists ---- */

static bool is_end(int end) { return end == MG_SHARED_FRONT || end == MG_SHARED_BACK; }

static int64_t push(struct mg_shared *d, int end, struct mg_str key, const struct mg_datum *value)
{
    struct mg_exchange *x = mg_outside_here();
    struct ask a;

    if (!is_key(key.n) || !is_end(end))
        return MG_EINVAL;
    if (ask(&a, end == MG_SHARED_FRONT ? "shared.push_front" : "shared.push_back", d, key,
            x ? mg_words_of(&x->arena, value) : mg_str(NULL, 0)))
        return a.status;
    return tell(&a, mg_shared_list_push(d, key, end, value), NULL);
}

int64_t mg_shared_push_text(struct mg_shared *d, int end, const char *key, size_t key_n, const char *p, size_t n)
{
    if (!d)
        return MG_EINVAL;
    return push(d, end, mg_str(key, key_n), &(struct mg_datum){ .kind = MG_TEXT, .text = { p, n } });
}

int64_t mg_shared_push_number(struct mg_shared *d, int end, const char *key, size_t key_n, double value)
{
    if (!d)
        return MG_EINVAL;
    return push(d, end, mg_str(key, key_n), &(struct mg_datum){ .kind = MG_DOUBLE, .number = value });
}

int64_t mg_shared_push_boolean(struct mg_shared *d, int end, const char *key, size_t key_n, int value)
{
    if (!d)
        return MG_EINVAL;
    return push(d, end, mg_str(key, key_n), &(struct mg_datum){ .kind = MG_BOOLEAN, .number = value != 0 });
}

int mg_shared_pop(struct mg_shared *d, int end, const char *key, size_t key_n, struct mg_datum *out)
{
    if (!d)
        return MG_EINVAL;
    struct ask a;
    int rc;

    *out = (struct mg_datum){ .kind = MG_NIL };
    if (!is_key(key_n) || !is_end(end))
        return MG_EINVAL;
    if (ask(&a, end == MG_SHARED_FRONT ? "shared.pop_front" : "shared.pop_back", d, mg_str(key, key_n), mg_str(NULL, 0))) {
        rc = datum_take(a.answer, out);
        return rc ? rc : (int)a.status;
    }
    rc = mg_shared_list_pop(d, mg_str(key, key_n), end, out);
    return (int)tell(&a, rc, out);
}

int64_t mg_shared_length(struct mg_shared *d, const char *key, size_t key_n)
{
    if (!d)
        return MG_EINVAL;
    struct ask a;

    if (!is_key(key_n))
        return MG_EINVAL;
    if (ask(&a, "shared.length", d, mg_str(key, key_n), mg_str(NULL, 0)))
        return a.status;
    return tell(&a, mg_shared_list_length(d, mg_str(key, key_n)), NULL);
}

/* ---- the whole ---- */

static struct mg_str keys_text(struct mg_arena *a, const struct mg_str *keys, int n)
{
    size_t total = 0, at = 0;
    char *p;

    for (int i = 0; i < n; i++)
        total += keys[i].n + 24;
    p = mg_arena_alloc(a, total + 1);
    for (int i = 0; p && i < n; i++) {
        at += (size_t)sprintf(p + at, "%zu ", keys[i].n);
        memcpy(p + at, keys[i].p, keys[i].n);
        at += keys[i].n;
        p[at++] = '\n';
    }
    return mg_str(p, p ? at : 0);
}

/* In the arena: what is simulated need not be cheap. */
static int keys_take(struct mg_exchange *x, struct mg_str s, const struct mg_str **out)
{
    struct mg_str *list = mg_arena_alloc(&x->arena, (s.n / 4 + 1) * sizeof *list);
    size_t at = 0;
    int n = 0;

    while (list && at < s.n) {
        const char *space = memchr(s.p + at, ' ', s.n - at);
        uint64_t length;

        if (!space || !mg_str_u64(mg_str(s.p + at, (size_t)(space - (s.p + at))), s.n, &length))
            break;
        at = (size_t)(space - s.p) + 1;
        if (length == 0 || at + length + 1 > s.n)
            break;
        list[n++] = mg_str(s.p + at, length);
        at += length + 1;
    }
    *out = list;
    return list ? n : MG_ENOMEM;
}

int mg_shared_keys(struct mg_shared *d, int limit, const struct mg_str **out)
{
    if (!d)
        return MG_EINVAL;
    struct mg_exchange *x = mg_outside_here();
    struct ask a;
    int n;

    *out = NULL;
    if (limit < 0)
        return MG_EINVAL;
    if (ask(&a, "shared.keys", d, x ? mg_arena_printf(&x->arena, "%d", limit) : mg_str(NULL, 0), mg_str(NULL, 0)))
        return a.status < 0 ? (int)a.status : keys_take(a.x, a.answer, out);
    n = mg_shared_list_keys(d, limit, out);
    if (a.x)
        mg_outside_told(a.x, a.service, n, keys_text(&a.x->arena, *out, n));
    return n;
}

int mg_shared_flush(struct mg_shared *d)
{
    if (!d)
        return MG_EINVAL;
    struct ask a;

    if (ask(&a, "shared.flush", d, mg_str(NULL, 0), mg_str(NULL, 0)))
        return (int)a.status;
    mg_shared_clear(d);
    return (int)tell(&a, 0, NULL);
}

int mg_shared_stats(struct mg_shared *d, struct mg_shared_stat *out)
{
    if (!d)
        return MG_EINVAL;
    mg_shared_measure(d, out);
    return 0;
}
