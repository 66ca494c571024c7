/* alarm.h - a plugin's timers: once, or again and again.
 *
 * An alarm belongs to a chain entry on one worker. Each time it goes off a task runs its function (plugin/task.h), never two of one alarm at
 * once: a beat that comes while its task still runs is left out. It begins when the entry's snapshot comes into force, and it
 * stops when that goes out of force or its worker does; a task that runs then comes to its end. What is to happen once in the gateway is worker 0's, which is
 * there whatever the number of workers. */
#ifndef MG_PLUGIN_ALARM_H
#define MG_PLUGIN_ALARM_H

#include "plugin/task.h"

struct mg_alarm {
    struct mg_list node;            /* in worker->alarms */
    struct mg_worker *worker;
    struct mg_chain_entry *entry;
    mg_task_fn *fn;
    void *arg;
    void (*release)(void *arg);
    struct mg_timer timer;
    int64_t interval_ms, jitter_ms;
    int64_t beat_ms;                /* the loop's time at which it is next due, before jitter */
    int number;
    int flags;                      /* enum mg_timer_flags */
    bool is_running;                /* its task has not ended */
    bool is_over;                   /* stopped, or went off for the last time */
    bool is_held;                   /* until its snapshot is in force */
};

/* What an alarm is set with. */
struct mg_alarm_order {
    struct mg_chain_entry *entry;
    mg_task_fn *fn;
    void *arg;
    void (*release)(void *arg);     /* once, when the alarm is over and its task has ended; may be NULL */
    int64_t interval_ms, jitter_ms;
    int flags;
    bool is_held;                   /* it waits until the entry's snapshot is in force here */
};
/* Its number, > 0 and not used again on this worker; MG_EBUSY: the worker has as many as it may; MG_ECANCELED, MG_ENOMEM. Then arg is the
 * caller's. Worker thread. */
int mg_alarm_set(struct mg_worker *w, const struct mg_alarm_order *order);
/* It does not go off any more. MG_ENOENT: there is none of that number (any more). */
int mg_alarm_stop(struct mg_worker *w, int number);

/* w->snapshot has come into force: its alarms begin, those of others stop. */
void mg_alarms_follow(struct mg_worker *w);
/* Stop those of one snapshot, or all (NULL). */
void mg_alarms_end(struct mg_worker *w, const struct mg_snapshot *s);

#endif
