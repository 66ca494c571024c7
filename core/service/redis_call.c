/* redis_call.c - an exchange's operation: one request, a list of them, or a transaction. */
#include "service/redis_parts.h"
#include "base/alloc.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

enum { COMMANDS_MAX = 10000, WORDS_MAX = 1 << 20 };

/* op->arg: the call; of a simulated one how many replies are to come, and whether as a list (nothing may be taken from the
 * arena here: a task asks for as long as the gateway runs). */
static void *note_of(int n, bool is_list) { return (void *)(((uintptr_t)n << 1) | is_list); }
static int noted_n(const struct mg_op *op) { return (int)((uintptr_t)op->arg >> 1); }
static bool noted_list(const struct mg_op *op) { return (uintptr_t)op->arg & 1; }

struct mg_redis_call {
    struct mg_op *op;
    struct mg_redis_client *client;
    struct mg_timer timer;
    int n, left;                     /* parts; those that are on their way */
    bool is_list, is_starting;
    int status, failed;              /* of the first part that failed; how many did */
    int64_t timeout_ms;
    struct mg_redis_reply **replies; /* by part, as they come */
    struct mg_redis_request *parts[];
};

/* ---- replies of an exchange ---- */

static void replies_free(void *arg)
{
    struct mg_exchange *x = arg;

    mg_redis_subs_end(x);
    while (x->redis) {
        struct mg_redis_reply *r = x->redis;

        x->redis = r->next;
        mg_redis_reply_free(r);
    }
}

struct mg_redis_reply *mg_redis_reply_keep(struct mg_exchange *x, int op, struct mg_redis_reply *reply)
{
    if (reply) {
        reply->op = op;
        reply->next = x->redis;
        x->redis = reply;
    }
    return reply;
}

/* Before the first: they go with the exchange. */
bool mg_redis_replies_begin(struct mg_exchange *x)
{
    if (x->has_redis)
        return true;
    x->has_redis = mg_arena_defer(&x->arena, replies_free, x) == 0;
    return x->has_redis;
}

struct mg_redis_reply *mg_redis_reply_of(struct mg_exchange *x, int op)
{
    struct mg_redis_reply *r = x->redis;

    while (r && r->op != op)
        r = r->next;
    return r;
}

void mg_redis_reply_release(struct mg_exchange *x, int op)
{
    for (struct mg_redis_reply **at = &x->redis; *at; at = &(*at)->next) {
        if ((*at)->op == op) {
            struct mg_redis_reply *r = *at;

            *at = r->next;
            mg_redis_reply_free(r);
            return;
        }
    }
}

/* ---- the seam ---- */

static int save(struct mg_op *op, struct mg_str *answer)
{
    struct mg_redis_reply *r = mg_redis_reply_of(op->x, op->id);
    char *out = NULL;
    size_t n = 0, room = 0;
    int rc = 0;

    if (!r || !r->n)
        return MG_ENOENT;
    if (op->status < 0) {
        *answer = mg_redis_reply_text(r, 0);
        return 0;
    }
    for (size_t i = r->is_list ? 1 : 0; rc == 0 && i < r->n; i = (size_t)r->nodes[i].next)
        rc = mg_redis_reply_resp(r, i, &out, &n, &room);
    if (rc == 0)
        *answer = mg_arena_copy(&op->x->arena, out ? out : "", n);
    mg_free(out);
    return rc == 0 && answer->p ? 0 : MG_ENOMEM;
}

/* All replies in `answer`, in place of real ones. */
static int read_answer(struct mg_redis_reply *into, struct mg_str answer, bool is_list, int n)
{
    struct mg_redis_reader *reader = mg_redis_reader_new();
    struct mg_redis_reply *part = mg_redis_reply_new(into->bytes_max);
    int rc = reader && part ? mg_redis_reader_feed(reader, answer.p, answer.n) : MG_ENOMEM, got = 0;

    if (rc == 0 && is_list)
        rc = mg_redis_reply_list(into, n);
    while (rc == 0 && (rc = mg_redis_reader_next(reader, part)) == 1) {
        if (!is_list)
            mg_redis_reply_clear(into); /* a transaction: the last one counts */
        rc = is_list && got == n ? MG_EPROTO : mg_redis_reply_join(into, part);
        mg_redis_reply_clear(part);
        got++;
    }
    if (rc == 0 && got < n)
        rc = MG_EPROTO;
    mg_redis_reply_finish(into);
    mg_redis_reply_free(part);
    mg_redis_reader_free(reader);
    return rc;
}

static int load(struct mg_op *op, int status, struct mg_str answer)
{
    struct mg_redis_reply *r = mg_redis_reply_new(0);

    if (!mg_redis_reply_keep(op->x, op->id, r))
        return MG_ENOMEM;
    if (status < 0) {
        mg_redis_reply_say(r, answer);
        return status;
    }
    status = read_answer(r, answer, noted_list(op), noted_n(op));
    if (status < 0)
        mg_redis_reply_say(r, MG_STR("redis: the answer that was given is no reply"));
    return status;
}

static const struct mg_op_kind kind = { "redis", save, load };

/* ---- a call's life ---- */

static void call_free(struct mg_redis_call *call)
{
    mg_loop_disarm(call->client->loop, &call->timer);
    for (int i = 0; call->replies && i < call->n; i++)
        mg_redis_reply_free(call->replies[i]);
    mg_free(call->replies);
    mg_free(call);
}

static void drop_parts(struct mg_redis_call *call)
{
    for (int i = 0; i < call->n; i++) {
        struct mg_redis_request *q = call->parts[i];

        call->parts[i] = NULL;
        if (q)
            mg_redis_request_drop(q);
    }
}

static void on_cancel(struct mg_op *op)
{
    struct mg_redis_call *call = op->arg;

    if (!call)
        return;
    op->arg = NULL;
    drop_parts(call);
    call_free(call);
}

/* Ends the operation with a reason, or with a reply. */
static void end_with(struct mg_op *op, int status, struct mg_redis_reply *reply)
{
    mg_redis_reply_keep(op->x, op->id, reply);
    mg_op_end(op, reply ? status : MG_ENOMEM);
}

static void end_saying(struct mg_op *op, int status, const char *why)
{
    struct mg_redis_reply *r = mg_redis_reply_new(0);

    if (r)
        mg_redis_reply_say(r, mg_str_c(why));
    end_with(op, status, r);
}

static struct mg_redis_reply *joined(struct mg_redis_call *call)
{
    struct mg_redis_reply *r;
    int rc;

    if (!call->is_list || call->failed == call->n) {
        r = call->replies[0];
        call->replies[0] = NULL;
        return r;
    }
    r = mg_redis_reply_new(0); /* each part was within the limit */
    rc = r ? mg_redis_reply_list(r, call->n) : MG_ENOMEM;
    for (int i = 0; rc == 0 && i < call->n; i++)
        rc = mg_redis_reply_join(r, call->replies[i]);
    if (rc == 0) {
        r->is_list = true;
        mg_redis_reply_finish(r);
        return r;
    }
    mg_redis_reply_free(r);
    return NULL;
}

static void finish(struct mg_redis_call *call)
{
    struct mg_op *op = call->op;

    op->arg = NULL;
    end_with(op, call->failed == call->n ? call->status : 0, joined(call));
    call_free(call);
}

static void on_part(struct mg_redis_request *q, int status)
{
    struct mg_redis_call *call = q->owner;

    call->parts[q->index] = NULL;
    call->replies[q->index] = q->reply;
    q->reply = NULL;
    if (status < 0) {
        call->failed++;
        call->status = call->status ? call->status : status;
    }
    if (--call->left == 0 && !call->is_starting)
        finish(call);
}

static void on_deadline(struct mg_timer *t)
{
    struct mg_redis_call *call = mg_container(t, struct mg_redis_call, timer);
    struct mg_op *op = call->op;
    char why[80];

    snprintf(why, sizeof why, "redis: no answer within %lld ms", (long long)call->timeout_ms);
    op->arg = NULL;
    drop_parts(call);
    call_free(call);
    end_saying(op, MG_ETIMEOUT, why);
}

/* ---- beginning ---- */

struct question {
    const struct mg_str *argv;
    const int *argc;
    int n, flags;
    bool is_list;
};

static bool append(char **out, size_t *n, const char *p, size_t bytes)
{
    char *more = realloc(*out, *n + bytes);

    if (!more)
        return false;
    memcpy(more + *n, p, bytes);
    *out = more;
    *n += bytes;
    return true;
}

/* Commands `from` to `to` in one run of bytes; a transaction in its brackets. free(). NULL: out of memory. */
static char *wire_of(const struct question *a, int from, int to, size_t *n)
{
    static const char multi[] = "*1\r\n$5\r\nMULTI\r\n", exec[] = "*1\r\n$4\r\nEXEC\r\n";
    bool is_atomic = a->flags & MG_REDIS_ATOMIC, ok;
    const struct mg_str *argv = a->argv;
    char *out = NULL;

    *n = 0;
    for (int i = 0; i < from; i++)
        argv += a->argc[i];
    ok = !is_atomic || append(&out, n, multi, sizeof multi - 1);
    for (int i = from; ok && i < to; argv += a->argc[i++]) {
        size_t bytes;
        char *one = mg_redis_format(argv, a->argc[i], &bytes);

        if (one && !out && to == from + 1 && !is_atomic) {
            *n = bytes;
            return one;
        }
        ok = one && append(&out, n, one, bytes);
        free(one);
    }
    if (ok && (!is_atomic || append(&out, n, exec, sizeof exec - 1)))
        return out;
    free(out);
    return NULL;
}

/* The slot of the first command that has a key. */
static int slot_of(const struct question *a, int from, int to)
{
    const struct mg_str *argv = a->argv;

    for (int i = 0; i < to; argv += a->argc[i++]) {
        int at = i < from ? 0 : mg_redis_key_index(argv, a->argc[i]);

        if (at > 0)
            return mg_redis_slot(argv[at]);
    }
    return -1;
}

static int check(const struct question *a, bool *blocks)
{
    const struct mg_str *argv = a->argv;
    int64_t words = 0;

    *blocks = false;
    if (a->n < 1 || a->n > COMMANDS_MAX)
        return a->n < 1 ? MG_EINVAL : MG_ETOOBIG;
    for (int i = 0; i < a->n; argv += a->argc[i++]) {
        enum mg_redis_sort sort;

        if (a->argc[i] < 1 || (words += a->argc[i]) > WORDS_MAX)
            return a->argc[i] < 1 ? MG_EINVAL : MG_ETOOBIG;
        sort = mg_redis_sort_of(argv, a->argc[i]);
        if (sort == MG_REDIS_STATEFUL || (sort == MG_REDIS_BLOCKS && a->is_list))
            return MG_EINVAL;
        *blocks |= sort == MG_REDIS_BLOCKS && !(a->flags & MG_REDIS_ATOMIC);
    }
    return 0;
}

static struct mg_redis_call *call_new(struct mg_redis_client *c, struct mg_op *op, const struct question *a, int parts)
{
    struct mg_redis_call *call = mg_calloc(1, sizeof *call + (size_t)parts * sizeof call->parts[0]);

    if (!call)
        return NULL;
    mg_timer_init(&call->timer, on_deadline);
    call->op = op;
    call->client = c;
    call->n = call->left = parts;
    call->is_list = a->is_list;
    call->replies = mg_calloc((size_t)parts, sizeof(struct mg_redis_reply *));
    if (call->replies)
        return call;
    mg_free(call);
    return NULL;
}

/* All requests, before any of them is on its way. */
static int make_parts(struct mg_redis_call *call, const struct question *a, uint32_t affinity, bool blocks)
{
    int each = call->n == a->n ? 1 : a->n;
    struct mg_redis_client *c = call->client;

    for (int i = 0; i < call->n; i++) {
        size_t n;
        char *wire = wire_of(a, i * each, i * each + each, &n);
        struct mg_redis_request *q;

        if (wire && c->bytes + (int64_t)n > c->conf->queue_bytes) {
            free(wire);
            return MG_EBUSY;
        }
        q = wire ? mg_redis_request_new(c, wire, n) : NULL;
        if (!q)
            return MG_ENOMEM;
        q->replies_n = a->flags & MG_REDIS_ATOMIC ? a->n + 2 : 1;
        q->slot = c->conf->mode == MG_REDIS_CLUSTER ? slot_of(a, i * each, i * each + each) : -1;
        q->affinity = affinity;
        q->blocks = blocks;
        q->is_idempotent = a->flags & MG_REDIS_IDEMPOTENT;
        q->done = on_part;
        q->owner = call;
        q->index = i;
        call->parts[i] = q;
    }
    return 0;
}

static int64_t patience(const struct mg_redis_client *c, const struct question *a, bool blocks, int64_t timeout_ms)
{
    int64_t block_ms = blocks ? mg_redis_block_ms(a->argv, a->argc[0]) : -1;

    if (timeout_ms > 0)
        return timeout_ms;
    if (block_ms == 0)
        return 0;
    return block_ms > 0 ? block_ms + c->conf->timeout_ms : c->conf->timeout_ms;
}

static void go(struct mg_redis_call *call)
{
    call->is_starting = true;
    for (int i = 0; i < call->n; i++)
        mg_redis_route(call->parts[i]);
    call->is_starting = false;
    if (call->left == 0)
        finish(call);
}

static void begin(struct mg_op *op, struct mg_redis *r, const struct question *a, bool blocks, int64_t timeout_ms)
{
    struct mg_redis_client *c = mg_redis_client_here(op->x->worker, r);
    int parts = a->flags & MG_REDIS_ATOMIC ? 1 : a->n, rc;
    struct mg_redis_call *call;

    if (c && c->requests_n + parts > r->queue) {
        end_saying(op, MG_EBUSY, "redis: too many commands wait (queue)");
        return;
    }
    call = c ? call_new(c, op, a, parts) : NULL;
    rc = call ? make_parts(call, a, op->x->slot, blocks) : MG_ENOMEM;
    if (rc == 0) {
        op->arg = call;
        call->timeout_ms = patience(c, a, blocks, timeout_ms);
        if (call->timeout_ms > 0)
            mg_loop_arm(c->loop, &call->timer, call->timeout_ms);
        go(call);
        return;
    }
    if (call) {
        drop_parts(call);
        call_free(call);
    }
    end_saying(op, rc, rc == MG_EBUSY ? "redis: too many bytes wait (queue_bytes)" : "redis: out of memory");
}

/* true: somebody else answers. */
static int simulated(struct mg_op *op, const struct question *a)
{
    size_t n;
    char *wire;
    bool takes;

    op->kind = &kind;
    if (!op->x->outside)
        return 0;
    wire = wire_of(a, 0, a->n, &n);
    if (!wire)
        return MG_ENOMEM;
    takes = mg_outside_takes(op, &kind, mg_str(wire, n));
    free(wire);
    return takes;
}

int mg_redis_start(struct mg_exchange *x, struct mg_redis *r, const struct mg_str *argv, const int *argc, int n, int flags,
                   bool is_list, int64_t timeout_ms)
{
    struct question a = { argv, argc, n, flags, is_list };
    struct mg_op *op;
    bool blocks;
    int rc = check(&a, &blocks);

    if (rc)
        return rc;
    a.is_list = is_list && !(flags & MG_REDIS_ATOMIC);
    op = mg_redis_replies_begin(x) ? mg_op_start(x, on_cancel) : NULL;
    if (!op)
        return MG_ENOMEM;
    op->arg = note_of(a.is_list ? n : 1, a.is_list);
    rc = simulated(op, &a);
    if (rc > 0)
        return op->id;
    op->arg = NULL;
    if (rc < 0)
        end_saying(op, rc, "redis: out of memory");
    else
        begin(op, r, &a, blocks, timeout_ms);
    return op->id;
}
