#include "server/outgoing.h"
#include "server/gateway.h"
#include "service/http_hosts.h"

#include <stdatomic.h>

enum { SWEEP_MS = 60000 };

/* The process has one gateway; workers tell of new names through here. */
static struct mg_gateway *gateway;
static atomic_bool is_told;
static uv_timer_t sweep;
static bool sweep_is_on;

static void on_sweep(uv_timer_t *timer)
{
    struct mg_gateway *g = timer->data;

    if (mg_http_hosts_sweep(mg_loop_now_ms(&g->control.worker.loop), MG_HTTP_HOST_IDLE_MS) > 0)
        return;
    uv_timer_stop(timer);
    sweep_is_on = false;
}

static void changed_here(struct mg_worker *w, void *arg)
{
    struct mg_gateway *g = arg;

    (void)w;
    atomic_store(&is_told, false);
    if (g != gateway)
        return;
    mg_upstream_control_update(g->upstreams);
    if (sweep_is_on)
        return;
    sweep_is_on = true;
    uv_timer_start(&sweep, on_sweep, SWEEP_MS, SWEEP_MS);
}

/* From any thread; many at once are one message. */
static void changed(void)
{
    if (!atomic_exchange(&is_told, true) && mg_worker_post(&gateway->control.worker, changed_here, gateway) != 0)
        atomic_store(&is_told, false); /* out of memory: the next one tells */
}

void mg_outgoing_start(struct mg_gateway *g)
{
    gateway = g;
    atomic_store(&is_told, false);
    sweep_is_on = false;
    uv_timer_init(&g->control.worker.loop.uv, &sweep);
    sweep.data = g;
    mg_http_hosts_changed = changed;
}

void mg_outgoing_stop(struct mg_gateway *g)
{
    mg_http_hosts_changed = NULL;
    gateway = NULL;
    (void)g;
    uv_close((uv_handle_t *)&sweep, NULL);
}

void mg_outgoing_forget(void)
{
    mg_http_hosts_sweep(INT64_MAX, 0);
}
