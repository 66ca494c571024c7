/* wheel.h - many timeouts, cheaply: a hashed timer wheel with ticks of 8 ms.
 *
 * Every exchange sets, moves and drops several timeouts that almost never fire. Here that costs a
 * list insertion. They fire late by up to two ticks, never early. The owner calls
 * mg_wheel_advance with the current time and asks mg_wheel_next_ms how long it may sleep. */
#ifndef MG_BASE_WHEEL_H
#define MG_BASE_WHEEL_H

#include "base/list.h"
#include <stdint.h>

enum { MG_TICK_MS = 8, MG_WHEEL_SLOTS = 1024 };

struct mg_timer {
    struct mg_list node;
    uint64_t due_tick;
    void (*fire)(struct mg_timer *t); /* t is disarmed when it is called, and may be armed again or freed in it */
};
struct mg_wheel {
    struct mg_list slots[MG_WHEEL_SLOTS];
    int64_t now_ms; /* what `after_ms` counts from; the owner may set it forward without advancing */
    uint64_t tick;  /* all due up to here has fired */
    size_t armed;
};

void mg_wheel_init(struct mg_wheel *w, int64_t now_ms);
void mg_timer_init(struct mg_timer *t, void (*fire)(struct mg_timer *));
/* Arm, or move when armed. Very cheap when the due tick does not change. */
void mg_timer_arm(struct mg_wheel *w, struct mg_timer *t, int64_t after_ms);
void mg_timer_disarm(struct mg_wheel *w, struct mg_timer *t); /* harmless when not armed */
static inline bool mg_timer_armed(const struct mg_timer *t) { return t->node.next != &t->node; }
/* The owner slept while nothing was armed (one that was armed just now is due later): catch up without looking. */
void mg_wheel_skip(struct mg_wheel *w, int64_t now_ms);
/* Fire what is due at now_ms (monotonic). */
void mg_wheel_advance(struct mg_wheel *w, int64_t now_ms);
/* Milliseconds until the next tick that has something due, at most 1000; -1 when nothing is armed. */
int64_t mg_wheel_next_ms(const struct mg_wheel *w, int64_t now_ms);

#endif
