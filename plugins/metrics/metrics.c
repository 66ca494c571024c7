/* metrics.c - how many, how long, how large: counters and histograms for Prometheus.
 *
 *     plugins = { "metrics" }                            -- global chain: every request
 *     plugins = { { "metrics", consumers = true } }
 *
 * Only counts; the admin listener's /metrics shows the sums over all workers, beside what the core itself knows
 * (connections, upstreams, memory). Labels come from the config (route, upstream, consumer) or from short
 * fixed lists (method, status), never from what a client may invent, so the number of series is bounded by the config;
 * the core bounds it once more, and counts what is beyond as "other". */
#include "../no_memory.h"
#include <moongate/plugin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STATUS_CODE, STATUS_CLASS };

struct conf {
    int status;
    bool methods, consumers, latency, bytes;
    struct mg_array buckets; /* of double, seconds */
};
struct instance {
    const struct conf *conf;
    int requests, duration, upstream_duration, gateway_duration, bytes, failures, consumer_requests;
};

static const char *const status_words[] = { "code", "class", NULL };
static const struct mg_field bucket_item = { .type = MG_NUMBER, .has_min = true, .min = 0.0001 };
static const struct mg_field fields[] = {
    { .name = "status", .type = MG_ENUM, .offset = offsetof(struct conf, status), .values = status_words, .preset = "code",
      .doc = "What the status label holds: 404, or 4xx." },
    { .name = "methods", .type = MG_BOOL, .offset = offsetof(struct conf, methods), .preset = "true",
      .doc = "Tell methods apart; when false the label is empty." },
    { .name = "consumers", .type = MG_BOOL, .offset = offsetof(struct conf, consumers), .preset = "false",
      .doc = "Count requests of each consumer as well." },
    { .name = "latency", .type = MG_BOOL, .offset = offsetof(struct conf, latency), .preset = "true",
      .doc = "Keep histograms of the time taken in all, by the upstream and by the gateway." },
    { .name = "bytes", .type = MG_BOOL, .offset = offsetof(struct conf, bytes), .preset = "true",
      .doc = "Count bytes in and out." },
    { .name = "buckets", .type = MG_LIST, .offset = offsetof(struct conf, buckets), .item = &bucket_item,
      .item_bytes = sizeof(double), .doc = "Upper bounds of the histograms, in seconds, rising; the usual ones when none is given." },
    { 0 }
};

/* ---- when the config loads ---------------------------------------------------------------------- */

static int join_buckets(const struct conf *c, char *out, size_t room, struct mg_error *err)
{
    const double *b = c->buckets.items;
    size_t n = 0;

    out[0] = 0;
    for (size_t i = 0; i < c->buckets.n; i++) {
        if (i && b[i] <= b[i - 1]) {
            snprintf(err->message, sizeof(err->message), "buckets[%zu]: not above the one before it", i + 1);
            return err->code = MG_ECONF;
        }
        n += (size_t)snprintf(out + n, room - n, "%s%.9g", i ? "," : "", b[i]);
        if (n >= room - 24) {
            snprintf(err->message, sizeof(err->message), "buckets: too many");
            return err->code = MG_ECONF;
        }
    }
    return (int)n;
}

static bool declare(int *metric, int kind, const char *name, const char *help, const char *labels, const char *buckets,
                    struct mg_error *err)
{
    *metric = mg_metric(kind, name, strlen(name), help, strlen(help), labels, strlen(labels), buckets, strlen(buckets));
    if (*metric > 0)
        return true;
    if (*metric == MG_EINVAL)
        snprintf(err->message, sizeof(err->message), "%s: another entry declares it with other buckets", name);
    else
        snprintf(err->message, sizeof(err->message), "%s: cannot be declared (%d)", name, *metric);
    err->code = MG_ECONF;
    return false;
}

static bool declare_all(struct instance *in, const char *buckets, struct mg_error *err)
{
    return declare(&in->requests, MG_METRIC_COUNTER, "moongate_requests_total", "Requests answered.",
                   "route,upstream,method,status", "", err)
           && declare(&in->failures, MG_METRIC_COUNTER, "moongate_failures_total", "Requests that the gateway failed, by cause.",
                      "route,upstream,failure", "", err)
           && (!in->conf->consumers
               || declare(&in->consumer_requests, MG_METRIC_COUNTER, "moongate_consumer_requests_total", "Requests of consumers.",
                          "consumer,route,status", "", err))
           && (!in->conf->bytes
               || declare(&in->bytes, MG_METRIC_COUNTER, "moongate_bytes_total", "Bytes from and to clients, heads included.",
                          "route,direction", "", err))
           && (!in->conf->latency
               || (declare(&in->duration, MG_METRIC_HISTOGRAM, "moongate_request_duration_seconds",
                           "From a request's first byte to the answer's last.", "route", buckets, err)
                   && declare(&in->upstream_duration, MG_METRIC_HISTOGRAM, "moongate_upstream_duration_seconds",
                              "The part that the upstream took.", "route,upstream", buckets, err)
                   && declare(&in->gateway_duration, MG_METRIC_HISTOGRAM, "moongate_gateway_duration_seconds",
                              "The part that the gateway and its plugins took.", "route", buckets, err)));
}

static int create(const struct mg_entry *entry, void **self, struct mg_error *err)
{
    char buckets[1024];
    struct instance *in = calloc(1, sizeof(*in));

    if (!in)
        return no_memory(err);
    in->conf = entry->conf;
    if (join_buckets(in->conf, buckets, sizeof(buckets), err) < 0 || !declare_all(in, buckets, err)) {
        free(in);
        return err->code;
    }
    *self = in;
    return 0;
}

static void destroy(void *self)
{
    free(self);
}

/* ---- an exchange -------------------------------------------------------------------------------- */

/* One of the known methods, or "other". */
static struct mg_str method_label(struct mg_x *x)
{
    static const struct mg_str known[] = { { "GET", 3 }, { "POST", 4 }, { "HEAD", 4 }, { "PUT", 3 }, { "DELETE", 6 },
                                           { "PATCH", 5 }, { "OPTIONS", 7 }, { "CONNECT", 7 }, { "TRACE", 5 } };
    struct mg_str m;

    if (mg_request_method(x, &m) == 0)
        for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
            if (m.n == known[i].n && !memcmp(m.p, known[i].p, m.n))
                return known[i];
    return (struct mg_str){ "other", 5 };
}

/* "404", "4xx", or "0" when the client left before there was an answer. */
static struct mg_str status_label(const struct conf *c, int status, char room[3])
{
    if (status < 100 || status > 999)
        return (struct mg_str){ "0", 1 };
    room[0] = (char)('0' + status / 100);
    room[1] = c->status == STATUS_CLASS ? 'x' : (char)('0' + status / 10 % 10);
    room[2] = c->status == STATUS_CLASS ? 'x' : (char)('0' + status % 10);
    return (struct mg_str){ room, 3 };
}

static void observe(struct mg_x *x, int metric, int span, const struct mg_str *labels, size_t n)
{
    int64_t us = mg_x_span_us(x, span);

    if (us >= 0)
        mg_metric_add(metric, labels, n, (double)us / 1e6);
}

static enum mg_verdict on_log(struct mg_x *x, void *self, void *local)
{
    const struct instance *in = self;
    const struct conf *c = in->conf;
    struct mg_str route, upstream, consumer, failure, labels[4];
    char digits[3];

    (void)local;
    mg_route_id(x, &route); /* empty when there is none */
    mg_upstream_name(x, &upstream);
    labels[0] = route;
    labels[1] = upstream;
    labels[2] = c->methods ? method_label(x) : (struct mg_str){ "", 0 };
    labels[3] = status_label(c, mg_response_status(x), digits);
    mg_metric_add(in->requests, labels, 4, 1);
    if (c->consumers && mg_consumer_name(x, &consumer) == 0) {
        struct mg_str who[3] = { consumer, route, labels[3] };

        mg_metric_add(in->consumer_requests, who, 3, 1);
    }
    if (mg_x_failure(x, &failure) == 0 && failure.n) {
        labels[2] = failure;
        mg_metric_add(in->failures, labels, 3, 1);
    }
    if (c->bytes) {
        struct mg_str way[2] = { route, { "in", 2 } };

        mg_metric_add(in->bytes, way, 2, (double)mg_x_count(x, MG_BYTES_IN));
        way[1] = (struct mg_str){ "out", 3 };
        mg_metric_add(in->bytes, way, 2, (double)mg_x_count(x, MG_BYTES_OUT));
    }
    if (c->latency) {
        observe(x, in->duration, MG_SPAN_TOTAL, labels, 1);
        observe(x, in->upstream_duration, MG_SPAN_UPSTREAM, labels, 2);
        observe(x, in->gateway_duration, MG_SPAN_GATEWAY, labels, 1);
    }
    return MG_CONTINUE;
}

MG_PLUGIN_EXPORT = {
    .abi = MG_PLUGIN_ABI, .size = sizeof(struct mg_plugin), .name = "metrics", .version = "1.0",
    .doc = "Counts requests, times and bytes for Prometheus.",
    .fields = fields, .field_bytes = sizeof(struct mg_field), .conf_bytes = sizeof(struct conf),
    .create = create, .destroy = destroy, .on_log = on_log,
};
