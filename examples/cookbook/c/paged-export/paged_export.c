/* paged_export.c - one long answer out of an API that gives pages: a client gets all rows as one stream of JSON lines.
 *
 * Pages are fetched one after the other from a named upstream, which names the next one in a field (`x-next`), and are passed on as they
 * come: memory holds one page, and a slow client slows the fetching down. When a page fails the stream is cut, so that half
 * an export never looks like a whole one. The first page is fetched before the answer begins: without it the client gets 502. Limits:
 * at most `most` pages, each of up to 512 KiB, of lines that the upstream has ended. */
#include <moongate/plugin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIT(s) s, sizeof(s) - 1
#define PAGE_MAX (512 * 1024)

struct conf {
    struct mg_str upstream, path, next;
    int64_t most, timeout_ms;
};
static const struct mg_field fields[] = {
    { .name = "upstream", .type = MG_STRING, .offset = offsetof(struct conf, upstream), .required = true, .doc = "The named upstream." },
    { .name = "path", .type = MG_STRING, .offset = offsetof(struct conf, path), .required = true, .pattern = "/.*", .doc = "Its first page." },
    { .name = "next", .type = MG_STRING, .offset = offsetof(struct conf, next), .preset = "x-next",
      .doc = "The field that holds the next page's path; none in the last one." },
    { .name = "most", .type = MG_INT, .offset = offsetof(struct conf, most), .preset = "10000", .has_min = true, .min = 1, .doc = "Pages at most." },
    { .name = "timeout", .type = MG_DURATION, .offset = offsetof(struct conf, timeout_ms), .preset = "10s", .has_min = true, .min = 1,
      .doc = "How long a page may take." },
    { 0 }
};

/*  FIRST (on_request waits) -> answer -> PASS -> [ROOM ->] FETCH -> PASS … -> finished  */
enum step { FIRST = 0, PASS, ROOM, FETCH };
struct export {
    enum step step;
    int req;
    int64_t pages;
};

static bool fetch(struct mg_x *x, const struct conf *c, struct export *e, struct mg_str path)
{
    e->req = mg_http_to(x, c->upstream.p, c->upstream.n, LIT("GET"), path.p, path.n);
    if (e->req < 0)
        return false;
    e->pages++;
    return mg_http_header(x, e->req, LIT("accept"), LIT("application/x-ndjson")) >= 0
        && mg_http_set(x, e->req, MG_HTTP_TOTAL_MS, c->timeout_ms) >= 0 && mg_http_set(x, e->req, MG_HTTP_LIMIT, PAGE_MAX) >= 0
        && mg_http_send(x, e->req) > 0;
}

static enum mg_verdict on_request(struct mg_x *x, void *self, void *local)
{
    const struct conf *c = self;
    struct export *e = mg_x_local(x, sizeof(*e));

    return e && fetch(x, c, e, c->path) ? MG_WAIT : MG_ERROR;
}

/* The first page is there, or not. */
static enum mg_verdict begin(struct mg_x *x, struct export *e, int status)
{
    if (status < 0 || mg_http_status(x, e->req) != 200)
        return mg_respond_error(x, 502, LIT("The export cannot be had now.")) < 0 ? MG_ERROR : MG_RESPOND;
    if (mg_respond(x, 200, "", 0) < 0 || mg_header_set(x, MG_RESPONSE, LIT("content-type"), LIT("application/x-ndjson")) < 0
        || mg_header_set(x, MG_RESPONSE, LIT("cache-control"), LIT("no-store")) < 0 || mg_body_stream(x, MG_RESPONSE) < 0)
        return MG_ERROR;
    e->step = PASS;
    return MG_RESPOND;
}

static enum mg_verdict cut(struct mg_x *x, const struct export *e, const char *why, size_t why_n)
{
    mg_log_number("pages", 5, (double)e->pages);
    mg_log(MG_LOG_ERROR, why, why_n);
    mg_body_finish(x, MG_RESPONSE, MG_EIO);
    return MG_CONTINUE;
}

static enum mg_verdict next_page(struct mg_x *x, const struct conf *c, struct export *e)
{
    struct mg_str next;
    char *path;
    int old = e->req;

    if (mg_http_field(x, old, MG_RESPONSE, c->next.p, c->next.n, &next) < 0 || next.n == 0) {
        mg_http_close(x, old);
        mg_body_finish(x, MG_RESPONSE, 0);
        return MG_CONTINUE;
    }
    if (e->pages >= c->most)
        return cut(x, e, LIT("the export has too many pages"));
    path = malloc(next.n); /* goes with the old page otherwise; an arena would grow with each */
    if (!path)
        return MG_ERROR;
    memcpy(path, next.p, next.n);
    next.p = path;
    mg_http_close(x, old);
    e->step = FETCH;
    old = next.p[0] == '/' && fetch(x, c, e, next);
    free(path);
    return old ? MG_WAIT : cut(x, e, LIT("the next page cannot be asked for"));
}

/* Pass the page on; the next one when there is room for it. */
static enum mg_verdict pass(struct mg_x *x, const struct conf *c, struct export *e)
{
    struct mg_str page;
    int rc;

    if (mg_http_body(x, e->req, &page) < 0)
        return MG_ERROR;
    rc = mg_body_write(x, MG_RESPONSE, page.p, page.n);
    if (rc < 0)
        return MG_ERROR;
    if (rc == 0)
        return next_page(x, c, e);
    e->step = ROOM;
    return mg_body_room(x, MG_RESPONSE) > 0 ? MG_WAIT : MG_ERROR;
}

static enum mg_verdict on_wake(struct mg_x *x, void *self, void *local, int op, int status)
{
    const struct conf *c = self;
    struct export *e = mg_x_local(x, sizeof(*e));

    switch (e->step) {
    case FIRST:
        return begin(x, e, status);
    case FETCH:
        if (status < 0 || mg_http_status(x, e->req) != 200)
            return cut(x, e, LIT("a page of the export failed"));
        e->step = PASS;
        return pass(x, c, e);
    case PASS:
        return pass(x, c, e);
    case ROOM:
        return next_page(x, c, e);
    }
    return MG_ERROR;
}

MG_PLUGIN_EXPORT = {
    .abi = MG_PLUGIN_ABI, .size = sizeof(struct mg_plugin), .name = "paged-export", .version = "1.0",
    .doc = "All pages of an API as one stream.",
    .fields = fields, .field_bytes = sizeof(struct mg_field), .conf_bytes = sizeof(struct conf),
    .on_request = on_request, .on_wake = on_wake,
};
