/* cache.c - memoised values in a shared dictionary; service/flights.h says who computes.
 *
 * A value lies in the dictionary as its state (a letter) and its bytes. Services of the seam: "cache.get" (question: the dictionary's name and
 * the key, a line feed between; status: the state; answer: the value) and "cache.wait" (the same, the answer begins with the
 * state's letter). What is put is told by nobody: it was computed here. */
#include "pdk/call.h"
#include "base/alloc.h"
#include "exchange/outside.h"
#include "service/flights.h"
#include "service/words.h"

#include <stdio.h>

static const char letters[] = "hnfc"; /* by enum mg_cache_state */

static struct mg_shared *dictionary(struct mg_cache *c) { return (struct mg_shared *)c; }

struct mg_cache *mg_cache_open(const char *name, size_t name_n)
{
    char whole[MG_SHARED_NAME_MAX + 1];
    int rc;

    if (name_n == 0 || name_n + 6 > MG_SHARED_NAME_MAX)
        return NULL;
    memcpy(whole, "cache:", 6);
    memcpy(whole + 6, name, name_n);
    return (struct mg_cache *)mg_shared_find(mg_str(whole, name_n + 6), &rc);
}

/* ---- reading ---- */

static int state_of(char letter)
{
    const char *at = letter ? strchr(letters, letter) : NULL;

    return at ? (int)(at - letters) : -1;
}

struct look { struct mg_shared *d; struct mg_str key; struct mg_cached *out; };

static bool look(void *arg)
{
    struct look *l = arg;
    struct mg_datum v;

    if (mg_shared_read(l->d, l->key, false, &v) != 0 || v.kind != MG_TEXT || v.text.n < 1 || state_of(v.text.p[0]) < 0)
        return false;
    l->out->state = state_of(v.text.p[0]);
    l->out->value = mg_str(v.text.p + 1, v.text.n - 1);
    l->out->left_ms = mg_shared_get_ttl(l->d, l->key);
    if (l->out->left_ms < 0)
        l->out->left_ms = 0;
    return true;
}

static struct mg_flight_result *result_of(struct mg_exchange *x, int op)
{
    struct mg_brought *b = mg_brought_find(x, &mg_flight_kind, op);

    return b ? mg_container(b, struct mg_flight_result, brought) : NULL;
}

static int save(struct mg_op *op, struct mg_str *answer)
{
    const struct mg_flight_result *r = result_of(op->x, op->id);
    char *p = r ? mg_arena_alloc(&op->x->arena, r->value.n + 1) : NULL;

    *answer = mg_str(p, 0);
    if (!p)
        return r ? MG_ENOMEM : 0;
    p[0] = letters[r->state];
    memcpy(p + 1, r->value.p, r->value.n);
    answer->n = r->value.n + 1;
    return 0;
}

static int load(struct mg_op *op, int status, struct mg_str answer)
{
    struct mg_flight_result *r;

    if (status < 0 || answer.n < 1 || state_of(answer.p[0]) < 0)
        return status;
    r = mg_flight_result_new(op->id, state_of(answer.p[0]), mg_str(answer.p + 1, answer.n - 1), 0);
    return r && mg_brought_keep(op->x, &r->brought) == 0 ? status : MG_ENOMEM;
}

static const struct mg_op_kind wait_kind = { "cache.wait", save, load };

static int board(struct mg_exchange *x, struct look *l)
{
    struct mg_op *op = NULL;

    switch (mg_flight_board(x, l->d, l->key, look, l, &op)) {
    case MG_FLIGHT_LANDED: return 0;
    case MG_FLIGHT_OWNER: l->out->state = MG_CACHE_COMPUTE; return 0;
    case MG_FLIGHT_WAITER:
        op->kind = &wait_kind;
        l->out->state = MG_CACHE_WAIT;
        l->out->op = op->id;
        return 0;
    default: return MG_ENOMEM;
    }
}

static int may_ask(const struct mg_exchange *x, const struct mg_cache *c, size_t key_n)
{
    if (!x)
        return MG_EENDED;
    if (!x->in_step || !mg_may(x, MG_START_WAIT))
        return MG_EPHASE;
    return !c || key_n == 0 || key_n > MG_SHARED_KEY_MAX ? MG_EINVAL : 0;
}

/* In a replay that some other exchange computed is asked again as a wait, whose answer was recorded. */
static int simulated(struct mg_exchange *x, struct mg_str question, int64_t status, struct mg_str answer, struct mg_cached *out)
{
    struct mg_op *op;

    if (status != MG_CACHE_WAIT) {
        out->state = (int)status;
        out->value = answer;
        return status < 0 ? (int)status : 0;
    }
    op = mg_op_start(x, NULL);
    if (!op)
        return MG_ENOMEM;
    out->state = MG_CACHE_WAIT;
    out->op = op->id;
    if (!mg_outside_takes(op, &wait_kind, question))
        mg_op_end(op, MG_ECANCELED);
    return 0;
}

int mg_cache_get(struct mg_x *h, struct mg_cache *c, const char *key, size_t key_n, struct mg_cached *out)
{
    struct mg_exchange *x = mg_handle(h);
    struct look l = { dictionary(c), { key, key_n }, out };
    struct mg_str question = { 0 }, answer;
    int rc = may_ask(x, c, key_n);
    int64_t status;

    *out = (struct mg_cached){ 0 };
    if (rc)
        return rc;
    if (x->outside) {
        question = mg_words_join(&x->arena, (struct mg_str[]){ mg_shared_name(l.d), l.key }, 2);
        if (mg_outside_answers(x, "cache.get", question, &status, &answer))
            return simulated(x, question, status, answer, out);
    }
    rc = look(&l) ? 0 : board(x, &l);
    mg_outside_told(x, "cache.get", rc ? rc : out->state, out->value);
    return rc;
}

/* The last one's bytes were for the caller until now. */
int mg_cache_result(struct mg_x *h, int op, struct mg_cached *out)
{
    struct mg_exchange *x = mg_handle(h);
    struct mg_flight_result *r = x ? result_of(x, op) : NULL, *last = x ? result_of(x, 0) : NULL;

    *out = (struct mg_cached){ 0 };
    if (last)
        mg_brought_drop(x, &last->brought);
    if (!r || op == 0)
        return x ? MG_ENOENT : MG_EENDED;
    out->state = r->state;
    out->left_ms = r->left_ms;
    out->value = r->value;
    r->brought.op = 0;
    return 0;
}

/* ---- writing ---- */

struct keep { struct mg_shared *d; struct mg_str key, bytes; int64_t ttl_ms; int rc; };

static void keep(void *arg, bool is_current)
{
    struct keep *k = arg;

    if (k->ttl_ms > 0 && is_current)
        k->rc = mg_shared_write(k->d, MG_SHARED_SET, k->key, &(struct mg_datum){ .kind = MG_TEXT, .text = k->bytes }, k->ttl_ms);
}

static int settle(struct mg_x *h, struct mg_cache *c, struct mg_str key, int state, struct mg_str value, int64_t ttl_ms)
{
    struct mg_exchange *x = mg_handle(h);
    struct keep k = { .d = dictionary(c), .key = key, .ttl_ms = ttl_ms };
    char *bytes;

    if (!x)
        return MG_EENDED;
    if (!c || ttl_ms < 0 || key.n == 0 || key.n > MG_SHARED_KEY_MAX)
        return MG_EINVAL;
    bytes = mg_malloc(value.n + 1); /* a task may put many: nothing from its arena */
    if (!bytes)
        return MG_ENOMEM;
    bytes[0] = letters[state];
    if (value.n)
        memcpy(bytes + 1, value.p, value.n);
    k.bytes = mg_str(bytes, value.n + 1);
    if (!mg_flight_land(x, k.d, key, state, value, ttl_ms, keep, &k)) {
        keep(&k, true);
        mg_flight_changed(k.d, key);
    }
    mg_free(bytes);
    return k.rc < 0 ? k.rc : 0;
}

int mg_cache_put(struct mg_x *h, struct mg_cache *c, const char *key, size_t key_n, const char *p, size_t n, int64_t ttl_ms)
{
    return settle(h, c, mg_str(key, key_n), MG_CACHE_HIT, mg_str(p, n), ttl_ms);
}

int mg_cache_fail(struct mg_x *h, struct mg_cache *c, const char *key, size_t key_n, int state, const char *message, size_t message_n, int64_t ttl_ms)
{
    if (state != MG_CACHE_NONE && state != MG_CACHE_FAILED)
        return MG_EINVAL;
    return settle(h, c, mg_str(key, key_n), state, mg_str(message, message_n), ttl_ms);
}

int mg_cache_delete(struct mg_cache *c, const char *key, size_t key_n)
{
    if (!c || key_n == 0 || key_n > MG_SHARED_KEY_MAX)
        return MG_EINVAL;
    mg_shared_remove(dictionary(c), mg_str(key, key_n));
    mg_flight_changed(dictionary(c), mg_str(key, key_n));
    return 0;
}

int mg_cache_flush(struct mg_cache *c)
{
    if (!c)
        return MG_EINVAL;
    mg_shared_clear(dictionary(c));
    mg_flight_all_changed();
    return 0;
}

int64_t mg_cache_version(struct mg_cache *c, const char *key, size_t key_n)
{
    return !c || mg_outside_here() ? -1 : (int64_t)mg_flight_version(dictionary(c), mg_str(key, key_n));
}
