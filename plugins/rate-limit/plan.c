#include "rate_limit.h"
#include "../digits.h"
#include "../no_memory.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t put_number(char *p, int64_t v)
{
    return digits_put(p, (uint64_t)v); /* never negative: limits, what is left of them, seconds */
}

static int64_t seconds(int64_t ms)
{
    return (ms + 999) / 1000;
}

static bool dup_text(struct mg_str *out, const char *p, size_t n)
{
    char *copy = malloc(n + 1);

    if (!copy)
        return false;
    memcpy(copy, p, n);
    copy[n] = 0;
    *out = (struct mg_str){ copy, n };
    return true;
}

static int check_limit(const struct limit_conf *l, size_t i, const struct limit_conf *all, struct mg_error *err)
{
    if (l->limit < 1 || l->window_ms < 1) {
        snprintf(err->message, sizeof(err->message), "limits[%zu]: limit and window both have to be given", i + 1);
        return err->code = MG_ECONF;
    }
    for (size_t k = 0; k < i; k++)
        if (all[k].window_ms == l->window_ms && all[k].name.n == l->name.n
            && (l->name.n == 0 || !memcmp(all[k].name.p, l->name.p, l->name.n))) {
            snprintf(err->message, sizeof(err->message), "limits[%zu]: the same name and window as limits[%zu]", i + 1, k + 1);
            return err->code = MG_ECONF;
        }
    return 0;
}

static int make_limit(struct limit *out, const struct limit_conf *l, struct mg_str group, struct mg_str space, struct mg_error *err)
{
    char name[72], text[1024];
    int n = l->name.n ? snprintf(name, sizeof(name), "%.*s", (int)l->name.n, l->name.p)
                      : snprintf(name, sizeof(name), "%llds", (long long)seconds(l->window_ms));

    (void)n;
    out->limit = l->limit;
    out->window_ms = l->window_ms;
    n = snprintf(text, sizeof(text), "%.*s/%.*s/%s/%lld", (int)space.n, space.p, (int)group.n, group.n ? group.p : "", name,
                 (long long)l->window_ms);
    if (n >= (int)sizeof(text)) {
        snprintf(err->message, sizeof(err->message), "name: too long");
        return err->code = MG_ECONF;
    }
    if (!dup_text(&out->space, text, (size_t)n))
        return no_memory(err);
    n = snprintf(text, sizeof(text), "\"%s\";r=", name);
    if (!dup_text(&out->head, text, (size_t)n))
        return no_memory(err);
    n = (int)put_number(text, l->limit);
    return dup_text(&out->limit_text, text, (size_t)n) ? 0 : no_memory(err);
}

static int make_policy(struct plan *plan, struct mg_error *err)
{
    char text[LIMITS_MAX * 160];
    size_t n = 0;

    for (size_t i = 0; i < plan->n; i++) {
        const struct limit *l = &plan->limits[i];

        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%.*s;q=%lld;w=%lld", i ? ", " : "", (int)(l->head.n - 3), l->head.p,
                              (long long)l->limit, (long long)seconds(l->window_ms));
    }
    return dup_text(&plan->policy, text, n) ? 0 : no_memory(err);
}

int plan_make(struct plan *plan, const struct plan_conf *conf, struct mg_str group, struct mg_str space, struct mg_error *err)
{
    struct limit_conf alone = { conf->limit, conf->window_ms, { NULL, 0 } };
    const struct limit_conf *l = conf->limits.items;
    size_t n = conf->limits.n;

    if (n && (conf->limit || conf->window_ms)) {
        snprintf(err->message, sizeof(err->message), "give limit and window, or limits, not both");
        return err->code = MG_ECONF;
    }
    if (n > LIMITS_MAX) {
        snprintf(err->message, sizeof(err->message), "limits: at most %d", LIMITS_MAX);
        return err->code = MG_ECONF;
    }
    plan->group = group;
    if (!n && !conf->limit && !conf->window_ms) /* an empty tier: no limit */
        return 0;
    if (!n) {
        l = &alone;
        n = 1;
    }
    plan->limits = calloc(n, sizeof(*plan->limits));
    if (!plan->limits)
        return no_memory(err);
    plan->n = n;
    for (size_t i = 0; i < n; i++)
        if (check_limit(&l[i], i, l, err) < 0 || make_limit(&plan->limits[i], &l[i], group, space, err) < 0)
            return err->code;
    return make_policy(plan, err);
}

void plan_free(struct plan *plan)
{
    for (size_t i = 0; i < plan->n; i++) {
        free((void *)plan->limits[i].space.p);
        free((void *)plan->limits[i].head.p);
        free((void *)plan->limits[i].limit_text.p);
    }
    free(plan->limits);
    free((void *)plan->policy.p);
}
