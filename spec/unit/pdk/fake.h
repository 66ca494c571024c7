/* fake.h - a worker, a snapshot and an exchange without sockets, and chains of plugins written in the test. */
#ifndef MG_SPEC_FAKE_H
#define MG_SPEC_FAKE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "base/clock.h"
#include "plugin/chain.h"
#include "proxy/snapshot.h"

struct fake {
    struct mg_worker w;
    struct mg_snapshot snapshot;
    struct mg_route route;
    struct mg_arena arena;
    struct mg_chain_entry entries[8];
    struct mg_chain_entry *list[8];
    int entries_n;
    struct mg_exchange *x;
    struct mg_x *h;
    enum mg_verdict woken;     /* of the last mg_chain_wake */
    int wakes;
};
static struct fake *fake_now;

static inline void fake_woken(struct mg_exchange *x)
{
    fake_now->wakes++;
    fake_now->woken = mg_chain_wake(x);
}

static inline void fake_field(struct fake *f, struct mg_head *head, const char *name, const char *value)
{
    assert_int_equal(mg_headers_add(&head->headers, &f->x->arena, mg_str_c(name), mg_str_c(value)), 0);
}

static inline void fake_new_exchange(struct fake *f)
{
    struct mg_exchange *x = mg_exchange_new(&f->w, 1 << 20);

    assert_non_null(x);
    f->x = x;
    f->h = mg_handle_of(x);
    x->snapshot = &f->snapshot;
    x->route = &f->route;
    x->limits.buffered_body = 1 << 20;
    x->started_us = mg_clock_monotonic_us();
    x->req = mg_arena_zalloc(&x->arena, sizeof *x->req);
    x->req->method_text = MG_STR("GET");
    x->req->method = MG_M_GET;
    x->req->version = 11;
    x->path = MG_STR("/users/7");
    x->query = MG_STR("a=1&b=x%20y&a=2");
    x->has_query = true;
    x->target = MG_STR("/users/7?a=1&b=x%20y&a=2");
    x->host = MG_STR("api.example.com");
    x->port = 80;
    x->chain = mg_chain_new(f->list, f->entries_n, &f->arena);
    assert_non_null(x->chain);
}

static inline int fake_setup(void **state)
{
    struct fake *f = calloc(1, sizeof *f);

    assert_int_equal(mg_worker_init(&f->w, 3), 0);
    mg_this_worker = &f->w;
    mg_arena_init(&f->arena, NULL, 1 << 24);
    f->route.id = MG_STR("users");
    mg_exchange_woken = fake_woken;
    fake_now = f;
    fake_new_exchange(f);
    *state = f;
    return 0;
}

static inline void fake_end_exchange(struct fake *f)
{
    mg_op_cancel_all(f->x);
    mg_exchange_free(f->x);
    f->x = NULL;
}

static inline int fake_teardown(void **state)
{
    struct fake *f = *state;

    if (f->x)
        fake_end_exchange(f);
    mg_worker_deinit(&f->w);
    mg_arena_deinit(&f->arena);
    free(f);
    mg_log_capture(NULL, NULL);
    return 0;
}

/* Append an entry, and compile the chain anew. */
static inline struct mg_chain_entry *fake_entry(struct fake *f, const struct mg_plugin *plugin, void *self)
{
    struct mg_chain_entry *e = &f->entries[f->entries_n];

    e->plugin = plugin;
    e->self = self;
    e->when = -1;
    e->scope.plugin = mg_str_c(plugin->name);
    f->list[f->entries_n++] = e;
    f->x->chain = mg_chain_new(f->list, f->entries_n, &f->arena);
    assert_non_null(f->x->chain);
    return e;
}

static inline enum mg_verdict fake_phase(struct fake *f, int phase)
{
    mg_chain_begin(f->x, phase);
    return mg_chain_run(f->x);
}

/* Turn the loop until the chain was woken `times` more. */
static inline void fake_turn(struct fake *f, int times)
{
    for (int until = f->wakes + times; f->wakes < until;)
        uv_run(&f->w.loop.uv, UV_RUN_ONCE);
}

static inline void fake_quiet(int level, struct mg_str text, void *arg)
{
    (void)level;
    (void)text;
    (void)arg;
}

#define assert_str(s, literal) do { struct mg_str s_ = (s); assert_int_equal(s_.n, sizeof(literal) - 1); \
        assert_memory_equal(s_.p ? s_.p : "", literal, sizeof(literal) - 1); } while (0)
#define LIT(literal) literal, sizeof(literal) - 1

#endif
