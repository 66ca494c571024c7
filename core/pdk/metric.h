/* metric.h - the metrics' text for a scrape. Declaring and counting are in moongate/pdk.h.
 *
 * Each thread counts in cells of its own, written with relaxed atomics; a scrape adds them up. */
#ifndef MG_PDK_METRIC_H
#define MG_PDK_METRIC_H

#include "base/str.h"

/* All metrics in Prometheus' text format 0.0.4, from malloc: the caller frees out->p. 0 or MG_ENOMEM. Any thread. */
int mg_metrics_text(struct mg_str *out);

#endif
