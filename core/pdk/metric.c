/* metric.c - declaring and counting. A series is a metric with one set of label values; every thread that counts in it has a
 * cell of its own, found by a hash table of that thread, so that counting takes no lock and shares no cache line. Cells
 * outlive their threads: what was counted stays counted. metric_text.c adds them up. */
#include "pdk/metric_private.h"
#include "base/alloc.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

struct mg_metrics mg_metrics = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* ---- declaring ---------------------------------------------------------------------------------- */

static bool name_ok(struct mg_str s, bool is_label)
{
    if (!s.n || (is_label && s.n >= 2 && s.p[0] == '_' && s.p[1] == '_'))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c == ':' && !is_label) ||
              (i && c >= '0' && c <= '9')))
            return false;
    }
    return true;
}

static bool own(struct mg_str s, struct mg_str *out)
{
    char *p = mg_malloc(s.n + 1);

    if (!p)
        return false;
    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = 0;
    *out = mg_str(p, s.n);
    return true;
}

/* Each is 0, MG_EINVAL or MG_ENOMEM. */
static int labels_read(struct mg_metric *m, struct mg_str list)
{
    struct mg_str item;

    while (list.n && mg_str_next(&list, ',', &item)) {
        if (m->labels_n == MG_LABELS_MAX || !name_ok(item, true) ||
            (m->kind == MG_METRIC_HISTOGRAM && mg_str_eq(item, MG_STR("le"))))
            return MG_EINVAL;
        if (!own(item, &m->labels[m->labels_n]))
            return MG_ENOMEM;
        m->labels_n++;
    }
    return 0;
}

static int buckets_read(struct mg_metric *m, struct mg_str list)
{
    struct mg_str item;

    if (m->kind != MG_METRIC_HISTOGRAM)
        return list.n ? MG_EINVAL : 0;
    if (!list.n)
        list = MG_STR("0.001,0.0025,0.005,0.01,0.025,0.05,0.1,0.25,0.5,1,2.5,5,10");
    while (list.n && mg_str_next(&list, ',', &item)) {
        char digits[40], *end;
        double v;

        if (!item.n || item.n >= sizeof digits || m->buckets_n == MG_BUCKETS_MAX)
            return MG_EINVAL;
        memcpy(digits, item.p, item.n);
        digits[item.n] = 0;
        v = strtod(digits, &end);
        if (*end || !isfinite(v) || (m->buckets_n && v <= m->buckets[m->buckets_n - 1]))
            return MG_EINVAL;
        m->buckets[m->buckets_n++] = v;
    }
    return 0;
}

static void metric_free(struct mg_metric *m)
{
    mg_free((char *)m->name.p);
    mg_free((char *)m->help.p);
    for (int i = 0; i < m->labels_n; i++)
        mg_free((char *)m->labels[i].p);
    mg_free(m);
}

static bool same_declaration(const struct mg_metric *a, const struct mg_metric *b)
{
    if (a->kind != b->kind || a->labels_n != b->labels_n || a->buckets_n != b->buckets_n)
        return false;
    for (int i = 0; i < a->labels_n; i++)
        if (!mg_str_eq(a->labels[i], b->labels[i]))
            return false;
    for (int i = 0; i < a->buckets_n; i++)
        if (a->buckets[i] < b->buckets[i] || a->buckets[i] > b->buckets[i])
            return false;
    return true;
}

/* Takes m: it becomes a metric, or goes. */
static int declare(struct mg_metric *m)
{
    int n, number = 0;

    pthread_mutex_lock(&mg_metrics.lock);
    n = atomic_load_explicit(&mg_metrics.n, memory_order_relaxed);
    for (int i = 0; i < n && !number; i++)
        if (mg_str_eq(mg_metrics.at[i]->name, m->name))
            number = same_declaration(mg_metrics.at[i], m) ? i + 1 : MG_EINVAL;
    if (number || n == MG_METRICS_MAX) {
        metric_free(m);
        number = number ? number : MG_ETOOBIG;
    } else {
        m->number = number = n + 1;
        mg_metrics.at[n] = m;
        atomic_store_explicit(&mg_metrics.n, n + 1, memory_order_release);
    }
    pthread_mutex_unlock(&mg_metrics.lock);
    return number;
}

int mg_metric(int kind, const char *name, size_t name_n, const char *help, size_t help_n, const char *labels, size_t labels_n,
              const char *buckets, size_t buckets_n)
{
    struct mg_metric *m;
    int rc;

    if (kind < MG_METRIC_COUNTER || kind > MG_METRIC_HISTOGRAM || !name_ok(mg_str(name, name_n), false))
        return MG_EINVAL;
    m = mg_calloc(1, sizeof *m);
    if (!m)
        return MG_ENOMEM;
    m->kind = kind;
    rc = own(mg_str(name, name_n), &m->name) && own(mg_str(help, help_n), &m->help) ? 0 : MG_ENOMEM;
    if (!rc)
        rc = labels_read(m, mg_str(labels, labels_n));
    if (!rc)
        rc = buckets_read(m, mg_str(buckets, buckets_n));
    if (rc) {
        metric_free(m);
        return rc;
    }
    return declare(m);
}

/* ---- series ---------------------------------------------------------------------------------------- */

static uint64_t hash_of(int metric, const struct mg_str *values, size_t n)
{
    uint64_t h = (uint64_t)metric * UINT64_C(0x9e3779b97f4a7c15);

    for (size_t i = 0; i < n; i++)
        h = (h ^ mg_str_hash(values[i])) * UINT64_C(0xff51afd7ed558ccd);
    return h ^ h >> 32;
}

static bool series_is(const struct mg_series *s, const struct mg_metric *m, const struct mg_str *values)
{
    if (s->metric != m)
        return false;
    for (int i = 0; i < m->labels_n; i++)
        if (!mg_str_eq(s->values[i], values[i]))
            return false;
    return true;
}

static struct mg_series *series_make(struct mg_metric *m, const struct mg_str *values)
{
    size_t bytes = 0;
    struct mg_series *s;
    char *to;

    for (int i = 0; i < m->labels_n; i++)
        bytes += values[i].n;
    s = mg_calloc(1, sizeof *s + bytes);
    if (!s)
        return NULL;
    to = s->bytes;
    for (int i = 0; i < m->labels_n; i++) {
        if (values[i].n)
            memcpy(to, values[i].p, values[i].n);
        s->values[i] = mg_str(to, values[i].n);
        to += values[i].n;
    }
    s->metric = m;
    s->next = m->series;
    m->series = s;
    m->series_n++;
    return s;
}

/* Under the lock. Past the limit one series, all of its values "other", takes the rest. */
static struct mg_series *series_get(struct mg_metric *m, const struct mg_str *values)
{
    struct mg_str other[MG_LABELS_MAX];
    struct mg_series *s;

    for (s = m->series; s; s = s->next)
        if (series_is(s, m, values))
            return s;
    if (m->series_n < MG_SERIES_MAX)
        return series_make(m, values);
    if (m->series_n > MG_SERIES_MAX)
        return m->other;
    for (int i = 0; i < m->labels_n; i++)
        other[i] = MG_STR("other");
    for (s = m->series; s; s = s->next)
        if (series_is(s, m, other))
            break;
    m->other = s ? s : series_make(m, other);
    m->series_n = MG_SERIES_MAX + 1;
    return m->other;
}

/* ---- a thread's cells ---------------------------------------------------------------------------------- */

struct slot { uint64_t hash; struct mg_cell *cell; };
struct local { struct slot *slots; size_t size, n; };

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static _Thread_local struct local mine;

static void local_free(void *arg)
{
    struct local *l = arg;

    mg_free(l->slots);
    memset(l, 0, sizeof *l);
}

static void main_ends(void)
{
    local_free(&mine);
}

static void prepare(void)
{
    pthread_key_create(&key, local_free);
    atexit(main_ends);
}

static bool local_grow(void)
{
    size_t size = mine.size ? mine.size * 2 : 64;
    struct slot *slots = mg_calloc(size, sizeof *slots);

    if (!slots)
        return false;
    pthread_once(&once, prepare);
    pthread_setspecific(key, &mine);
    for (size_t i = 0; i < mine.size; i++) {
        size_t k = mine.slots[i].hash & (size - 1);

        if (!mine.slots[i].cell)
            continue;
        while (slots[k].cell)
            k = (k + 1) & (size - 1);
        slots[k] = mine.slots[i];
    }
    mg_free(mine.slots);
    mine.slots = slots;
    mine.size = size;
    return true;
}

static struct mg_cell *cell_make(struct mg_metric *m, const struct mg_str *values)
{
    struct mg_cell *c = mg_calloc(1, sizeof *c + ((size_t)m->buckets_n + 1) * sizeof c->counts[0]);
    struct mg_series *s;

    if (!c)
        return NULL;
    pthread_mutex_lock(&mg_metrics.lock);
    s = series_get(m, values);
    if (s) {
        c->series = s;
        c->next = s->cells;
        s->cells = c;
    }
    pthread_mutex_unlock(&mg_metrics.lock);
    if (!s)
        mg_free(c);
    return s ? c : NULL;
}

/* Once a metric's sets are at their limit, unknown ones go to "other" without a slot here: this table stays bounded too. */
static struct mg_cell *cell_get(struct mg_metric *m, const struct mg_str *values)
{
    uint64_t hash = hash_of(m->number, values, (size_t)m->labels_n);
    struct mg_str other[MG_LABELS_MAX];
    struct mg_cell *c;
    bool is_other = true;
    size_t i;

    if ((mine.n + 1) * 2 > mine.size && !local_grow())
        return NULL;
    for (i = hash & (mine.size - 1); mine.slots[i].cell; i = (i + 1) & (mine.size - 1))
        if (mine.slots[i].hash == hash && series_is(mine.slots[i].cell->series, m, values))
            return mine.slots[i].cell;
    c = NULL;
    for (int k = 0; k < m->labels_n; k++) {
        other[k] = MG_STR("other");
        is_other = is_other && mg_str_eq(values[k], other[k]);
    }
    if (!is_other && m->other) {
        /* Known to another thread, perhaps; the lock is only for sets that are new to this one. */
        struct mg_series *s;

        pthread_mutex_lock(&mg_metrics.lock);
        for (s = m->series; s && !series_is(s, m, values); s = s->next)
            ;
        pthread_mutex_unlock(&mg_metrics.lock);
        if (!s)
            return cell_get(m, other);
    }
    c = cell_make(m, values);
    if (!c)
        return NULL;
    if (!series_is(c->series, m, values)) /* the limit was reached just now */
        hash = hash_of(m->number, c->series->values, (size_t)m->labels_n);
    for (i = hash & (mine.size - 1); mine.slots[i].cell; i = (i + 1) & (mine.size - 1))
        ;
    mine.slots[i] = (struct slot){ hash, c };
    mine.n++;
    return c;
}

/* One thread writes a cell, others only read it. */
static inline void add(_Atomic double *to, double by)
{
    atomic_store_explicit(to, atomic_load_explicit(to, memory_order_relaxed) + by, memory_order_relaxed);
}

int mg_metric_add(int metric, const struct mg_str *values, size_t n, double by)
{
    struct mg_metric *m;
    struct mg_cell *c;
    int i = 0;

    if (metric <= 0 || metric > atomic_load_explicit(&mg_metrics.n, memory_order_acquire))
        return MG_EINVAL;
    m = mg_metrics.at[metric - 1];
    if (n != (size_t)m->labels_n || isnan(by) || (m->kind == MG_METRIC_COUNTER && by < 0))
        return MG_EINVAL;
    c = cell_get(m, values);
    if (!c)
        return MG_ENOMEM;
    add(&c->sum, by);
    if (m->kind != MG_METRIC_HISTOGRAM)
        return 0;
    while (i < m->buckets_n && by > m->buckets[i])
        i++;
    atomic_store_explicit(&c->counts[i], atomic_load_explicit(&c->counts[i], memory_order_relaxed) + 1, memory_order_relaxed);
    return 0;
}
