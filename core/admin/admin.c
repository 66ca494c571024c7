#include "admin/admin.h"

#include <stdio.h>
#include <stdlib.h>
#include "base/log.h"
#include "proxy/proxy.h"

static struct mg_gateway *gateway; /* of this process; set once, before the loop runs */

/* Somebody waits for a reload. The exchange may be over before it is. */
struct waiter {
    struct mg_reload_waiter waiter;
    uint64_t handle;
};

static void answer(struct mg_exchange *x, int status, struct mg_str type, struct mg_str body)
{
    mg_answer(x, status, type, body);
}

static void plain(struct mg_exchange *x, int status, struct mg_str body)
{
    answer(x, status, MG_STR("text/plain; charset=utf-8"), body);
}

static void live(struct mg_exchange *x)
{
    plain(x, 200, MG_STR("live\n"));
}

static void ready(struct mg_exchange *x)
{
    if (mg_gateway_is_ready(gateway))
        plain(x, 200, MG_STR("ready\n"));
    else
        plain(x, 503, gateway->state == MG_GW_STARTING ? MG_STR("starting\n") : MG_STR("draining\n"));
}

static void status(struct mg_exchange *x)
{
    char *text = mg_admin_status(gateway);

    if (text)
        answer(x, 200, MG_STR("application/json"), mg_str_c(text));
    else
        plain(x, 503, MG_STR("out of memory\n"));
    free(text);
}

static void metrics(struct mg_exchange *x)
{
    struct mg_str text = mg_admin_metrics(gateway);

    if (text.p)
        answer(x, 200, MG_STR("text/plain; version=0.0.4; charset=utf-8"), text);
    else
        plain(x, 503, MG_STR("out of memory\n"));
    free((char *)(uintptr_t)text.p);
}

static void reloaded(struct mg_reload_waiter *w, bool ok, const char *text)
{
    struct waiter *mine = mg_container(w, struct waiter, waiter);
    struct mg_exchange *x = mg_handle_slow(mine->handle);

    free(mine);
    if (x)
        plain(x, ok ? 200 : 422, mg_str_c(text));
}

static void reload(struct mg_exchange *x)
{
    struct waiter *w = calloc(1, sizeof *w);

    if (!w) {
        plain(x, 503, MG_STR("out of memory\n"));
        return;
    }
    w->waiter.done = reloaded;
    w->handle = x->handle;
    mg_reload_ask(&gateway->reload, &w->waiter);
}

/* POST /release?plugin=NAME; without a name: all. */
static void let_in(struct mg_exchange *x)
{
    struct mg_word word = { .note = MG_NOTE_RELEASED };
    struct mg_str name = x->query;
    int n;

    if (name.n && !mg_str_starts(name, MG_STR("plugin="))) {
        plain(x, 400, MG_STR("ask with ?plugin=NAME, or without\n"));
        return;
    }
    name = name.n ? mg_str(name.p + 7, name.n - 7) : name;
    snprintf(word.blame.plugin, sizeof word.blame.plugin, "%.*s", (int)name.n, name.n ? name.p : "");
    n = gateway->options.quarantine ? mg_quarantine_release(gateway->options.quarantine, &word.blame) : 0;
    if (n == 0) {
        plain(x, 404, MG_STR("nothing of that name is in quarantine\n"));
        return;
    }
    mg_binder_tell(gateway->binder, &word);
    reload(x);
}

static void record(struct mg_exchange *x)
{
    mg_admin_record_start(x, gateway);
}

static const struct { const char *path, *method; void (*serve)(struct mg_exchange *x); } pages[] = {
    { "/live", "GET", live },       { "/ready", "GET", ready },     { "/status", "GET", status },
    { "/metrics", "GET", metrics }, { "/reload", "POST", reload },
    { "/release", "POST", let_in }, { "/traces", "GET", mg_admin_traces },
    { "/recording", "POST", record }, { "/recording", "GET", mg_admin_record_take }, { "/recording", "DELETE", mg_admin_record_stop },
};

/* The page for this request; else the methods that its path has in `allow` (empty: there is no such path). */
static bool find(struct mg_exchange *x, char *allow, size_t room)
{
    size_t n = 0;

    allow[0] = '\0';
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        bool is_get = pages[i].method[0] == 'G';

        if (!mg_str_eq(x->path, mg_str_c(pages[i].path)))
            continue;
        if (mg_str_eq(x->req->method_text, mg_str_c(pages[i].method)) || (is_get && x->req->method == MG_M_HEAD)) {
            pages[i].serve(x);
            return true;
        }
        n += (size_t)snprintf(allow + n, room - n, "%s%s", n ? ", " : "", is_get ? "GET, HEAD" : pages[i].method);
    }
    return false;
}

static void serve(struct mg_exchange *x)
{
    char allow[64];

    if (find(x, allow, sizeof allow))
        return;
    if (allow[0]) {
        mg_answer_not_allowed(x, mg_str_c(allow), mg_arena_printf(&x->arena, "ask with %s\n", allow));
        return;
    }
    if (mg_str_starts(x->path, MG_STR("/traces/")) && (x->req->method == MG_M_GET || x->req->method == MG_M_HEAD)) {
        mg_admin_trace(x, mg_str(x->path.p + 8, x->path.n - 8));
        return;
    }
    plain(x, 404, MG_STR("there are /live, /ready, /status, /metrics, /traces, /recording, POST /reload and POST /release\n"));
}

static void started(struct mg_gateway *g)
{
    gateway = g;
}

void mg_admin_install(void)
{
    mg_proxy_admin = serve;
    mg_gateway_on_start = started;
}
