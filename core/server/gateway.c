#include "record/record.h"
#include "server/gateway.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/sink.h"
#include "plugin/alarm.h"
#include "proxy/proxy.h"
#include "server/addresses.h"
#include "server/crash.h"
#include "server/onsave.h"
#include "server/outgoing.h"
#include "server/user.h"
#include "service/dns.h"
#include "server/watch.h"
#include "plugin/watch.h"
#include "proxy/traces.h"

enum { DRAIN_LOOK_MS = 20 };

void (*mg_gateway_on_start)(struct mg_gateway *g);

void mg_gateway_post(struct mg_worker *w, void (*fn)(struct mg_worker *, void *), void *arg)
{
    struct timespec pause = { .tv_nsec = 1000000 };

    for (int tries = 0; mg_worker_post(w, fn, arg) != 0; tries++) {
        if (tries == 1000) {
            mg_logf(MG_LOG_ERROR, "no memory for a message between threads");
            abort();
        }
        nanosleep(&pause, NULL);
    }
}

/* ---- the end ---- */

static void finish(struct mg_gateway *g)
{
    if (g->state == MG_GW_ENDED)
        return;
    g->state = MG_GW_ENDED;
    uv_stop(&g->control.worker.loop.uv);
}

void mg_gateway_fail(struct mg_gateway *g, int exit_code)
{
    g->exit_code = exit_code;
    finish(g);
}

static void close_here(struct mg_worker *w, void *arg)
{
    (void)arg;
    mg_client_close_all(w);
    mg_tasks_end(w, NULL);
}

static bool is_drained(const struct mg_gateway *g)
{
    for (int i = 0; i < g->workers_n; i++) {
        const struct mg_worker *w = &g->workers[i].worker;

        if (atomic_load_explicit(&w->connections_open, memory_order_relaxed) ||
            atomic_load_explicit(&w->exchanges_open, memory_order_relaxed))
            return false;
    }
    return true;
}

static void on_drain_look(uv_timer_t *timer)
{
    struct mg_gateway *g = timer->data;
    int64_t now_ms = mg_loop_now_ms(&g->control.worker.loop);

    if (g->drain_waiting == 0 && is_drained(g)) {
        mg_logf(MG_LOG_INFO, g->is_forced ? "stopped; the connections that were left are closed" : "stopped");
        finish(g);
        return;
    }
    if (now_ms < g->drain_deadline_ms)
        return;
    if (g->is_forced) { /* not even that helped */
        finish(g);
        return;
    }
    g->is_forced = true;
    g->drain_deadline_ms = now_ms + 2000;
    for (int i = 0; i < g->workers_n; i++)
        mg_gateway_post(&g->workers[i].worker, close_here, NULL);
}

static void drained_here(struct mg_worker *control, void *arg)
{
    struct mg_gateway *g = arg;

    (void)control;
    if (--g->drain_waiting == 0)
        mg_addresses_drop(g, false);
}

static void doors_closed(struct mg_listeners *l, void *arg)
{
    mg_client_drain_all(l->worker);
    mg_gateway_post(&((struct mg_gateway *)arg)->control.worker, drained_here, arg);
}

/* What is queued is taken first: those connections get an answer with `connection: close`. */
static void drain_here(struct mg_worker *w, void *arg)
{
    struct mg_thread *t = mg_container(w, struct mg_thread, worker);

    w->is_draining = true;
    if (t->gateway->is_handed_over)
        mg_listeners_release_all(&t->listeners);
    mg_alarms_end(w, NULL);
    mg_listeners_close(&t->listeners, NULL, NULL, doors_closed, arg);
}

static void begin_drain(struct mg_gateway *g)
{
    int64_t limit_ms = g->snapshot ? g->snapshot->drain_ms : 0;

    g->state = MG_GW_DRAINING;
    mg_logf(MG_LOG_INFO, "%s: no new connections, finishing what is under way (at most %lld s)",
            g->is_handed_over ? "a successor serves" : "stopping", (long long)limit_ms / 1000);
    mg_binder_note(g->binder, MG_NOTE_STOPPING);
    if (g->is_handed_over) {
        mg_listeners_release_all(&g->control.listeners);
        mg_listeners_close(&g->control.listeners, NULL, NULL, NULL, NULL);
    }
    g->drain_deadline_ms = mg_loop_now_ms(&g->control.worker.loop) + limit_ms;
    g->drain_waiting = g->workers_n;
    for (int i = 0; i < g->workers_n; i++)
        mg_gateway_post(&g->workers[i].worker, drain_here, g);
    uv_timer_start(&g->drain, on_drain_look, DRAIN_LOOK_MS, DRAIN_LOOK_MS);
}

void mg_gateway_stop(struct mg_gateway *g, bool at_once)
{
    if (g->state == MG_GW_STARTING) {
        finish(g);
        return;
    }
    if (g->state == MG_GW_SERVING)
        begin_drain(g);
    if (at_once && g->drain_deadline_ms) {
        mg_logf(MG_LOG_WARN, "stopping now: what is under way is cut");
        g->drain_deadline_ms = 0;
    }
}

void mg_gateway_hand_over(struct mg_gateway *g)
{
    if (g->state != MG_GW_SERVING)
        return;
    g->is_handed_over = true;
    begin_drain(g);
}

/* ---- signals ---- */

static void reopen_logs(void)
{
    struct mg_error err = { 0 };

    if (mg_log_reopen(&err) != 0)
        mg_logf(MG_LOG_ERROR, "%s", err.message);
    mg_sink_reopen_all();
    mg_logf(MG_LOG_INFO, "log files reopened");
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct mg_gateway *g = handle->data;

    if (number == SIGHUP && g->state <= MG_GW_SERVING)
        mg_reload_ask(&g->reload, NULL);
    else if (number == SIGUSR1)
        reopen_logs();
    else if (number == SIGTERM)
        mg_gateway_stop(g, g->state == MG_GW_DRAINING && !g->options.is_supervised); /* a service manager may tell both processes */
    else if (number == SIGQUIT)
        mg_gateway_stop(g, true);
    else if (number == SIGUSR2)
        mg_gateway_hand_over(g);
    else if (number == SIGINT)
        mg_gateway_stop(g, g->state == MG_GW_DRAINING);
}

/* A key press goes to the whole group: the supervisor gets it too and says what is to be done. */
static void take_signals(struct mg_gateway *g)
{
    static const int numbers[MG_GATEWAY_SIGNALS] = { SIGHUP, SIGUSR1, SIGTERM, SIGQUIT, SIGINT, SIGUSR2 };

    for (int i = 0; i < MG_GATEWAY_SIGNALS; i++) {
        uv_signal_init(&g->control.worker.loop.uv, &g->signals[i]);
        g->signals[i].data = g;
        if (numbers[i] == SIGINT && g->options.is_supervised)
            signal(SIGINT, SIG_IGN);
        else if (numbers[i] != SIGUSR2 || g->options.is_supervised)
            uv_signal_start(&g->signals[i], on_signal, numbers[i]);
    }
    signal(SIGPIPE, SIG_IGN);
}

/* ---- the beginning ---- */

static void write_ports(struct mg_gateway *g, const struct mg_list *addresses)
{
    int rc = g->options.ports_file ? mg_addresses_write(addresses, g->options.ports_file) : 0;

    if (rc != 0)
        mg_logf(MG_LOG_ERROR, "%s: %s", g->options.ports_file, strerror(-rc));
    g->options.ports_file = NULL;
}

/* The place may have been another worker's: what that one counted is counted on, and its handles fit no exchange of this one. */
static int init_worker(struct mg_gateway *g, int i)
{
    struct mg_worker *w = &g->workers[i].worker;
    uint64_t requests = atomic_load(&w->requests), connections = atomic_load(&w->connections);
    uint32_t generation = w->generation_first + 0x9e3779;
    int rc = mg_thread_init(&g->workers[i], g, i, false);

    atomic_store(&w->requests, requests);
    atomic_store(&w->connections, connections);
    w->generation_first = generation;
    g->workers[i].house_requests = requests;
    return rc;
}

static int add_workers(struct mg_gateway *g, int wanted, struct mg_error *err)
{
    for (int i = g->workers_n; i < wanted; i++) {
        int rc = init_worker(g, i);

        if (rc != 0)
            return mg_fail(err, rc, "cannot set up worker %d: %s", i, mg_error_name(rc));
        rc = mg_thread_start(&g->workers[i]);
        if (rc != 0) {
            mg_thread_deinit(&g->workers[i]);
            mg_this_worker = &g->control.worker;
            return mg_fail(err, rc, "cannot start the thread of worker %d: %s", i, mg_error_name(rc));
        }
        g->workers_n = i + 1;
        if (g->workers_ever < g->workers_n)
            g->workers_ever = g->workers_n;
        mg_record_tell(&g->workers[i].worker);
    }
    return 0;
}

void mg_gateway_end_workers(struct mg_gateway *g, int wanted)
{
    while (g->workers_n > wanted) {
        struct mg_thread *t = &g->workers[g->workers_n - 1];

        if (atomic_load(&t->worker.connections_open) || atomic_load(&t->worker.exchanges_open))
            return;
        mg_thread_stop(t);
        mg_thread_join(t);
        g->workers_n--;
        mg_log_number_c("worker", t->worker.index);
        mg_logf(MG_LOG_INFO, "a worker has ended");
    }
}

int mg_gateway_start_workers(struct mg_gateway *g, const struct mg_snapshot *s, struct mg_error *err)
{
    int rc;

    if (g->workers)
        return add_workers(g, s->workers, err);
    /* Another user may not write there. The sockets listen already: whoever connects now is served in a moment. */
    if (s->user.n || s->group.n)
        write_ports(g, &g->reload.opened);
    snprintf(g->user, sizeof g->user, "%.*s", (int)s->user.n, s->user.n ? s->user.p : "");
    snprintf(g->group, sizeof g->group, "%.*s", (int)s->group.n, s->group.n ? s->group.p : "");
    rc = mg_user_become(s->user, s->group, err);
    if (rc != 0)
        return rc;
    g->workers = calloc(MG_WORKERS_MAX, sizeof *g->workers);
    if (!g->workers)
        return mg_fail(err, MG_ENOMEM, "out of memory");
    return add_workers(g, s->workers, err);
}

void mg_gateway_ready(struct mg_gateway *g)
{
    write_ports(g, &g->addresses);
    g->state = MG_GW_SERVING;
    mg_watch_start(g);
}

static int init(struct mg_gateway *g, struct mg_error *err)
{
    struct mg_resolver_conf resolver = { .timeout_ms = 2000, .tries = 3 };
    int rc = mg_thread_init(&g->control, g, MG_WORKERS_MAX - 1, true);

    if (rc != 0)
        return mg_fail(err, rc, "cannot set up the control thread: %s", mg_error_name(rc));
    mg_this_worker = &g->control.worker;
    mg_list_init(&g->addresses);
    mg_reload_init(&g->reload, g);
    uv_timer_init(&g->control.worker.loop.uv, &g->watch);
    uv_timer_init(&g->control.worker.loop.uv, &g->drain);
    g->watch.data = g->drain.data = g;
    take_signals(g);
    if (g->options.watches && !(g->onsave = mg_onsave_new(g)))
        return mg_fail(err, MG_ENOMEM, "out of memory");
    g->upstreams = mg_upstream_control_new(&g->control.worker.loop, &resolver, err);
    if (!g->upstreams)
        return err->code;
    mg_outgoing_start(g);
    if (!mg_dns_open(&g->control.worker, &resolver, err))
        return err->code;
    g->builder = mg_builder_new(&g->control.worker, err);
    return g->builder ? 0 : err->code;
}

static void deinit(struct mg_gateway *g)
{
    struct mg_log_conf plain = { .level = MG_LOG_INFO };

    for (int i = 0; i < g->workers_n; i++)
        mg_thread_stop(&g->workers[i]);
    for (int i = 0; i < g->workers_n; i++)
        mg_thread_join(&g->workers[i]);
    if (g->builder)
        mg_builder_end(g->builder);
    if (g->upstreams) {
        mg_outgoing_stop(g);
        mg_upstream_control_free(g->upstreams);
    }
    mg_dns_close(&g->control.worker);
    mg_addresses_drop(g, true);
    for (int i = 0; i < MG_GATEWAY_SIGNALS; i++)
        uv_close((uv_handle_t *)&g->signals[i], NULL);
    uv_close((uv_handle_t *)&g->watch, NULL);
    uv_close((uv_handle_t *)&g->drain, NULL);
    mg_onsave_free(g->onsave);
    mg_reload_stop(&g->reload);
    mg_thread_deinit(&g->control);
    mg_outgoing_forget();
    (void)mg_log_configure(&plain, NULL); /* its path was the snapshot's */
    mg_reload_deinit(&g->reload);
    mg_builder_free(g->builder);
    free(g->workers);
    mg_sink_shutdown();
}

/* Few arenas, so that what one thread frees another reuses, and thresholds that stay: glibc raises them after the first
 * large free, and the process then keeps what a reload took. */
static void tame_malloc(void)
{
    mallopt(M_ARENA_MAX, 4);
    mallopt(M_MMAP_THRESHOLD, 128 * 1024);
    mallopt(M_TRIM_THRESHOLD, 128 * 1024);
}

int mg_gateway_run(const struct mg_gateway_options *options, struct mg_binder *binder)
{
    struct mg_gateway *g = calloc(1, sizeof *g);
    struct mg_error err = { 0 };
    int code;

    if (!g)
        return 1;
    tame_malloc();
    g->options = *options;
    g->binder = binder;
    g->started_us = mg_clock_wall_us();
    g->started_mono_us = mg_clock_monotonic_us();
    mg_crash_install(options->words);
    (void)mg_crash_thread_enter();
    if (init(g, &err) != 0) {
        mg_logf(MG_LOG_ERROR, "%s", err.message);
        free(g);
        return 1;
    }
    mg_watch_metrics();
    if (mg_gateway_on_start)
        mg_gateway_on_start(g);
    mg_reload_ask(&g->reload, NULL);
    uv_run(&g->control.worker.loop.uv, UV_RUN_DEFAULT);
    deinit(g);
    mg_traces_free();
    mg_crash_thread_leave();
    code = g->exit_code;
    free(g);
    return code;
}
