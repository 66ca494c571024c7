/* recording.c - `moongate record` begins, takes and ends a recording here. */
#include "admin/admin.h"
#include "base/alloc.h"
#include "proxy/proxy.h"
#include "proxy/traces.h"
#include "record/record.h"

#include <stdio.h>
#include <stdlib.h>

enum { SECRETS_MAX = 64 };

static struct mg_str argument(struct mg_exchange *x, const char *name)
{
    struct mg_str value;

    return mg_query_get(mg_handle_of(x), name, strlen(name), &value) == 0 ? value : mg_str(NULL, 0);
}

static void plain(struct mg_exchange *x, int status, struct mg_str text)
{
    mg_answer(x, status, MG_STR("text/plain; charset=utf-8"), text);
}

static double number(struct mg_exchange *x, const char *name, double preset, bool *ok)
{
    struct mg_str s = argument(x, name);
    char digits[32], *end;
    double n;

    if (!s.n)
        return preset;
    snprintf(digits, sizeof digits, "%.*s", (int)s.n, s.p);
    n = strtod(digits, &end);
    *ok = *ok && !*end && s.n < sizeof digits && n >= 0 && n < 9e15;
    return n;
}

/* "404", "5xx", "400-499"; the same words as for traces. */
static bool status_of(struct mg_str s, struct mg_record_conf *c)
{
    struct mg_trace_filter f = { 0 };

    if (!s.n)
        return true;
    if (!mg_trace_filter_status(&f, s))
        return false;
    c->status_from = f.status_from;
    c->status_to = f.status_to;
    return true;
}

void mg_admin_record_start(struct mg_exchange *x, struct mg_gateway *g)
{
    struct mg_str secret[SECRETS_MAX], rest = argument(x, "secret"), item;
    struct mg_record_conf conf = { .route = argument(x, "route"), .host = argument(x, "host"), .method = argument(x, "method"),
                                   .path = argument(x, "path"), .secret = secret };
    struct mg_worker *workers[MG_WORKERS_MAX];
    struct mg_error err = { 0 };
    bool ok = true;

    conf.sample = number(x, "sample", 1, &ok);
    conf.body_max = (int64_t)number(x, "limit", MG_RECORD_BODY, &ok);
    conf.count = (int64_t)number(x, "count", 0, &ok);
    conf.keep_secrets = mg_str_eq(argument(x, "secrets"), MG_STR("keep"));
    while (conf.secret_n < SECRETS_MAX && mg_str_next(&rest, ',', &item))
        secret[conf.secret_n++] = item;
    if (!ok || !status_of(argument(x, "status"), &conf)) {
        plain(x, 400, MG_STR("sample, limit, count: numbers; status: one such as 404, 5xx or 400-499\n"));
        return;
    }
    for (int i = 0; i < g->workers_n; i++)
        workers[i] = &g->workers[i].worker;
    if (mg_record_start(&conf, workers, g->workers_n, &err)) {
        plain(x, 200, MG_STR("recording\n"));
        return;
    }
    plain(x, err.code == MG_EBUSY ? 409 : err.code == MG_EINVAL ? 400 : 503, mg_str_c(err.message));
}

/* Documents, a line each, and a last line on how it stands. */
void mg_admin_record_take(struct mg_exchange *x)
{
    uint64_t recorded, dropped;
    struct mg_str text, state;
    bool more;
    char *all;

    if (!mg_record_take(&text, &more, &recorded, &dropped)) {
        plain(x, 404, MG_STR("nothing is being recorded\n"));
        return;
    }
    state = mg_arena_printf(&x->arena, "{\"more\":%s,\"recorded\":%llu,\"dropped\":%llu}\n", more ? "true" : "false",
                            (unsigned long long)recorded, (unsigned long long)dropped);
    x->arena.budget += 2 * (text.n + state.n);
    all = mg_arena_alloc(&x->arena, text.n + state.n + 1);
    if (all && text.n)
        memcpy(all, text.p, text.n);
    if (all && state.n)
        memcpy(all + text.n, state.p, state.n);
    if (all)
        mg_answer(x, 200, MG_STR("application/x-ndjson"), mg_str(all, text.n + state.n));
    else
        plain(x, 503, MG_STR("out of memory\n"));
    mg_free((void *)(uintptr_t)text.p);
}

void mg_admin_record_stop(struct mg_exchange *x)
{
    mg_record_stop();
    plain(x, 200, MG_STR("no more exchanges are taken up\n"));
}
