/* redis_sub.c - subscriptions: a connection of its own each, messages that wait to be asked for.
 *
 * Redis forgets a subscriber that is away, so a break may cost messages: after one the subscription is made again, and the first
 * thing received is "reconnected". Messages that nobody asks for are kept within `messages` and `messages_bytes`; beyond that the
 * oldest go, and the next thing received is "lost" with their number. */
#include "service/redis_parts.h"
#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>

enum { BACKOFF_MIN_MS = 50, BACKOFF_MAX_MS = 2000, NAMES_MAX = 1000 };

struct mg_redis_sub {
    struct mg_list node;             /* in the client's subs */
    struct mg_exchange *x;
    int id;                          /* the operation that began it */
    struct mg_redis_client *client;
    struct mg_redis_conn *conn;
    char *wire;                      /* SUBSCRIBE … ; free() */
    size_t wire_n;
    int names_n, confirmed_n;
    bool was_confirmed, is_dead, was_away, is_asked;
    struct mg_op *start, *receive;   /* that wait */
    struct mg_redis_reply *first, **last;
    int64_t messages_n, bytes, lost_n;
    struct mg_timer again;
    int64_t backoff_ms;
    char why[MG_REDIS_WHY_MAX];      /* it is dead: of what */
};

static void sub_connect(struct mg_redis_sub *sub);

/* ---- the seam ---- */

static int save_message(struct mg_op *op, struct mg_str *answer)
{
    struct mg_redis_reply *r = mg_redis_reply_of(op->x, op->id);
    char *out = NULL;
    size_t n = 0, room = 0;
    int rc;

    if (!r || !r->n)
        return MG_ENOENT;
    if (op->status < 0) {
        *answer = mg_redis_reply_text(r, 0);
        return 0;
    }
    rc = mg_redis_reply_resp(r, 0, &out, &n, &room);
    if (rc == 0)
        *answer = mg_arena_copy(&op->x->arena, out ? out : "", n);
    mg_free(out);
    return rc == 0 && answer->p ? 0 : MG_ENOMEM;
}

static const struct mg_op_kind receive_kind;

static int load_message(struct mg_op *op, int status, struct mg_str answer)
{
    struct mg_redis_reply *r = mg_redis_reply_new(0);
    struct mg_redis_reader *reader = mg_redis_reader_new();
    int rc = r && reader ? 0 : MG_ENOMEM;

    if (rc == 0 && status < 0)
        rc = mg_redis_reply_say(r, answer);
    else if (rc == 0 && (answer.n || op->kind == &receive_kind))
        rc = mg_redis_reader_feed(reader, answer.p, answer.n) == 0 && mg_redis_reader_next(reader, r) == 1 ? 0 : MG_EPROTO;
    mg_redis_reader_free(reader);
    if (rc < 0 && r)
        mg_redis_reply_say(r, MG_STR("redis: the answer that was given is no message"));
    mg_redis_reply_keep(op->x, op->id, r);
    return rc < 0 ? rc : status;
}

static const struct mg_op_kind start_kind = { "redis.subscribe", save_message, load_message };
static const struct mg_op_kind receive_kind = { "redis.receive", save_message, load_message };

/* ---- messages ---- */

static void end_op(struct mg_op **at, int status, struct mg_redis_reply *reply)
{
    struct mg_op *op = *at;

    *at = NULL;
    op->arg = NULL;
    mg_loop_disarm(&op->x->worker->loop, &op->timer);
    mg_redis_reply_keep(op->x, op->id, reply);
    mg_op_end(op, reply || status >= 0 ? status : MG_ENOMEM);
}

static void end_op_saying(struct mg_op **at, int status, const char *why)
{
    struct mg_redis_reply *r = mg_redis_reply_new(0);

    if (r)
        mg_redis_reply_say(r, mg_str_c(why));
    end_op(at, status, r);
}

static int64_t bytes_of(const struct mg_redis_reply *r)
{
    return (int64_t)(sizeof *r + r->room * sizeof *r->nodes + r->text_room);
}

static struct mg_redis_reply *take_first(struct mg_redis_sub *sub)
{
    struct mg_redis_reply *r = sub->first;

    if (!r)
        return NULL;
    sub->first = r->next;
    if (!sub->first)
        sub->last = &sub->first;
    r->next = NULL;
    sub->messages_n--;
    sub->bytes -= bytes_of(r);
    return r;
}

static void keep_message(struct mg_redis_sub *sub, struct mg_redis_reply *r)
{
    const struct mg_redis *conf = sub->client->conf;

    r->next = NULL;
    *sub->last = r;
    sub->last = &r->next;
    sub->messages_n++;
    sub->bytes += bytes_of(r);
    while (sub->messages_n > conf->messages || (sub->bytes > conf->messages_bytes && sub->messages_n > 1)) {
        mg_redis_reply_free(take_first(sub));
        sub->lost_n++;
    }
}

static void deliver(struct mg_redis_sub *sub, struct mg_redis_reply *r)
{
    if (sub->receive)
        end_op(&sub->receive, 0, r);
    else
        keep_message(sub, r);
}

/* [ "reconnected" ], [ "lost", n ]. */
static struct mg_redis_reply *event(const char *what, int64_t n)
{
    char text[64];
    int bytes = n < 0 ? snprintf(text, sizeof text, "*1\r\n+%s\r\n", what)
                      : snprintf(text, sizeof text, "*2\r\n+%s\r\n:%lld\r\n", what, (long long)n);
    struct mg_redis_reply *r = mg_redis_reply_new(0);
    struct mg_redis_reader *reader = mg_redis_reader_new();

    if (r && reader && mg_redis_reader_feed(reader, text, (size_t)bytes) == 0 && mg_redis_reader_next(reader, r) == 1) {
        mg_redis_reader_free(reader);
        return r;
    }
    mg_redis_reader_free(reader);
    mg_redis_reply_free(r);
    return NULL;
}

/* ---- its end ---- */

static void let_go(struct mg_redis_sub *sub)
{
    struct mg_redis_conn *c = sub->conn;

    sub->conn = NULL;
    if (c) {
        c->sub = NULL;
        mg_redis_conn_fail(c, MG_ECANCELED, "unsubscribed");
    }
    mg_loop_disarm(sub->client->loop, &sub->again);
}

static void sub_free(struct mg_redis_sub *sub)
{
    let_go(sub);
    mg_list_remove(&sub->node);
    if (sub->start)
        sub->start->arg = NULL;
    if (sub->receive)
        sub->receive->arg = NULL;
    while (sub->first)
        mg_redis_reply_free(take_first(sub));
    free(sub->wire);
    mg_free(sub);
}

static void die(struct mg_redis_sub *sub, int code, const char *why)
{
    snprintf(sub->why, sizeof sub->why, "%s", why);
    sub->is_dead = true;
    let_go(sub);
    if (sub->start)
        end_op_saying(&sub->start, code, why);
    if (sub->receive)
        end_op_saying(&sub->receive, code, why);
}

void mg_redis_subs_close(struct mg_redis_client *c)
{
    struct mg_list *n;

    while ((n = mg_list_first(&c->subs)))
        sub_free(mg_container(n, struct mg_redis_sub, node));
}

/* ---- connected, lost ---- */

void mg_redis_sub_lost(struct mg_redis_sub *sub, int code, const char *why)
{
    sub->conn = NULL;
    if (!sub->was_confirmed) {
        die(sub, code, why);
        return;
    }
    sub->was_away = true;
    sub->backoff_ms = sub->backoff_ms ? sub->backoff_ms * 2 : BACKOFF_MIN_MS;
    if (sub->backoff_ms > BACKOFF_MAX_MS)
        sub->backoff_ms = BACKOFF_MAX_MS;
    mg_loop_arm(sub->client->loop, &sub->again, sub->backoff_ms);
}

static void on_again(struct mg_timer *t)
{
    sub_connect(mg_container(t, struct mg_redis_sub, again));
}

static void sub_connect(struct mg_redis_sub *sub)
{
    struct mg_redis_client *c = sub->client;
    struct mg_redis_server *s = c->is_stale ? NULL : mg_redis_any_server(c);

    if (!s) {
        sub->is_asked = true;
        mg_redis_ask_again(c);
        return;
    }
    sub->conn = mg_redis_server_push(s, sub);
    if (!sub->conn)
        mg_redis_sub_lost(sub, s->down_code ? s->down_code : MG_EBUSY, s->down_why[0] ? s->down_why : "redis: out of memory");
}

void mg_redis_subs_pending(struct mg_redis_client *c)
{
    mg_list_each(n, &c->subs) {
        struct mg_redis_sub *sub = mg_container(n, struct mg_redis_sub, node);

        if (!sub->is_asked)
            continue;
        sub->is_asked = false;
        if (c->is_stale)
            mg_redis_sub_lost(sub, c->failed_code, c->failed_why);
        else
            sub_connect(sub);
    }
}

void mg_redis_sub_ready(struct mg_redis_sub *sub)
{
    sub->confirmed_n = 0;
    mg_redis_conn_write(sub->conn, sub->wire, sub->wire_n);
}

static void confirmed(struct mg_redis_sub *sub)
{
    struct mg_redis_reply *r;

    if (++sub->confirmed_n != sub->names_n)
        return;
    sub->was_confirmed = true;
    sub->backoff_ms = 0;
    if (sub->start)
        end_op(&sub->start, 0, NULL);
    if (!sub->was_away)
        return;
    sub->was_away = false;
    r = event("reconnected", -1);
    if (r)
        deliver(sub, r);
}

void mg_redis_sub_pushed(struct mg_redis_sub *sub, struct mg_redis_reply *r)
{
    struct mg_str what = mg_redis_reply_text(r, r->nodes[0].kind == MG_REDIS_ARRAY ? 1 : 0);

    if (r->nodes[0].kind == MG_REDIS_ERROR) {
        char why[MG_REDIS_WHY_MAX];

        snprintf(why, sizeof why, "%.*s", (int)(what.n < 300 ? what.n : 300), what.p);
        mg_redis_reply_free(r);
        die(sub, MG_EPROTO, why);
    } else if (mg_str_eq(what, MG_STR("message")) || mg_str_eq(what, MG_STR("pmessage"))) {
        deliver(sub, r);
    } else {
        bool is_confirmation = mg_str_eq(what, MG_STR("subscribe")) || mg_str_eq(what, MG_STR("psubscribe"));

        mg_redis_reply_free(r);
        if (is_confirmation)
            confirmed(sub);
    }
}

/* ---- asked for ---- */

static void start_cancel(struct mg_op *op)
{
    struct mg_redis_sub *sub = op->arg;

    if (sub)
        sub->start = NULL;
}

static struct mg_redis_sub *sub_new(struct mg_exchange *x, struct mg_redis_client *c, char *wire, size_t wire_n, int names_n)
{
    struct mg_redis_sub *sub = mg_calloc(1, sizeof *sub);

    if (!sub) {
        free(wire);
        return NULL;
    }
    sub->x = x;
    sub->client = c;
    sub->wire = wire;
    sub->wire_n = wire_n;
    sub->names_n = names_n;
    sub->last = &sub->first;
    mg_timer_init(&sub->again, on_again);
    mg_list_push(&c->subs, &sub->node);
    return sub;
}

static char *wire_of(const struct mg_str *names, int n, int flags, size_t *wire_n)
{
    struct mg_str *argv = mg_malloc((size_t)(n + 1) * sizeof *argv);
    char *wire;

    if (!argv)
        return NULL;
    argv[0] = flags & MG_REDIS_PATTERNS ? MG_STR("PSUBSCRIBE") : MG_STR("SUBSCRIBE");
    memcpy(argv + 1, names, (size_t)n * sizeof *argv);
    wire = mg_redis_format(argv, n + 1, wire_n);
    mg_free(argv);
    return wire;
}

int mg_redis_sub_start(struct mg_exchange *x, struct mg_redis *r, const struct mg_str *names, int n, int flags)
{
    struct mg_redis_client *c;
    struct mg_redis_sub *sub;
    struct mg_op *op;
    size_t wire_n;
    char *wire;
    int id;

    if (n < 1 || n > NAMES_MAX)
        return n < 1 ? MG_EINVAL : MG_ETOOBIG;
    wire = mg_redis_replies_begin(x) ? wire_of(names, n, flags, &wire_n) : NULL;
    op = wire ? mg_op_start(x, start_cancel) : NULL;
    if (!op) {
        free(wire);
        return MG_ENOMEM;
    }
    id = op->id;
    mg_timer_init(&op->timer, NULL);
    if (mg_outside_takes(op, &start_kind, mg_str(wire, wire_n))) {
        free(wire);
        return id;
    }
    c = mg_redis_client_here(x->worker, r);
    sub = c ? sub_new(x, c, wire, wire_n, n) : NULL;
    if (!sub) {
        if (!c)
            free(wire);
        end_op_saying(&op, MG_ENOMEM, "redis: out of memory");
        return id;
    }
    op->arg = sub;
    sub->id = id;
    sub->start = op;
    sub_connect(sub);
    return id;
}

void mg_redis_subs_end(struct mg_exchange *x)
{
    if (!x->worker->redis)
        return;
    mg_list_each(n, &x->worker->redis->clients) {
        mg_list_each(m, &mg_container(n, struct mg_redis_client, node)->subs) {
            struct mg_redis_sub *sub = mg_container(m, struct mg_redis_sub, node);

            if (sub->x == x)
                sub_free(sub);
        }
    }
}

static struct mg_redis_sub *sub_find(struct mg_exchange *x, int id)
{
    if (!x->worker->redis)
        return NULL;
    mg_list_each(n, &x->worker->redis->clients) {
        mg_list_each(m, &mg_container(n, struct mg_redis_client, node)->subs) {
            struct mg_redis_sub *sub = mg_container(m, struct mg_redis_sub, node);

            if (sub->x == x && sub->id == id)
                return sub;
        }
    }
    return NULL;
}

static void receive_cancel(struct mg_op *op)
{
    struct mg_redis_sub *sub = op->arg;

    mg_loop_disarm(&op->x->worker->loop, &op->timer);
    if (sub)
        sub->receive = NULL;
}

static void on_receive_late(struct mg_timer *t)
{
    struct mg_op *op = mg_container(t, struct mg_op, timer);
    struct mg_redis_sub *sub = op->arg;

    if (sub)
        sub->receive = NULL;
    end_op_saying(&op, MG_ETIMEOUT, "redis: no message in time");
}

static void receive(struct mg_redis_sub *sub, struct mg_op *op, int64_t timeout_ms)
{
    struct mg_redis_reply *r = NULL;

    op->arg = sub;
    sub->receive = op;
    if (sub->lost_n) {
        r = event("lost", sub->lost_n);
        sub->lost_n = r ? 0 : sub->lost_n;
    }
    if (!r)
        r = take_first(sub);
    if (r)
        end_op(&sub->receive, 0, r);
    else if (sub->is_dead)
        end_op_saying(&sub->receive, MG_ECLOSED, sub->why);
    else if (timeout_ms == 0)
        end_op_saying(&sub->receive, MG_ETIMEOUT, "redis: no message in time");
    else if (timeout_ms > 0)
        mg_loop_arm(&op->x->worker->loop, &op->timer, timeout_ms);
}

int mg_redis_sub_receive(struct mg_exchange *x, int id, int64_t timeout_ms)
{
    struct mg_redis_sub *sub = sub_find(x, id);
    struct mg_op *op;

    if (sub && sub->receive)
        return MG_EBUSY;
    if (!sub && !x->outside)
        return MG_ENOENT;
    op = mg_redis_replies_begin(x) ? mg_op_start(x, receive_cancel) : NULL;
    if (!op)
        return MG_ENOMEM;
    mg_timer_init(&op->timer, on_receive_late);
    if (mg_outside_takes(op, &receive_kind, MG_STR("*1\r\n$7\r\nRECEIVE\r\n")))
        return op->id;
    if (sub) {
        int op_id = op->id;

        receive(sub, op, timeout_ms);
        return op_id;
    }
    mg_op_drop(op);
    return MG_ENOENT;
}

int mg_redis_sub_end(struct mg_exchange *x, int id)
{
    struct mg_redis_sub *sub = sub_find(x, id);

    if (!sub)
        return x->outside ? 0 : MG_ENOENT;
    if (sub->start)
        end_op_saying(&sub->start, MG_ECLOSED, "redis: unsubscribed");
    if (sub->receive)
        end_op_saying(&sub->receive, MG_ECLOSED, "redis: unsubscribed");
    sub_free(sub);
    return 0;
}
