#include "base/wheel.h"

void mg_wheel_init(struct mg_wheel *w, int64_t now_ms)
{
    for (int i = 0; i < MG_WHEEL_SLOTS; i++)
        mg_list_init(&w->slots[i]);
    w->now_ms = now_ms;
    w->tick = (uint64_t)now_ms / MG_TICK_MS;
    w->armed = 0;
}

void mg_timer_init(struct mg_timer *t, void (*fire)(struct mg_timer *))
{
    mg_list_init(&t->node);
    t->due_tick = 0;
    t->fire = fire;
}

/* The tick that begins after `after_ms` has passed for certain. (now_ms has lost its fraction.) */
static uint64_t due_tick(const struct mg_wheel *w, int64_t after_ms)
{
    if (after_ms < 0)
        after_ms = 0;
    if (after_ms > INT64_MAX / 2 - w->now_ms)
        after_ms = INT64_MAX / 2 - w->now_ms;
    return (uint64_t)(w->now_ms + after_ms) / MG_TICK_MS + 1;
}

void mg_timer_arm(struct mg_wheel *w, struct mg_timer *t, int64_t after_ms)
{
    uint64_t due = due_tick(w, after_ms);

    if (mg_timer_armed(t)) {
        if (t->due_tick == due)
            return;
        mg_list_remove(&t->node);
    } else {
        w->armed++;
    }
    t->due_tick = due;
    mg_list_push(&w->slots[due % MG_WHEEL_SLOTS], &t->node);
}

void mg_timer_disarm(struct mg_wheel *w, struct mg_timer *t)
{
    if (!mg_timer_armed(t))
        return;
    mg_list_remove(&t->node);
    w->armed--;
}

/* What is due is set aside first: a timer may arm, disarm or free any other while it fires. */
static void fire_slot(struct mg_wheel *w, struct mg_list *slot, uint64_t tick)
{
    struct mg_list due, *n;

    if (mg_list_empty(slot))
        return;
    mg_list_init(&due);
    mg_list_each(i, slot) {
        if (mg_container(i, struct mg_timer, node)->due_tick <= tick) {
            mg_list_remove(i);
            mg_list_push(&due, i);
        }
    }
    while ((n = mg_list_first(&due))) {
        struct mg_timer *t = mg_container(n, struct mg_timer, node);

        mg_list_remove(n);
        w->armed--;
        t->fire(t);
    }
}

void mg_wheel_skip(struct mg_wheel *w, int64_t now_ms)
{
    uint64_t to = (uint64_t)now_ms / MG_TICK_MS;

    if (to > w->tick)
        w->tick = to;
}

void mg_wheel_advance(struct mg_wheel *w, int64_t now_ms)
{
    uint64_t to = (uint64_t)now_ms / MG_TICK_MS, from = w->tick + 1;

    if (now_ms > w->now_ms)
        w->now_ms = now_ms;
    if (to <= w->tick)
        return;
    if (to - from >= MG_WHEEL_SLOTS) /* a long sleep: each slot once is enough */
        from = to - MG_WHEEL_SLOTS + 1;
    for (uint64_t t = from; t <= to && w->armed; t++) {
        w->tick = t;
        fire_slot(w, &w->slots[t % MG_WHEEL_SLOTS], to);
    }
    w->tick = to;
}

static bool has_due(const struct mg_list *slot, uint64_t tick)
{
    for (const struct mg_list *n = slot->next; n != slot; n = n->next) {
        if (mg_container(n, const struct mg_timer, node)->due_tick <= tick)
            return true;
    }
    return false;
}

int64_t mg_wheel_next_ms(const struct mg_wheel *w, int64_t now_ms)
{
    uint64_t last = (uint64_t)(now_ms + 1000) / MG_TICK_MS, here = (uint64_t)now_ms / MG_TICK_MS;

    if (!w->armed)
        return -1;
    for (uint64_t t = w->tick + 1; t <= last; t++) {
        if (has_due(&w->slots[t % MG_WHEEL_SLOTS], t > here ? t : here)) {
            int64_t left = (int64_t)(t * MG_TICK_MS) - now_ms;

            return left > 0 ? left : 0;
        }
        if (t - w->tick >= MG_WHEEL_SLOTS)
            break;
    }
    return 1000;
}
