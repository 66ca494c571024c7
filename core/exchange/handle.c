/* handle.c - taking and giving back exchanges, and the handles that name them.
 *
 * An exchange struct keeps its slot while it waits in the worker's spare list, so a new life costs a generation and a
 * cleared struct. A handle is worker (6 bits), slot (20), generation (26): 52 bits, exact as a Lua
 * number. A generation is never 0, so a handle is never NULL. */
#include "exchange/exchange.h"
#include "base/clock.h"

#include <stdlib.h>

enum { GENERATION_BITS = 26, SLOT_BITS = 20, SPARES_MAX = 1024, SLOTS_FIRST = 64 };
#define GENERATION_MASK ((1u << GENERATION_BITS) - 1)
#define SLOT_MASK ((1u << SLOT_BITS) - 1)
#define NO_SLOT UINT32_MAX

static bool slots_grow(struct mg_worker *w)
{
    uint32_t n = w->slots_n ? w->slots_n * 2 : SLOTS_FIRST;
    struct mg_slot *slots;
    uint32_t *next;

    if (w->slots_n >= MG_EXCHANGES_MAX)
        return false;
    slots = realloc(w->slots, n * sizeof *slots);
    if (!slots)
        return false;
    w->slots = slots;
    next = realloc(w->free_next, n * sizeof *next);
    if (!next)
        return false;
    w->free_next = next;
    memset(slots + w->slots_n, 0, (n - w->slots_n) * sizeof *slots);
    w->slots_n = n;
    return true;
}

/* slots_free holds slot + 1; 0 is the end, so that a zeroed worker is empty. */
static uint32_t slot_take(struct mg_worker *w)
{
    uint32_t slot;

    if (w->slots_free) {
        slot = w->slots_free - 1;
        w->slots_free = w->free_next[slot];
        return slot;
    }
    if (w->slots_used == w->slots_n && !slots_grow(w))
        return NO_SLOT;
    return w->slots_used++;
}

static void slot_give(struct mg_worker *w, uint32_t slot)
{
    w->slots[slot].x = NULL;
    w->free_next[slot] = w->slots_free;
    w->slots_free = slot + 1;
}

/* What a stale handle would match: the generation moves on at once when a life ends. */
static void generation_next(struct mg_slot *s)
{
    s->generation = (s->generation + 1) & GENERATION_MASK;
    if (!s->generation)
        s->generation = 1;
}

/* Where the compiler knows a size it writes `rep stos`, which takes longer to begin than libc's memset takes in all. */
static void zero(char *p, size_t n)
{
    __asm__("" : "+r"(n));
    memset(p, 0, n);
}

/* All but the arena and identity, and the bulk that is written before it is read: params, and the
 * socket address of the last try. */
static void clear(struct mg_exchange *x)
{
    char *p = (char *)x;
    const size_t from = offsetof(struct mg_exchange, snapshot);
    const size_t addr = offsetof(struct mg_exchange, wait.tried.sa), addr_end = offsetof(struct mg_exchange, wait.tried.text);
    const size_t params = offsetof(struct mg_exchange, found.params), params_end = offsetof(struct mg_exchange, found.params_n);

    zero(p + from, addr - from);
    zero(p + addr_end, params - addr_end);
    zero(p + params_end, sizeof *x - params_end);
}

static struct mg_exchange *make(struct mg_worker *w)
{
    struct mg_exchange *x = calloc(1, sizeof *x);
    uint32_t slot;

    if (!x)
        return NULL;
    slot = slot_take(w);
    if (slot == NO_SLOT) {
        free(x);
        return NULL;
    }
    x->worker = w;
    x->slot = slot;
    w->slots[slot].x = x;
    if (!w->slots[slot].generation)
        w->slots[slot].generation = w->generation_first & GENERATION_MASK;
    if (!w->slots[slot].generation)
        w->slots[slot].generation = 1;
    return x;
}

struct mg_exchange *mg_exchange_new(struct mg_worker *w, size_t budget)
{
    struct mg_exchange *x = w->spare_x;

    if (x) {
        w->spare_x = x->next_spare;
        w->spare_n--;
        clear(x);
    } else {
        x = make(w);
        if (!x)
            return NULL;
    }
    x->handle = (uint64_t)w->index << (SLOT_BITS + GENERATION_BITS) | (uint64_t)x->slot << GENERATION_BITS |
                w->slots[x->slot].generation;
    mg_arena_init(&x->arena, &w->loop.chunks, budget);
    mg_list_init(&x->ops);
    mg_list_init(&x->woken_node);
    mg_timer_init(&x->plugin_timer, NULL);
    mg_timer_init(&x->total_timer, NULL);
    mg_timer_init(&x->io_timer, NULL);
    mg_list_init(&x->wait.node);
    mg_timer_init(&x->wait.timer, NULL);
    x->outside = w->outside;
    x->started_wall_us = mg_clock_wall_us();
    atomic_store_explicit(&w->exchanges_open, atomic_load_explicit(&w->exchanges_open, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    return x;
}

void mg_exchange_free(struct mg_exchange *x)
{
    struct mg_worker *w = x->worker;

    generation_next(&w->slots[x->slot]);
    mg_list_remove(&x->woken_node);
    if (w->running == x)
        mg_worker_runs(w, NULL, NULL, 0);
    mg_arena_deinit(&x->arena);
    if (!x->is_uncounted)
        atomic_store_explicit(&w->exchanges_open, atomic_load_explicit(&w->exchanges_open, memory_order_relaxed) - 1,
                              memory_order_relaxed);
    x->handle = 0;
    if (w->spare_n < SPARES_MAX) {
        x->next_spare = w->spare_x;
        w->spare_x = x;
        w->spare_n++;
        return;
    }
    slot_give(w, x->slot);
    free(x);
}

struct mg_exchange *mg_handle_slow(uint64_t handle)
{
    struct mg_worker *w = mg_this_worker;
    uint32_t slot = (uint32_t)(handle >> GENERATION_BITS) & SLOT_MASK;
    struct mg_exchange *x;

    if (!w || w->is_confined || handle >> (SLOT_BITS + GENERATION_BITS) != (uint64_t)w->index || slot >= w->slots_used)
        return NULL;
    x = w->slots[slot].x;
    return x && x->handle == handle ? x : NULL;
}

int mg_handle_worker(uint64_t handle)
{
    uint64_t index = handle >> (SLOT_BITS + GENERATION_BITS);

    return index < MG_WORKERS_MAX ? (int)index : -1;
}

void mg_exchange_spares_free(struct mg_worker *w)
{
    while (w->spare_x) {
        struct mg_exchange *x = w->spare_x;

        w->spare_x = x->next_spare;
        free(x);
    }
    w->spare_n = 0;
    free(w->slots);
    free(w->free_next);
    w->slots = NULL;
    w->free_next = NULL;
    w->slots_n = w->slots_used = w->slots_free = 0;
}
