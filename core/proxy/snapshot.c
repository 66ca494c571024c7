/* snapshot.c - what the rooms below the proxy may ask of a snapshot. */
#include "proxy/snapshot.h"

static const struct mg_consumers *consumers(const struct mg_snapshot *s)
{
    return s->consumers;
}

static const struct mg_upstream_spec *upstream(const struct mg_snapshot *s, struct mg_str name)
{
    return mg_snapshot_upstream(s, name);
}

static const struct mg_template *error_body(const struct mg_snapshot *s, struct mg_str *type)
{
    *type = s->error_type;
    return s->error_body;
}

static struct mg_str tmp(const struct mg_snapshot *s)
{
    return s->tmp;
}

static struct mg_store *store(const struct mg_snapshot *s)
{
    return s->store;
}

static void tasks(const struct mg_snapshot *s, struct mg_task_terms *out)
{
    if (s->tasks.max)
        out->max = s->tasks.max;
    if (s->tasks.timers)
        out->timers = s->tasks.timers;
    if (s->tasks.memory)
        out->memory = s->tasks.memory;
    if (s->tasks.on_worker)
        out->on_worker_ms = s->tasks.on_worker;
    out->drain_ms = s->drain_ms;
    out->slot = s->slot;
    out->script = s->script;
}

const struct mg_snapshot_view mg_snapshot_view = { .consumers = consumers, .upstream = upstream, .error_body = error_body,
                                                       .store = store, .tmp = tmp, .tasks = tasks };
