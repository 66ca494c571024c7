/* metric_private.h - what metric.c counts in and metric_text.c reads. */
#ifndef MG_PDK_METRIC_PRIVATE_H
#define MG_PDK_METRIC_PRIVATE_H

#include "base/str.h"

#include <pthread.h>
#include <stdatomic.h>

enum { MG_METRICS_MAX = 256, MG_LABELS_MAX = 12, MG_BUCKETS_MAX = 48, MG_SERIES_MAX = 1000 /* label sets of one metric */ };

struct mg_metric;
struct mg_series;

/* One thread's part of a series: written by that thread alone. Never freed. */
struct mg_cell {
    struct mg_cell *next;
    struct mg_series *series;
    _Atomic double sum;
    _Atomic uint64_t counts[];       /* histograms: by bucket, the last is +Inf */
};
struct mg_series {
    struct mg_series *next;
    struct mg_metric *metric;
    struct mg_cell *cells;
    struct mg_str values[MG_LABELS_MAX];
    char bytes[];
};
struct mg_metric {
    int kind, number, labels_n, buckets_n;
    struct mg_str name, help;
    struct mg_str labels[MG_LABELS_MAX];
    double buckets[MG_BUCKETS_MAX];
    struct mg_series *series;        /* newest first; under the lock */
    int series_n;                    /* MG_SERIES_MAX + 1: "other" has begun */
    struct mg_series *_Atomic other;
};
struct mg_metrics {
    pthread_mutex_t lock;            /* declarations, series, lists of cells */
    _Atomic int n;                   /* metrics below are complete and do not move */
    struct mg_metric *at[MG_METRICS_MAX];
};
extern struct mg_metrics mg_metrics;

#endif
