/* metrics.c - the scrape: what plugins declared and counted, then what the core knows by itself. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "admin/admin.h"
#include "base/sink.h"
#include "exchange/account.h"
#include "pdk/metric.h"
#include "service/redis.h"

static void head(FILE *f, const char *name, const char *kind, const char *help)
{
    fprintf(f, "# HELP moongate_%s %s\n# TYPE moongate_%s %s\n", name, help, name, kind);
}

static void one(FILE *f, const char *name, const char *kind, const char *help, double value)
{
    head(f, name, kind, help);
    fprintf(f, "moongate_%s %.17g\n", name, value);
}

enum figure { REQUESTS, CONNECTIONS, CONNECTIONS_OPEN, EXCHANGES_OPEN };

static double figure_of(const struct mg_worker *w, enum figure which)
{
    switch (which) {
    case REQUESTS: return (double)atomic_load_explicit(&w->requests, memory_order_relaxed);
    case CONNECTIONS: return (double)atomic_load_explicit(&w->connections, memory_order_relaxed);
    case CONNECTIONS_OPEN: return (double)atomic_load_explicit(&w->connections_open, memory_order_relaxed);
    default: return (double)atomic_load_explicit(&w->exchanges_open, memory_order_relaxed);
    }
}

static void by_worker(FILE *f, const struct mg_gateway *g, const char *name, const char *kind, const char *help, enum figure which)
{
    head(f, name, kind, help);
    for (int i = 0; i < g->workers_ever; i++)
        fprintf(f, "moongate_%s{worker=\"%d\"} %.17g\n", name, i, figure_of(&g->workers[i].worker, which));
}

static void resident(FILE *f)
{
    long pages = 0, all = 0;
    FILE *statm = fopen("/proc/self/statm", "re");

    if (statm && fscanf(statm, "%ld %ld", &all, &pages) == 2)
        one(f, "resident_bytes", "gauge", "Resident memory of the gateway process.", (double)pages * (double)sysconf(_SC_PAGESIZE));
    if (statm)
        fclose(statm);
}

static void garbage(FILE *f, const struct mg_gateway *g, const char *name, const char *kind, const char *help, int which)
{
    struct mg_garbage got;

    head(f, name, kind, help);
    for (int i = 0; i < g->workers_n; i++) {
        if (!mg_script_garbage(g->snapshot->script, i, &got))
            continue;
        fprintf(f, "moongate_%s{worker=\"%d\"} %g\n", name, i,
                which == 0 ? (double)got.cycles : (double)(which == 1 ? got.cpu_us : got.longest_us) / 1e6);
    }
}

static void scripts(FILE *f, const struct mg_gateway *g)
{
    if (!g->snapshot || !g->snapshot->script)
        return;
    head(f, "lua_bytes", "gauge", "Memory of each worker's Lua state.");
    for (int i = 0; i < g->workers_n; i++)
        fprintf(f, "moongate_lua_bytes{worker=\"%d\"} %zu\n", i, mg_script_memory(g->snapshot->script, i));
    head(f, "lua_limit_bytes", "gauge", "The most that each worker's Lua state may take.");
    for (int i = 0; i < g->workers_n; i++)
        fprintf(f, "moongate_lua_limit_bytes{worker=\"%d\"} %zu\n", i, mg_script_memory_max(g->snapshot->script));
    garbage(f, g, "lua_gc_cycles_total", "counter", "Cycles of garbage collection since the last reload.", 0);
    garbage(f, g, "lua_gc_seconds_total", "counter", "CPU time of the collector since the last reload.", 1);
    garbage(f, g, "lua_gc_longest_step_seconds", "gauge", "CPU time of its longest step since the last reload.", 2);
}

/* Backslash, quote and newline are written as escapes in label values. */
static void label(FILE *f, const char *name, struct mg_str value)
{
    fprintf(f, "%s=\"", name);
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] == '\n')
            fputs("\\n", f);
        else if (value.p[i] == '"' || value.p[i] == '\\')
            fprintf(f, "\\%c", value.p[i]);
        else
            fputc(value.p[i], f);
    }
    fputc('"', f);
}

static void suspect_lines(FILE *f, struct mg_quarantine *q, const char *name, bool is_out)
{
    struct mg_suspect s;

    for (int i = 0; mg_quarantine_at(q, i, &s); i++) {
        fprintf(f, "moongate_%s{", name);
        label(f, "plugin", mg_str_c(s.blame.plugin));
        fputc(',', f);
        label(f, "entry", mg_str_c(s.blame.entry));
        fputc(',', f);
        label(f, "route", mg_str_c(s.blame.route));
        fprintf(f, "} %.17g\n", is_out ? (double)s.is_out : (double)s.crashes);
    }
}

enum account_figure { CALLS, ERRORS, SECONDS, LUA_BYTES };

static double account_figure(const struct mg_account_sum *s, enum account_figure which)
{
    switch (which) {
    case CALLS: return (double)s->calls;
    case ERRORS: return (double)s->errors;
    case SECONDS: return s->seconds;
    default: return (double)s->lua_bytes;
    }
}

/* Entries that have never run, of this config or an earlier one, are left out. */
static void account_lines(FILE *f, const char *name, const char *help, enum account_figure which)
{
    struct mg_account_sum s;

    head(f, name, "counter", help);
    for (uint32_t row = 0; mg_account_sum(row, &s); row++) {
        if (s.calls == 0)
            continue;
        fprintf(f, "moongate_%s{", name);
        label(f, "plugin", mg_str_c(s.plugin));
        fputc(',', f);
        label(f, "entry", mg_str_c(s.entry));
        fputc(',', f);
        label(f, "route", mg_str_c(s.route));
        fprintf(f, "} %.17g\n", account_figure(&s, which));
    }
}

static void accounts(FILE *f)
{
    account_lines(f, "plugin_calls_total", "Calls of a plugin's functions.", CALLS);
    account_lines(f, "plugin_errors_total", "Of these, calls that failed.", ERRORS);
    account_lines(f, "plugin_seconds_total", "Time on a worker, without waits: sampled.", SECONDS);
    account_lines(f, "plugin_lua_allocated_bytes_total", "Lua memory allocated.", LUA_BYTES);
}

static void suspects(FILE *f, struct mg_quarantine *q)
{
    if (!q)
        return;
    head(f, "plugin_crashes_total", "counter", "Crashes and stalls of the gateway process that were a plugin's.");
    suspect_lines(f, q, "plugin_crashes_total", false);
    head(f, "plugin_quarantined", "gauge", "1: left out, as it crashed too often.");
    suspect_lines(f, q, "plugin_quarantined", true);
}

struct upstream_walk { FILE *f; const char *name; int which; };

static void upstream_line(void *arg, const struct mg_upstream_status *s)
{
    const struct upstream_walk *w = arg;
    double values[] = { s->active, s->idle, (double)s->requests, (double)s->failures };

    fprintf(w->f, "moongate_%s{", w->name);
    label(w->f, "upstream", s->name);
    fputc(',', w->f);
    label(w->f, "target", s->target);
    fprintf(w->f, "} %.17g\n", values[w->which]);
}

static void upstreams(FILE *f)
{
    static const struct { const char *name, *kind, *help; } figures[] = {
        { "upstream_connections_active", "gauge", "Connections to the target that serve a request." },
        { "upstream_connections_idle", "gauge", "Connections to the target that are kept." },
        { "upstream_target_requests_total", "counter", "Requests sent to the target." },
        { "upstream_target_failures_total", "counter", "Requests to the target that failed." },
    };

    for (int i = 0; i < 4; i++) {
        struct upstream_walk w = { f, figures[i].name, i };

        head(f, figures[i].name, figures[i].kind, figures[i].help);
        mg_upstream_each(upstream_line, &w);
    }
}

struct redis_walk { FILE *f; const char *name; int which; };

static void redis_line(void *arg, const struct mg_redis_stat *s)
{
    const struct redis_walk *w = arg;
    double values[] = { (double)s->requests, (double)s->errors, (double)s->failures, (double)s->open, (double)s->connections };

    fprintf(w->f, "moongate_%s{", w->name);
    label(w->f, "server", mg_str_c(s->server));
    fprintf(w->f, ",db=\"%d\",", s->db);
    label(w->f, "name", mg_str_c(s->name));
    fprintf(w->f, "} %.17g\n", values[w->which]);
}

static void redis(FILE *f)
{
    static const struct { const char *name, *kind, *help; } figures[] = {
        { "redis_requests_total", "counter", "Commands and transactions of plugins that have ended." },
        { "redis_errors_total", "counter", "Of these, answered by the server with an error." },
        { "redis_failures_total", "counter", "Of these, without an answer." },
        { "redis_connections_open", "gauge", "Connections to the client's servers." },
        { "redis_connections_total", "counter", "Connections to the client's servers that were begun." },
    };

    for (int i = 0; i < 5; i++) {
        struct redis_walk w = { f, figures[i].name, i };

        head(f, figures[i].name, figures[i].kind, figures[i].help);
        mg_redis_each(redis_line, &w);
    }
}

struct shared_walk { FILE *f; const char *name; int which; };

static void shared_line(void *arg, struct mg_shared *d)
{
    const struct shared_walk *w = arg;
    struct mg_shared_stat s;

    mg_shared_measure(d, &s);
    fprintf(w->f, "moongate_%s{", w->name);
    label(w->f, "dictionary", mg_shared_name(d));
    fprintf(w->f, "} %lld\n", (long long)(w->which == 0 ? s.capacity : w->which == 1 ? s.bytes : w->which == 2 ? s.items : s.evictions));
}

static void shared(FILE *f)
{
    static const struct { const char *name, *kind, *help; } figures[] = {
        { "shared_capacity_bytes", "gauge", "Most bytes of the shared dictionary." },
        { "shared_bytes", "gauge", "Bytes in use in the shared dictionary." },
        { "shared_items", "gauge", "Entries of the shared dictionary." },
        { "shared_evictions_total", "counter", "Entries that gave way although they were still good." },
    };

    for (int i = 0; i < 4; i++) {
        struct shared_walk w = { f, figures[i].name, i };

        head(f, figures[i].name, figures[i].kind, figures[i].help);
        mg_shared_each(shared_line, &w);
    }
}

static void core_figures(FILE *f, const struct mg_gateway *g)
{
    by_worker(f, g, "worker_requests_total", "counter", "Requests begun.", REQUESTS);
    by_worker(f, g, "worker_connections_total", "counter", "Connections accepted.", CONNECTIONS);
    by_worker(f, g, "worker_connections_open", "gauge", "Connections open.", CONNECTIONS_OPEN);
    by_worker(f, g, "worker_exchanges_open", "gauge", "Requests under way.", EXCHANGES_OPEN);
    one(f, "snapshot", "gauge", "Number of the configuration in force.", g->snapshot ? (double)g->snapshot->number : 0);
    one(f, "reloads_ok_total", "counter", "Configurations that came into force.", (double)g->reload.reloads_ok);
    one(f, "reloads_failed_total", "counter", "Configurations that were refused.", (double)g->reload.reloads_failed);
    one(f, "ready", "gauge", "1 while the gateway serves.", mg_gateway_is_ready(g));
    one(f, "start_time_seconds", "gauge", "When the process started, since 1970.", (double)g->started_us / 1e6);
    one(f, "log_lines_dropped_total", "counter", "Access log lines dropped as the disk lagged.", (double)mg_sink_dropped());
    resident(f);
    scripts(f, g);
    accounts(f);
    suspects(f, g->options.quarantine);
    upstreams(f);
    shared(f);
    redis(f);
}

struct mg_str mg_admin_metrics(const struct mg_gateway *g)
{
    struct mg_str plugins = { 0 };
    char *text = NULL;
    size_t n = 0;
    FILE *f;

    if (mg_metrics_text(&plugins) != 0)
        return mg_str(NULL, 0);
    f = open_memstream(&text, &n);
    if (!f) {
        free((char *)(uintptr_t)plugins.p);
        return mg_str(NULL, 0);
    }
    fwrite(plugins.p, 1, plugins.n, f);
    free((char *)(uintptr_t)plugins.p);
    core_figures(f, g);
    if (fclose(f) != 0) {
        free(text);
        return mg_str(NULL, 0);
    }
    return mg_str(text, n);
}
