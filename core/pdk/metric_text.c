/* metric_text.c - Prometheus' text exposition format 0.0.4. */
#include "pdk/metric.h"
#include "pdk/metric_private.h"
#include "base/alloc.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct buffer { char *p; size_t n, room; bool is_short; };

static void put(struct buffer *b, const char *p, size_t n)
{
    if (b->n + n + 1 > b->room) {
        size_t room = (b->n + n + 1) * 2;
        char *more = realloc(b->p, room);

        if (!more) {
            b->is_short = true;
            return;
        }
        b->p = more;
        b->room = room;
    }
    memcpy(b->p + b->n, p, n);
    b->n += n;
    b->p[b->n] = 0;
}

static void put_c(struct buffer *b, const char *s)
{
    put(b, s, strlen(s));
}

/* Backslash and newline; in label values the double quote too. */
static void put_escaped(struct buffer *b, struct mg_str s, bool quotes)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\\')
            put(b, "\\\\", 2);
        else if (s.p[i] == '\n')
            put(b, "\\n", 2);
        else if (s.p[i] == '"' && quotes)
            put(b, "\\\"", 2);
        else
            put(b, &s.p[i], 1);
    }
}

static void put_number(struct buffer *b, double v)
{
    char text[40];

    if (isinf(v)) {
        put_c(b, v > 0 ? "+Inf" : "-Inf");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    put_c(b, text);
}

/* name_suffix{a="x",le="…"} with a space after it. */
static void put_series(struct buffer *b, const struct mg_series *s, const char *suffix, const double *le)
{
    const struct mg_metric *m = s->metric;
    const char *sep = "{";

    put(b, m->name.p, m->name.n);
    put_c(b, suffix);
    for (int i = 0; i < m->labels_n; i++) {
        put_c(b, sep);
        put(b, m->labels[i].p, m->labels[i].n);
        put_c(b, "=\"");
        put_escaped(b, s->values[i], true);
        put_c(b, "\"");
        sep = ",";
    }
    if (le) {
        put_c(b, sep);
        put_c(b, "le=\"");
        put_number(b, *le);
        put_c(b, "\"");
        sep = ",";
    }
    put_c(b, *sep == ',' ? "} " : " ");
}

static void put_histogram(struct buffer *b, const struct mg_series *s)
{
    const struct mg_metric *m = s->metric;
    uint64_t counts[MG_BUCKETS_MAX + 1] = { 0 }, total = 0;
    double sum = 0;

    for (const struct mg_cell *c = s->cells; c; c = c->next) {
        sum += atomic_load_explicit(&c->sum, memory_order_relaxed);
        for (int i = 0; i <= m->buckets_n; i++)
            counts[i] += atomic_load_explicit(&c->counts[i], memory_order_relaxed);
    }
    for (int i = 0; i <= m->buckets_n; i++) {
        double le = i < m->buckets_n ? m->buckets[i] : INFINITY;

        total += counts[i];
        put_series(b, s, "_bucket", &le);
        put_number(b, (double)total);
        put_c(b, "\n");
    }
    put_series(b, s, "_sum", NULL);
    put_number(b, sum);
    put_c(b, "\n");
    put_series(b, s, "_count", NULL);
    put_number(b, (double)total);
    put_c(b, "\n");
}

static void put_metric(struct buffer *b, const struct mg_metric *m)
{
    static const char *const kinds[] = { "counter", "gauge", "histogram" };

    put_c(b, "# HELP ");
    put(b, m->name.p, m->name.n);
    put_c(b, " ");
    put_escaped(b, m->help, false);
    put_c(b, "\n# TYPE ");
    put(b, m->name.p, m->name.n);
    put_c(b, " ");
    put_c(b, kinds[m->kind]);
    put_c(b, "\n");
    for (const struct mg_series *s = m->series; s; s = s->next) {
        double sum = 0;

        if (m->kind == MG_METRIC_HISTOGRAM) {
            put_histogram(b, s);
            continue;
        }
        for (const struct mg_cell *c = s->cells; c; c = c->next)
            sum += atomic_load_explicit(&c->sum, memory_order_relaxed);
        put_series(b, s, "", NULL);
        put_number(b, sum);
        put_c(b, "\n");
    }
}

int mg_metrics_text(struct mg_str *out)
{
    struct buffer b = { 0 };

    pthread_mutex_lock(&mg_metrics.lock);
    for (int i = 0; i < mg_metrics.n; i++)
        put_metric(&b, mg_metrics.at[i]);
    pthread_mutex_unlock(&mg_metrics.lock);
    if (!b.p)
        put(&b, "", 0);
    if (b.is_short) {
        free(b.p);
        *out = mg_str(NULL, 0);
        return MG_ENOMEM;
    }
    *out = mg_str(b.p, b.n);
    return 0;
}
