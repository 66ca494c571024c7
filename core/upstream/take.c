/* take.c - giving connections to exchanges: at once from a pool, or after a wait.
 *
 *     take ─> idle connection there: returned
 *        └──> PARKED (no address yet, or connections_max reached) ──> CONNECTING ──> done(conn)
 *                │ connect_ms over: MG_ENOENT, MG_EBUSY                  │ refused: the next target
 *                └────────────────> FAILED ──> done(status) <────────────┘ none left, or connect_ms over
 *
 * `done` is never called from inside take: what fails there is told in the next turn. */
#include "upstream/parts.h"

enum { NO_LIMIT_MS = 24 * 3600 * 1000 };
enum wait_state { WAIT_OVER = 0, WAIT_PARKED, WAIT_CONNECTING, WAIT_FAILED };

static void finish(struct mg_upconn_wait *w, struct mg_upconn *c, int status, const char *why)
{
    mg_list_remove(&w->node);
    mg_loop_disarm(w->local->loop, &w->timer);
    w->state = WAIT_OVER;
    w->conn = NULL;
    w->done(w, c, status, why);
}

/* Tell it in the next turn. */
static void fail_later(struct mg_upconn_wait *w, int status, const char *why)
{
    struct mg_upstreams_local *u = w->local;

    mg_list_remove(&w->node);
    mg_loop_disarm(u->loop, &w->timer);
    w->state = WAIT_FAILED;
    w->status = status;
    w->why = why;
    mg_list_push(&u->failed, &w->node);
    if (!u->is_closing)
        uv_async_send(&u->wake);
}

void mg_waits_fail_now(struct mg_upstreams_local *u)
{
    struct mg_list now, *node;

    mg_list_init(&now);
    while ((node = mg_list_first(&u->failed)) != NULL) { /* what fails meanwhile waits for the next turn */
        mg_list_remove(node);
        mg_list_push(&now, node);
    }
    while ((node = mg_list_first(&now)) != NULL) {
        struct mg_upconn_wait *w = mg_container(node, struct mg_upconn_wait, node);

        finish(w, NULL, w->status, w->why);
    }
}

void mg_count_failure(struct mg_target *t, int worker)
{
    mg_count_more(&mg_target_counts(t, worker)->failures);
}

/* ---- connecting ---- */

static int64_t left_ms(const struct mg_upconn_wait *w)
{
    return w->deadline_ms - mg_loop_now_ms(w->local->loop);
}

/* A silent target must not use up the time of the others. */
static int64_t share_ms(const struct mg_upconn_wait *w)
{
    int64_t left = left_ms(w), share = left / ((int64_t)w->tries_left + 1);

    if (share < 1000)
        share = 1000;
    return share < left ? share : left;
}

/* An idle connection to the target at w->at, if there is one. */
static struct mg_upconn *idle_of(struct mg_upconn_wait *w)
{
    struct mg_entry_target *e = &w->group->entries[w->at];
    struct mg_upconn *c = w->fresh ? NULL : mg_pool_pop(e->pool, w->group, e->target, w->spec);

    if (c)
        w->tried = e->target->address;
    return c;
}

/* Begin with the target at w->at. false: out of memory. */
static bool connect_to(struct mg_upconn_wait *w)
{
    struct mg_group *g = w->group;

    w->tried = g->entries[w->at].target->address;
    w->conn = mg_conn_new(g, w->at, w);
    if (!w->conn)
        return false;
    w->state = WAIT_CONNECTING;
    mg_loop_arm(g->local->loop, &w->timer, share_ms(w));
    return true;
}

/* After a failure: the next target, or the end. */
static void try_next(struct mg_upconn_wait *w, int status, const char *why)
{
    struct mg_group *g = w->group;
    struct mg_upconn *c;

    w->conn = NULL;
    mg_group_take_up(g);
    if (w->tries_left == 0 || left_ms(w) <= 0 || g->entries_n == 0) {
        finish(w, NULL, status, why);
        return;
    }
    w->tries_left--;
    w->at = (w->at + 1) % (uint32_t)g->entries_n;
    c = idle_of(w);
    if (c)
        finish(w, c, 0, NULL);
    else if (!connect_to(w))
        finish(w, NULL, MG_ENOMEM, "out of memory");
}

void mg_wait_opened(struct mg_upconn_wait *w, struct mg_upconn *c, int status, const char *why)
{
    struct mg_target *t = c->target;

    if (status == 0) {
        finish(w, c, 0, NULL);
        return;
    }
    mg_count_failure(t, c->pool->local->worker);
    mg_conn_close(c);
    try_next(w, status, why ? why : uv_strerror(status));
}

/* ---- waiting ---- */

static void on_timer(struct mg_timer *t)
{
    struct mg_upconn_wait *w = mg_container(t, struct mg_upconn_wait, timer);
    struct mg_upconn *c = w->conn;

    if (w->state == WAIT_PARKED) {
        if (w->group->entries_n == 0)
            finish(w, NULL, MG_ENOENT, "no address is known yet");
        else
            finish(w, NULL, MG_EBUSY, "all connections are in use");
        return;
    }
    mg_count_failure(c->target, w->local->worker);
    mg_conn_close(c);
    try_next(w, MG_ETIMEOUT, "no connection in time");
}

/* The limit is on connections, so an idle one to another target has to go first. */
static void make_room(struct mg_group *g, const struct mg_upstream_spec *spec)
{
    if (spec->connections_max > 0 && g->conns >= spec->connections_max)
        mg_pool_evict(g);
}

/* A connection now, or a start at it; false: it has to wait. *conn is an idle one, or NULL when w is connecting
 * or has failed. */
static bool serve(struct mg_upconn_wait *w, struct mg_upconn **conn)
{
    struct mg_group *g = w->group;

    *conn = NULL;
    if (g->entries_n == 0 || (w->spec->connections_max > 0 && g->used >= w->spec->connections_max))
        return false;
    w->at = mg_balance_next(g);
    mg_count_more(&mg_target_counts(g->entries[w->at].target, g->local->worker)->requests);
    *conn = idle_of(w);
    if (*conn)
        return true;
    w->tries_left = (uint32_t)g->entries_n - 1;
    make_room(g, w->spec);
    if (!connect_to(w))
        fail_later(w, MG_ENOMEM, "out of memory");
    return true;
}

static void park(struct mg_upconn_wait *w)
{
    struct mg_group *g = w->group;

    if (g->entries_n == 0 && g->list->is_settled) {
        fail_later(w, MG_ENOENT, "no target's name resolves");
        return;
    }
    w->state = WAIT_PARKED;
    mg_list_push(&g->waits, &w->node);
    mg_loop_arm(g->local->loop, &w->timer, left_ms(w));
}

void mg_waits_run(struct mg_group *g)
{
    struct mg_list *node;
    struct mg_upconn *c;

    while ((node = mg_list_first(&g->waits)) != NULL) {
        struct mg_upconn_wait *w = mg_container(node, struct mg_upconn_wait, node);

        if (g->entries_n == 0 && g->list->is_settled) {
            fail_later(w, MG_ENOENT, "no target's name resolves");
            continue;
        }
        if (!serve(w, &c))
            return;
        if (c)
            finish(w, c, 0, NULL);
        else if (w->state == WAIT_CONNECTING)
            mg_list_remove(&w->node);
    }
}

struct mg_upconn *mg_upstream_take(struct mg_upstreams_local *u, const struct mg_upstream_spec *spec,
                                   struct mg_upconn_wait *w)
{
    struct mg_group *g = mg_group_of(u, spec);
    int64_t connect_ms = w->connect_ms > 0 ? w->connect_ms : spec->connect_ms;
    struct mg_upconn *c;

    mg_list_init(&w->node);
    mg_timer_init(&w->timer, on_timer);
    w->tried.text[0] = '\0';
    w->spec = spec;
    w->conn = NULL;
    w->local = u;
    w->group = g;
    w->state = WAIT_OVER;
    w->deadline_ms = mg_loop_now_ms(u->loop) + (connect_ms > 0 ? connect_ms : NO_LIMIT_MS);
    if (!g)
        fail_later(w, MG_ENOMEM, "out of memory");
    else if (mg_list_empty(&g->waits) && serve(w, &c))
        return c;
    else
        park(w);
    return NULL;
}

void mg_upstream_cancel(struct mg_upconn_wait *w)
{
    struct mg_upconn *c = w->conn;

    if (w->state == WAIT_OVER)
        return;
    mg_list_remove(&w->node);
    mg_loop_disarm(w->local->loop, &w->timer);
    w->state = WAIT_OVER;
    w->conn = NULL;
    if (c)
        mg_conn_close(c);
}

void mg_upstream_report(struct mg_upconn *conn, int error)
{
    if (error)
        mg_count_failure(conn->target, conn->pool->local->worker);
}
