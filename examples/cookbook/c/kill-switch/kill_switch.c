/* kill_switch.c - routes that can be switched off from outside in seconds, on all gateways, without a deployment.
 *
 * One worker asks a URL every few seconds, in a task: its text is the names of switches, one a line (`#` begins a comment). All workers
 * read them from a shared dictionary, at the cost of one lookup a request. When the URL cannot be asked the switches stay as
 * they were, and after `stale` they count as released: a broken control must not keep a service down for ever. Limits: a list of
 * up to 16 KiB. */
#include <moongate/plugin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIT(s) s, sizeof(s) - 1
#define LIST_MAX 16384

struct conf {
    struct mg_str name, url;
    int64_t every_ms, stale_ms, timeout_ms;
};
static const struct mg_field fields[] = {
    { .name = "name", .type = MG_STRING, .offset = offsetof(struct conf, name), .at = 1, .required = true, .pattern = "[a-z0-9-]{1,64}",
      .doc = "The switch of this route." },
    { .name = "url", .type = MG_STRING, .offset = offsetof(struct conf, url), .required = true, .pattern = "https?://.+",
      .doc = "Where the switches are." },
    { .name = "every", .type = MG_DURATION, .offset = offsetof(struct conf, every_ms), .preset = "5s", .has_min = true, .min = 100,
      .doc = "How often it is asked." },
    { .name = "stale", .type = MG_DURATION, .offset = offsetof(struct conf, stale_ms), .preset = "5m", .has_min = true, .min = 1000,
      .doc = "How long a switch holds when nobody can be asked." },
    { .name = "timeout", .type = MG_DURATION, .offset = offsetof(struct conf, timeout_ms), .preset = "2s", .has_min = true, .min = 1,
      .doc = "How long an answer may take." },
    { 0 }
};

struct control {
    const struct conf *conf;
    struct mg_shared *switches;
};

static int create(const struct mg_entry *entry, void **self, struct mg_error *err)
{
    struct control *c = malloc(sizeof(*c));

    if (!c || !(c->switches = mg_shared_open(LIT("kill-switch")))) {
        free(c);
        snprintf(err->message, sizeof(err->message), "out of memory, or there are too many dictionaries");
        return err->code = MG_ENOMEM;
    }
    c->conf = entry->conf;
    *self = c;
    return 0;
}

static void destroy(void *self)
{
    free(self);
}

/* Does a line of the list name it? */
static bool names(struct mg_str list, struct mg_str name)
{
    const char *p = list.p, *end = list.p + list.n;

    while (p < end) {
        const char *stop = memchr(p, '\n', (size_t)(end - p)), *last;

        if (!stop)
            stop = end;
        for (last = p; last < stop && *last != '#' && *last != '\r' && *last != ' '; last++)
            ;
        if ((size_t)(last - p) == name.n && !memcmp(p, name.p, name.n))
            return true;
        p = stop + 1;
    }
    return false;
}

static void set(const struct control *c, bool is_off)
{
    const struct mg_str name = c->conf->name;
    struct mg_datum was = { .kind = MG_NIL };

    mg_shared_get(c->switches, name.p, name.n, &was);
    if (!is_off)
        mg_shared_delete(c->switches, name.p, name.n);
    else if (mg_shared_set_boolean(c->switches, MG_SHARED_SET, name.p, name.n, 1, c->conf->stale_ms) < 0)
        mg_log(MG_LOG_ERROR, LIT("the switch could not be set"));
    if (is_off != (was.kind != MG_NIL)) {
        mg_log_text("switch", 6, name.p, name.n);
        mg_log_boolean("off", 3, is_off);
        mg_log(MG_LOG_WARN, LIT("a switch was turned"));
    }
}

static enum mg_verdict begin(struct mg_x *task, const struct conf *c, int *req)
{
    *req = mg_http_new(task, LIT("GET"), c->url.p, c->url.n);
    if (*req < 0 || mg_http_set(task, *req, MG_HTTP_TOTAL_MS, c->timeout_ms) < 0 || mg_http_set(task, *req, MG_HTTP_LIMIT, LIST_MAX) < 0)
        return MG_ERROR;
    return mg_http_send(task, *req) > 0 ? MG_WAIT : MG_ERROR;
}

/* A task: it begins with op 0, and goes on when the answer is there. */
static enum mg_verdict refresh(struct mg_x *task, void *arg, int op, int status)
{
    const struct control *c = arg;
    int *req = mg_x_local(task, sizeof(*req));
    struct mg_str list;

    if (!req)
        return MG_ERROR;
    if (op == 0)
        return begin(task, c->conf, req);
    if (status == 0 && mg_http_status(task, *req) == 200 && mg_http_body(task, *req, &list) >= 0)
        set(c, names(list, c->conf->name));
    else
        mg_log(MG_LOG_WARN, LIT("the switches cannot be asked for"));
    return MG_CONTINUE;
}

/* One of the workers has it go off: soon after the config is in force, and then again and again. The instance outlives both. */
static int worker_create(void *self, void **local)
{
    const struct control *c = self;
    int rc = mg_timer_start(NULL, 1, 0, MG_TIMER_ONCE_PER_GATEWAY, refresh, self, NULL);

    *local = NULL;
    if (rc > 0)
        rc = mg_timer_start(NULL, c->conf->every_ms, c->conf->every_ms / 10, MG_TIMER_EVERY | MG_TIMER_ONCE_PER_GATEWAY, refresh, self, NULL);
    return rc < 0 ? rc : 0;
}

static enum mg_verdict on_request(struct mg_x *x, void *self, void *local)
{
    const struct control *c = self;
    struct mg_datum is_off;

    if (mg_shared_get(c->switches, c->conf->name.p, c->conf->name.n, &is_off) < 0 || is_off.kind == MG_NIL)
        return MG_CONTINUE;
    if (mg_respond_error(x, 503, LIT("This is switched off for now.")) < 0 || mg_header_set(x, MG_RESPONSE, LIT("retry-after"), LIT("60")) < 0)
        return MG_ERROR;
    return MG_RESPOND;
}

MG_PLUGIN_EXPORT = {
    .abi = MG_PLUGIN_ABI, .size = sizeof(struct mg_plugin), .name = "kill-switch", .version = "1.0",
    .doc = "Switches routes off from outside.",
    .fields = fields, .field_bytes = sizeof(struct mg_field), .conf_bytes = sizeof(struct conf),
    .create = create, .destroy = destroy, .worker_create = worker_create, .on_request = on_request,
};
