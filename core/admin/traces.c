/* traces.c - the traces that are kept, for `moongate trace` and for whoever asks the admin listener. */
#include "admin/admin.h"
#include "proxy/proxy.h"
#include "proxy/traces.h"

#include <stdio.h>
#include <stdlib.h>

enum { AT_ONCE = 64 };

static void plain(struct mg_exchange *x, int status, const char *text)
{
    mg_answer(x, status, MG_STR("text/plain; charset=utf-8"), mg_str_c(text));
}

static struct mg_str argument(struct mg_exchange *x, const char *name)
{
    struct mg_str value;

    return mg_query_get(mg_handle_of(x), name, strlen(name), &value) == 0 ? value : mg_str(NULL, 0);
}

static int form_of(struct mg_exchange *x)
{
    return mg_str_eq(argument(x, "form"), MG_STR("text")) ? MG_TRACE_TEXT : MG_TRACE_JSON;
}

static struct mg_str type_of(int form)
{
    return form == MG_TRACE_TEXT ? MG_STR("text/plain; charset=utf-8") : MG_STR("application/json");
}

void mg_admin_trace(struct mg_exchange *x, struct mg_str id)
{
    struct mg_trace *t = mg_traces_find(id);
    int form = form_of(x), rc;
    struct mg_str text;

    if (!t) {
        plain(x, 404, "no trace with that id is kept\n");
        return;
    }
    rc = mg_trace_write(t, form, 0, &text);
    mg_trace_unref(t);
    if (rc != 0) {
        plain(x, 503, "out of memory\n");
        return;
    }
    mg_answer(x, 200, type_of(form), text);
    free((char *)(uintptr_t)text.p);
}

/* NULL, or what is wrong with the arguments. */
static const char *filter_of(struct mg_exchange *x, struct mg_trace_filter *f)
{
    struct mg_str route = argument(x, "route"), status = argument(x, "status"), sample = argument(x, "sample");
    char digits[32], *end;

    memset(f, 0, sizeof *f);
    f->share = 1;
    if (route.n >= sizeof f->route)
        return "route: no route has so long an id\n";
    if (route.n)
        memcpy(f->route, route.p, route.n);
    if (status.n && !mg_trace_filter_status(f, status))
        return "status: expected one such as 404, 5xx or 400-499\n";
    if (sample.n) {
        snprintf(digits, sizeof digits, "%.*s", (int)sample.n, sample.p);
        f->share = strtod(digits, &end);
        if (*end || !(f->share > 0 && f->share <= 1))
            return "sample: expected a share above 0, at most 1\n";
    }
    return NULL;
}

static size_t fitting(const struct mg_trace_filter *filter, struct mg_trace **t, size_t n)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++)
        count += mg_trace_filter_fits(filter, t[i]);
    return count;
}

static int write_all(FILE *f, int form, const struct mg_trace_filter *filter, struct mg_trace **t, size_t n)
{
    const char *comma = "";
    int rc = 0;

    for (size_t i = 0; i < n && rc == 0; i++) {
        struct mg_str text;

        if (!mg_trace_filter_fits(filter, t[i]))
            continue;
        rc = mg_trace_write(t[i], form, 0, &text);
        if (rc != 0)
            break;
        fputs(form == MG_TRACE_JSON ? comma : "", f);
        fwrite(text.p, 1, text.n, f);
        fputs(form == MG_TRACE_JSON ? "" : "\n", f);
        free((char *)(uintptr_t)text.p);
        comma = ",";
    }
    return rc;
}

static void answer_list(struct mg_exchange *x, int form, const struct mg_trace_filter *filter, uint64_t after)
{
    struct mg_trace *t[AT_ONCE];
    uint64_t last;
    size_t n = mg_traces_since(after, t, AT_ONCE, &last), size = 0;
    char *text = NULL;
    FILE *f = open_memstream(&text, &size);
    int rc = MG_ENOMEM;

    if (n == AT_ONCE)
        last = t[n - 1]->serial; /* there may be more: the next one goes on from here */
    if (f) {
        fprintf(f, form == MG_TRACE_JSON ? "{\"last\":%llu,\"n\":%zu,\"traces\":[" : "last %llu, %zu traces\n", (unsigned long long)last,
                fitting(filter, t, n));
        rc = write_all(f, form, filter, t, n);
        fputs(form == MG_TRACE_JSON ? "]}" : "", f);
        rc = fclose(f) != 0 ? MG_ENOMEM : rc;
    }
    for (size_t i = 0; i < n; i++)
        mg_trace_unref(t[i]);
    if (rc == 0)
        mg_answer(x, 200, type_of(form), mg_str(text, size));
    else
        plain(x, 503, "out of memory\n");
    free(text);
}

void mg_admin_traces(struct mg_exchange *x)
{
    struct mg_str follow = argument(x, "follow"), after_text = argument(x, "after");
    struct mg_trace_filter filter;
    const char *mistake = filter_of(x, &filter);
    uint64_t after = 0;

    if (!mistake && after_text.n && !mg_str_u64(after_text, UINT64_MAX, &after))
        mistake = "after: expected a number\n";
    if (mistake) {
        plain(x, 400, mistake);
        return;
    }
    if (follow.n && !mg_traces_follow(follow, &filter)) {
        plain(x, 503, "too many follow already\n");
        return;
    }
    answer_list(x, form_of(x), &filter, after);
}
