/* access_log.c - one line for each request, once it is over.
 *
 *     { "access-log", path = "logs/access.log" }                        -- JSON, the usual fields
 *     { "access-log", path = "syslog", format = "combined" }
 *     { "access-log", extra = { tenant = "${request.headers.x-tenant}" }, sample = 0.1 }
 *
 * The line is built in a worker's own buffer and handed to the log thread: nothing here waits for a
 * disk. When the disk lags, lines are dropped and counted (docs/plugins/access-log.md). */
#include "columns.h"
#include "../no_memory.h"
#include <stdio.h>
#include <stdlib.h>

struct conf {
    struct mg_str path, format;
    struct mg_array fields, extra; /* of struct pair */
    double sample;
    int64_t text_max;
};
struct instance {
    const struct conf *conf;
    struct format format;
    struct mg_sink *sink;
    bool is_json;
};
enum { LINE_MAX_BYTES = 32768 };
struct worker {
    struct log_clock clock;
    char line[LINE_MAX_BYTES + LINE_SLACK];
};

static const struct mg_field pair_item = { .type = MG_STRING, .has_min = true, .min = 1 };
static const struct mg_field fields[] = {
    { .name = "path", .type = MG_STRING, .offset = offsetof(struct conf, path), .preset = "stdout", .has_min = true, .min = 1, .at = 1,
      .doc = "Where lines go: \"stdout\", \"stderr\", \"syslog\" or a file, from the config's folder." },
    { .name = "format", .type = MG_STRING, .offset = offsetof(struct conf, format), .preset = "json", .has_min = true, .min = 1,
      .doc = "\"json\", \"common\", \"combined\", or a template." },
    { .name = "fields", .type = MG_MAP, .offset = offsetof(struct conf, fields), .item = &pair_item,
      .item_bytes = sizeof(struct pair), .doc = "JSON: these fields in place of the usual ones; name to template." },
    { .name = "extra", .type = MG_MAP, .offset = offsetof(struct conf, extra), .item = &pair_item,
      .item_bytes = sizeof(struct pair), .doc = "JSON: these fields besides the usual ones." },
    { .name = "sample", .type = MG_NUMBER, .offset = offsetof(struct conf, sample), .preset = "1", .has_min = true, .min = 0,
      .has_max = true, .max = 1, .doc = "Share of requests that are logged." },
    { .name = "text_max", .type = MG_SIZE, .offset = offsetof(struct conf, text_max), .preset = "2k", .has_min = true, .min = 16,
      .has_max = true, .max = 8192, .doc = "Values longer than this are cut." },
    { 0 }
};

#define COMMON "${client.ip} - ${consumer.name} [${request.time_clf}] " \
               "\"${request.method} ${request.target} ${request.version}\" ${response.status} ${bytes.body_out}"
#define COMBINED COMMON " \"${request.headers.referer}\" \"${request.headers.user-agent}\""

static int compile(struct instance *in, struct mg_error *err)
{
    static const struct mg_str common = { COMMON, sizeof(COMMON) - 1 }, combined = { COMBINED, sizeof(COMBINED) - 1 };
    const struct conf *c = in->conf;
    int rc = 0;

    in->is_json = c->format.n == 4 && !memcmp(c->format.p, "json", 4);
    if (!in->is_json && (c->fields.n || c->extra.n)) {
        snprintf(err->message, sizeof(err->message), "fields and extra are for format = \"json\"");
        return err->code = MG_ECONF;
    }
    if (in->is_json && (c->fields.n || !c->extra.n))
        rc = format_json(&in->format, c->fields.items, c->fields.n, c->fields.n > 0, err);
    if (in->is_json && c->extra.n)
        rc = rc < 0 ? rc : format_json(&in->format, c->extra.items, c->extra.n, c->fields.n > 0, err);
    if (in->is_json)
        return rc;
    if (c->format.n == 6 && !memcmp(c->format.p, "common", 6))
        return format_plain(&in->format, common, err);
    if (c->format.n == 8 && !memcmp(c->format.p, "combined", 8))
        return format_plain(&in->format, combined, err);
    if (!memchr(c->format.p, '$', c->format.n)) {
        snprintf(err->message, sizeof(err->message), "format: expected \"json\", \"common\", \"combined\" or a template");
        return err->code = MG_ECONF;
    }
    return format_plain(&in->format, c->format, err);
}

static void destroy(void *self)
{
    struct instance *in = self;

    format_free(&in->format);
    if (in->sink)
        mg_sink_close(in->sink);
    free(in);
}

static int create(const struct mg_entry *entry, void **self, struct mg_error *err)
{
    struct instance *in = calloc(1, sizeof(*in));
    char text[200];

    if (!in)
        return no_memory(err);
    in->conf = entry->conf;
    if (compile(in, err) == 0) {
        in->sink = mg_sink_open(in->conf->path.p, in->conf->path.n, text, sizeof(text));
        if (in->sink) {
            *self = in;
            return 0;
        }
        snprintf(err->message, sizeof(err->message), "path: %s", text);
        err->code = MG_ECONF;
    }
    destroy(in);
    return err->code;
}

static int worker_create(void *self, void **local)
{
    struct worker *w = malloc(sizeof(*w));

    (void)self;
    if (!w)
        return MG_ENOMEM;
    memset(&w->clock, 0, sizeof(w->clock));
    *local = w;
    return 0;
}

static void worker_destroy(void *self, void *local)
{
    (void)self;
    free(local);
}

static enum mg_verdict on_log(struct mg_x *x, void *self, void *local)
{
    const struct instance *in = self;
    struct worker *w = local;
    struct line l = { w->line, w->line + LINE_MAX_BYTES, (size_t)in->conf->text_max, in->is_json };

    if (in->conf->sample < 1 && mg_random() >= in->conf->sample)
        return MG_CONTINUE;
    format_write(&in->format, x, &l, &w->clock);
    mg_sink_write(in->sink, w->line, (size_t)(l.p - w->line)); /* a dropped line is counted there */
    return MG_CONTINUE;
}

MG_PLUGIN_EXPORT = {
    .abi = MG_PLUGIN_ABI, .size = sizeof(struct mg_plugin), .name = "access-log", .version = "1.0",
    .doc = "Writes a line for each request.",
    .fields = fields, .field_bytes = sizeof(struct mg_field), .conf_bytes = sizeof(struct conf),
    .create = create, .destroy = destroy, .worker_create = worker_create, .worker_destroy = worker_destroy, .on_log = on_log,
};
