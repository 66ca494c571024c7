#include <cjson/cJSON.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include "admin/admin.h"
#include "base/clock.h"
#include "base/sink.h"
#include "exchange/account.h"

static const char *state_name(int state)
{
    static const char *const names[] = { "starting", "serving", "draining", "ended" };

    return names[state];
}

static void add_str(cJSON *o, const char *key, struct mg_str s)
{
    char text[256];

    snprintf(text, sizeof text, "%.*s", (int)(s.n < sizeof text ? s.n : sizeof text - 1), s.p ? s.p : "");
    cJSON_AddStringToObject(o, key, text);
}

static void add_time(cJSON *o, const char *key, int64_t wall_us)
{
    time_t seconds = (time_t)(wall_us / 1000000);
    char text[32] = "";
    struct tm tm;

    if (gmtime_r(&seconds, &tm))
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    cJSON_AddStringToObject(o, key, text);
}

static void add_reload(cJSON *o, const struct mg_reload *r)
{
    cJSON_AddNumberToObject(o, "reloads_ok", (double)r->reloads_ok);
    cJSON_AddNumberToObject(o, "reloads_failed", (double)r->reloads_failed);
    cJSON_AddBoolToObject(o, "under_way", r->phase != MG_RELOAD_IDLE);
    if (!r->last_us)
        return;
    cJSON_AddBoolToObject(o, "last_ok", r->last_ok);
    add_time(o, "last_at", r->last_us);
    cJSON_AddStringToObject(o, "last_text", r->last_text ? r->last_text : "");
}

static void add_snapshots(cJSON *o, const struct mg_reload *r)
{
    cJSON *list = cJSON_AddArrayToObject(o, "generations");

    for (int i = 0; i < MG_GENERATIONS; i++) {
        cJSON *g;

        if (!r->generations[i].snapshot)
            continue;
        g = cJSON_CreateObject();
        cJSON_AddNumberToObject(g, "snapshot", (double)r->generations[i].number);
        cJSON_AddBoolToObject(g, "retired", r->generations[i].is_retired);
        cJSON_AddItemToArray(list, g);
    }
}

static const char *worker_state(const struct mg_gateway *g, int index)
{
    if (index >= g->workers_n)
        return "ended";
    return g->snapshot && index >= g->snapshot->workers ? "leaving" : "serving";
}

static void add_worker(cJSON *list, const struct mg_gateway *g, int index)
{
    const struct mg_thread *t = &g->workers[index];
    const struct mg_worker *w = &t->worker;
    cJSON *o = cJSON_CreateObject();

    cJSON_AddNumberToObject(o, "index", index);
    cJSON_AddStringToObject(o, "state", worker_state(g, index));
    cJSON_AddNumberToObject(o, "requests", (double)atomic_load_explicit(&w->requests, memory_order_relaxed));
    cJSON_AddNumberToObject(o, "connections", (double)atomic_load_explicit(&w->connections, memory_order_relaxed));
    cJSON_AddNumberToObject(o, "connections_open", (double)atomic_load_explicit(&w->connections_open, memory_order_relaxed));
    cJSON_AddNumberToObject(o, "exchanges_open", (double)atomic_load_explicit(&w->exchanges_open, memory_order_relaxed));
    cJSON_AddNumberToObject(o, "turns", (double)atomic_load_explicit(&w->turns, memory_order_relaxed));
    cJSON_AddBoolToObject(o, "held_by_a_plugin", t->stall_reported);
    cJSON_AddItemToArray(list, o);
}

static void add_upstream(void *arg, const struct mg_upstream_status *s)
{
    cJSON *o = cJSON_CreateObject();

    add_str(o, "name", s->name);
    add_str(o, "target", s->target);
    cJSON_AddBoolToObject(o, "resolved", s->resolved);
    cJSON_AddNumberToObject(o, "active", s->active);
    cJSON_AddNumberToObject(o, "idle", s->idle);
    cJSON_AddNumberToObject(o, "requests", (double)s->requests);
    cJSON_AddNumberToObject(o, "failures", (double)s->failures);
    cJSON_AddItemToArray(arg, o);
}

static void add_listeners(cJSON *list, const struct mg_gateway *g)
{
    mg_list_each(n, (struct mg_list *)(uintptr_t)&g->addresses) {
        const struct mg_open_address *a = mg_container(n, struct mg_open_address, node);
        cJSON *o = cJSON_CreateObject();

        cJSON_AddStringToObject(o, "name", a->name);
        cJSON_AddStringToObject(o, "address", a->text);
        cJSON_AddBoolToObject(o, "tls", a->is_tls);
        cJSON_AddBoolToObject(o, "admin", a->is_admin);
        cJSON_AddItemToArray(list, o);
    }
}

static void add_suspects(cJSON *list, struct mg_quarantine *q)
{
    struct mg_suspect s;

    for (int i = 0; q && mg_quarantine_at(q, i, &s); i++) {
        cJSON *o = cJSON_CreateObject();

        cJSON_AddStringToObject(o, "plugin", s.blame.plugin);
        cJSON_AddStringToObject(o, "entry", s.blame.entry);
        cJSON_AddStringToObject(o, "route", s.blame.route);
        cJSON_AddStringToObject(o, "phase", s.blame.phase);
        cJSON_AddStringToObject(o, "cause", s.blame.cause);
        cJSON_AddNumberToObject(o, "crashes", (double)s.crashes);
        cJSON_AddBoolToObject(o, "quarantined", s.is_out);
        if (s.is_out)
            add_time(o, "since", s.out_since_us);
        cJSON_AddItemToArray(list, o);
    }
}

static void add_plugins(cJSON *list)
{
    struct mg_account_sum s;

    for (uint32_t row = 0; mg_account_sum(row, &s); row++) {
        cJSON *o = s.calls ? cJSON_CreateObject() : NULL;

        if (!o)
            continue;
        cJSON_AddStringToObject(o, "plugin", s.plugin);
        cJSON_AddStringToObject(o, "entry", s.entry);
        cJSON_AddStringToObject(o, "route", s.route);
        cJSON_AddNumberToObject(o, "calls", (double)s.calls);
        cJSON_AddNumberToObject(o, "errors", (double)s.errors);
        cJSON_AddNumberToObject(o, "seconds", s.seconds);
        cJSON_AddNumberToObject(o, "lua_bytes", (double)s.lua_bytes);
        cJSON_AddItemToArray(list, o);
    }
}

char *mg_admin_status(const struct mg_gateway *g)
{
    cJSON *o = cJSON_CreateObject(), *workers;
    char *text;

    cJSON_AddStringToObject(o, "version", MG_VERSION);
    cJSON_AddStringToObject(o, "state", state_name(g->state));
    cJSON_AddNumberToObject(o, "pid", (double)getpid());
    add_time(o, "started_at", g->started_us);
    cJSON_AddNumberToObject(o, "uptime_s", (double)((mg_clock_monotonic_us() - g->started_mono_us) / 1000000));
    if (g->snapshot) {
        cJSON_AddNumberToObject(o, "snapshot", (double)g->snapshot->number);
        add_str(o, "digest", g->snapshot->digest);
        cJSON_AddNumberToObject(o, "routes", (double)g->snapshot->routes_n);
    }
    add_snapshots(o, &g->reload);
    add_reload(cJSON_AddObjectToObject(o, "reload"), &g->reload);
    workers = cJSON_AddArrayToObject(o, "workers");
    for (int i = 0; i < g->workers_ever; i++)
        add_worker(workers, g, i);
    add_plugins(cJSON_AddArrayToObject(o, "plugins"));
    add_suspects(cJSON_AddArrayToObject(o, "crashes"), g->options.quarantine);
    add_listeners(cJSON_AddArrayToObject(o, "listeners"), g);
    mg_upstream_each(add_upstream, cJSON_AddArrayToObject(o, "upstreams"));
    cJSON_AddNumberToObject(o, "log_lines_dropped", (double)mg_sink_dropped());
    text = cJSON_Print(o);
    cJSON_Delete(o);
    return text;
}
