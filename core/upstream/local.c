/* local.c - a worker's part: groups (one for each upstream that it has served) and the news about them. */
#include "upstream/parts.h"

/* ---- groups ---- */

static void entries_drop(struct mg_entry_target *entries, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (entries[i].pool)
            mg_pool_drop(entries[i].pool);
    mg_free(entries);
}

static const struct mg_entry_target *entry_with(const struct mg_group *g, const struct mg_target *t)
{
    for (size_t i = 0; i < g->entries_n; i++)
        if (g->entries[i].target == t)
            return &g->entries[i];
    return NULL;
}

static struct mg_entry_target *entries_of(struct mg_group *g, const struct mg_target_list *list)
{
    struct mg_entry_target *entries = mg_calloc(list->n + 1, sizeof *entries);

    for (size_t i = 0; entries && i < list->n; i++) {
        struct mg_entry_target *e = &entries[i];
        const struct mg_entry_target *was = entry_with(g, list->at[i].target);

        e->target = list->at[i].target;
        e->host = list->at[i].host;
        e->weight = list->at[i].weight;
        e->current = was ? was->current : 0;
        e->pool = mg_pool_of(g->local, &e->target->address, g->tls_digest, e->host);
        if (!e->pool) {
            entries_drop(entries, i);
            return NULL;
        }
    }
    return entries;
}

/* Shares of those that have left must not unbalance the others for long: the currents always add up to 0. */
static void settle(struct mg_group *g)
{
    int64_t sum = 0;

    g->weights = 0;
    for (size_t i = 0; i < g->entries_n; i++) {
        g->weights += g->entries[i].weight;
        sum += g->entries[i].current;
    }
    for (size_t i = 0; sum != 0 && i < g->entries_n; i++)
        g->entries[i].current = 0;
}

void mg_group_take_up(struct mg_group *g)
{
    uint32_t generation;
    struct mg_target_list *list;
    struct mg_entry_target *entries;

    if (g->list && g->generation == atomic_load_explicit(&g->live->generation, memory_order_acquire))
        return;
    list = mg_upstream_list(g->live, &generation);
    entries = entries_of(g, list);
    if (!entries) {
        mg_target_list_unref(list); /* out of memory: the old list serves on, and the next request tries again */
        return;
    }
    entries_drop(g->entries, g->entries_n);
    if (g->list)
        mg_target_list_unref(g->list);
    g->list = list;
    g->generation = generation;
    g->entries = entries;
    g->entries_n = list->n;
    settle(g);
    if (!mg_list_empty(&g->waits))
        mg_group_ready(g);
}

static void group_free(struct mg_group *g)
{
    entries_drop(g->entries, g->entries_n);
    if (g->list)
        mg_target_list_unref(g->list);
    g->local->groups[g->live->slot] = NULL;
    mg_list_remove(&g->node);
    mg_list_remove(&g->ready_node);
    mg_upstream_unref(g->live);
    mg_free((char *)g->tls_digest.p);
    mg_free(g);
}

static bool room_for(struct mg_upstreams_local *u, uint32_t slot)
{
    uint32_t n = u->groups_n ? u->groups_n : 16;
    struct mg_group **more;

    if (slot < u->groups_n)
        return true;
    while (n <= slot)
        n *= 2;
    more = mg_realloc(u->groups, n * sizeof *more);
    if (!more)
        return false;
    memset(more + u->groups_n, 0, (n - u->groups_n) * sizeof *more);
    u->groups = more;
    u->groups_n = n;
    return true;
}

static struct mg_group *group_new(struct mg_upstreams_local *u, const struct mg_upstream_spec *spec)
{
    struct mg_group *g;
    char *digest;

    if (!room_for(u, spec->live->slot))
        return NULL;
    g = mg_calloc(1, sizeof *g);
    digest = mg_malloc(spec->tls_digest.n + 1);
    if (!g || !digest) {
        mg_free(g);
        mg_free(digest);
        return NULL;
    }
    if (spec->tls_digest.n)
        memcpy(digest, spec->tls_digest.p, spec->tls_digest.n);
    g->tls_digest = mg_str(digest, spec->tls_digest.n);
    g->local = u;
    g->live = spec->live;
    atomic_fetch_add(&g->live->refs, 1);
    mg_list_init(&g->waits);
    mg_list_init(&g->ready_node);
    mg_list_push(&u->groups_all, &g->node);
    u->groups[g->live->slot] = g;
    return g;
}

struct mg_group *mg_group_of(struct mg_upstreams_local *u, const struct mg_upstream_spec *spec)
{
    uint32_t slot = spec->live->slot;
    struct mg_group *g = slot < u->groups_n ? u->groups[slot] : NULL;

    if (!g)
        g = group_new(u, spec);
    if (g)
        mg_group_take_up(g);
    return g && g->list ? g : NULL; /* a group without list is tried again by the next request */
}

void mg_group_ready(struct mg_group *g)
{
    if (g->is_ready || g->local->is_closing)
        return;
    g->is_ready = true;
    mg_list_push(&g->local->ready, &g->ready_node);
    uv_async_send(&g->local->wake);
}

/* No spec is left, so nobody can ask for a connection any more: let go of the pools, and go with the last connection. */
static void drop_if_left(struct mg_group *g)
{
    if (!atomic_load(&g->live->has_left) || !mg_list_empty(&g->waits))
        return;
    entries_drop(g->entries, g->entries_n);
    g->entries = NULL;
    g->entries_n = 0;
    if (g->conns == 0)
        group_free(g);
}

/* ---- news ---- */

static void run_ready(struct mg_upstreams_local *u)
{
    struct mg_list *node;

    while ((node = mg_list_first(&u->ready)) != NULL) {
        struct mg_group *g = mg_container(node, struct mg_group, ready_node);

        mg_list_remove(node);
        g->is_ready = false;
        mg_waits_run(g);
        drop_if_left(g);
    }
}

/* Many upstreams may stand here, so they are walked only when there is news of one. */
static void look_at_news(struct mg_upstreams_local *u)
{
    uint32_t news = atomic_load(&mg_live.news);

    if (u->news == news)
        return;
    u->news = news;
    mg_list_each(node, &u->groups_all) {
        struct mg_group *g = mg_container(node, struct mg_group, node);

        mg_group_take_up(g);
        drop_if_left(g);
    }
}

static void on_wake(uv_async_t *handle)
{
    struct mg_upstreams_local *u = mg_container(handle, struct mg_upstreams_local, wake);

    look_at_news(u);
    mg_waits_fail_now(u);
    run_ready(u);
}

static void on_wake_closed(uv_handle_t *handle)
{
    struct mg_upstreams_local *u = mg_container((uv_async_t *)handle, struct mg_upstreams_local, wake);

    u->wake_closed = true;
    mg_local_maybe_free(u);
}

struct mg_upstreams_local *mg_upstreams_local_new(struct mg_loop *loop, int worker)
{
    struct mg_upstreams_local *u;

    if (worker < 0 || worker >= MG_UPSTREAM_WORKERS_MAX)
        return NULL;
    u = mg_calloc(1, sizeof *u);
    if (!u)
        return NULL;
    u->loop = loop;
    u->worker = worker;
    mg_list_init(&u->groups_all);
    mg_list_init(&u->failed);
    mg_list_init(&u->ready);
    mg_list_init(&u->listener.node);
    if (uv_async_init(&loop->uv, &u->wake, on_wake) < 0) {
        mg_free(u);
        return NULL;
    }
    uv_unref((uv_handle_t *)&u->wake);
    u->listener.wake = &u->wake;
    mg_upstream_listen(&u->listener);
    return u;
}

void mg_upstreams_local_close(struct mg_upstreams_local *u)
{
    size_t i = 0;
    struct mg_str key;
    void *pool;

    if (u->is_closing)
        return;
    u->is_closing = true;
    mg_upstream_unlisten(&u->listener);
    while (mg_map_next(&u->pools, &i, &key, &pool))
        mg_pool_close_idle(pool);
    uv_close((uv_handle_t *)&u->wake, on_wake_closed);
}

void mg_local_maybe_free(struct mg_upstreams_local *u)
{
    if (!u->is_freed || !u->wake_closed || u->conns > 0)
        return;
    mg_list_each(node, &u->groups_all)
        group_free(mg_container(node, struct mg_group, node));
    mg_map_deinit(&u->pools);
    mg_free(u->groups);
    mg_free(u);
}

void mg_upstreams_local_free(struct mg_upstreams_local *u)
{
    if (!u)
        return;
    mg_upstreams_local_close(u);
    u->is_freed = true;
    mg_local_maybe_free(u);
}
