/* require_tenant.c - whose data does a request ask for? A plugin in C, built outside Moongate's tree.
 *
 *     { "require-tenant", header = "x-tenant", allow = { "acme", "globex" }, delay = "250ms" }
 *
 * It refuses requests that name no tenant, or one that is not allowed; the refusal may be delayed, so that guessing
 * names is slow. What it learns it leaves in ctx, tells the upstream, and counts. docs/plugins-c.md walks
 * through this file. */
#include <moongate/plugin.h>
#include <stdlib.h>
#include <string.h>

/* ---- the config: one struct, and a table that says how to fill it ------------------------------------ */

struct conf {
    struct mg_str header;
    struct mg_array allow; /* of struct mg_str */
    int64_t delay_ms;
};

static const struct mg_field name_item = { .type = MG_STRING, .has_min = true, .min = 1 };
static const struct mg_field fields[] = {
    { .name = "header", .type = MG_STRING, .offset = offsetof(struct conf, header), .at = 1, .preset = "x-tenant",
      .doc = "The field that names the tenant." },
    { .name = "allow", .type = MG_LIST, .offset = offsetof(struct conf, allow), .item = &name_item,
      .item_bytes = sizeof(struct mg_str), .single = true, .doc = "Tenants that may call; all of them when empty." },
    { .name = "delay", .type = MG_DURATION, .offset = offsetof(struct conf, delay_ms), .preset = "0s", .has_max = true,
      .max = 10000, .doc = "How long a refusal is held back." },
    { 0 }
};

/* ---- an instance: what is made once of a config, and shared by all workers ---------------------------- */

struct instance {
    const struct conf *conf;
    int refusals; /* a metric */
};

static int create(const struct mg_entry *entry, void **self, struct mg_error *err)
{
    struct instance *in = malloc(sizeof(*in));

    if (!in) {
        memcpy(err->message, "out of memory", sizeof("out of memory"));
        return err->code = MG_ENOMEM;
    }
    in->conf = entry->conf;
    in->refusals = mg_metric(MG_METRIC_COUNTER, "tenant_refusals_total", 21, "Requests without a tenant.", 26, "route", 5, "", 0);
    *self = in;
    return 0;
}

static void destroy(void *self)
{
    free(self);
}

/* ---- a request ---------------------------------------------------------------------------------------- */

static bool is_allowed(const struct conf *c, struct mg_str tenant)
{
    const struct mg_str *s = c->allow.items;

    for (size_t i = 0; i < c->allow.n; i++)
        if (s[i].n == tenant.n && !memcmp(s[i].p, tenant.p, tenant.n))
            return true;
    return c->allow.n == 0;
}

static enum mg_verdict refuse(struct mg_x *x, const struct instance *in)
{
    static const char detail[] = "This needs the name of a tenant.";
    struct mg_str route;

    mg_route_id(x, &route);
    mg_metric_add(in->refusals, &route, 1, 1);
    return mg_respond_error(x, 400, detail, sizeof(detail) - 1) < 0 ? MG_ERROR : MG_RESPOND;
}

static enum mg_verdict on_request(struct mg_x *x, void *self, void *local)
{
    const struct instance *in = self;
    const struct conf *c = in->conf;
    struct mg_str tenant;

    (void)local;
    if (mg_header_get(x, MG_REQUEST, c->header.p, c->header.n, &tenant) < 0 || !is_allowed(c, tenant)) {
        if (c->delay_ms == 0)
            return refuse(x, in);
        return mg_sleep(x, c->delay_ms) > 0 ? MG_WAIT : MG_ERROR; /* on_wake goes on */
    }
    if (mg_ctx_set_text(x, "tenant", 6, tenant.p, tenant.n) < 0)
        return MG_ERROR;
    return mg_header_set(x, MG_REQUEST, "x-internal-tenant", 17, tenant.p, tenant.n) < 0 ? MG_ERROR : MG_CONTINUE;
}

/* The sleep is over. */
static enum mg_verdict on_wake(struct mg_x *x, void *self, void *local, int op, int status)
{
    (void)local;
    (void)op;
    (void)status;
    return refuse(x, self);
}

MG_PLUGIN_EXPORT = {
    .abi = MG_PLUGIN_ABI, .size = sizeof(struct mg_plugin), .name = "require-tenant", .version = "1.0",
    .doc = "Refuses requests that name no tenant.",
    .fields = fields, .field_bytes = sizeof(struct mg_field), .conf_bytes = sizeof(struct conf),
    .create = create, .destroy = destroy, .on_request = on_request, .on_wake = on_wake,
};
