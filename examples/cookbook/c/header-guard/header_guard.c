/* header_guard.c - requests whose header fields are not what a route expects never reach its upstream.
 *
 * Each rule names a field: whether it must be there, how long it may be, how often it may come, and a regular expression that
 * its values must match. Fields that nobody may send (those by which the upstream trusts the gateway) are refused or
 * taken out. A refusal says which field, never what was in it, and is counted by field. Limits: the order of rules is the order in
 * which they are checked; the first that does not hold answers. */
#include <moongate/plugin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rule {
    struct mg_str name;
    bool required;
    int64_t most_bytes;
    int64_t most_times;
    struct mg_re *matches;
};
struct conf {
    struct mg_array rules;     /* of struct rule */
    struct mg_array forbidden; /* of struct mg_str */
    int action;                /* enum action, on forbidden fields */
};
enum action { REFUSE = 0, REMOVE = 1 };

static const struct mg_field name_item = { .type = MG_STRING, .has_min = true, .min = 1 };
static const struct mg_field rule_fields[] = {
    { .name = "name", .type = MG_STRING, .offset = offsetof(struct rule, name), .at = 1, .required = true, .has_min = true, .min = 1,
      .doc = "The field." },
    { .name = "required", .type = MG_BOOL, .offset = offsetof(struct rule, required), .preset = "false", .doc = "Whether it must be there." },
    { .name = "most_bytes", .type = MG_SIZE, .offset = offsetof(struct rule, most_bytes), .preset = "8k", .doc = "The longest value." },
    { .name = "most_times", .type = MG_INT, .offset = offsetof(struct rule, most_times), .preset = "1", .has_min = true, .min = 1,
      .doc = "How often it may come." },
    { .name = "matches", .type = MG_REGEX, .offset = offsetof(struct rule, matches), .doc = "What each value must match." },
    { 0 }
};
static const struct mg_field rule_item = { .type = MG_TABLE, .fields = rule_fields };
static const char *const actions[] = { "refuse", "remove", NULL };
static const struct mg_field fields[] = {
    { .name = "rules", .type = MG_LIST, .offset = offsetof(struct conf, rules), .item = &rule_item, .item_bytes = sizeof(struct rule),
      .doc = "Fields and what they may be." },
    { .name = "forbidden", .type = MG_LIST, .offset = offsetof(struct conf, forbidden), .item = &name_item,
      .item_bytes = sizeof(struct mg_str), .doc = "Fields that clients may not send." },
    { .name = "forbidden_action", .type = MG_ENUM, .offset = offsetof(struct conf, action), .values = actions, .preset = "refuse",
      .doc = "What happens to those." },
    { 0 }
};

struct guard {
    const struct conf *conf;
    int refused; /* a metric */
};

static int create(const struct mg_entry *entry, void **self, struct mg_error *err)
{
    static const char name[] = "header_guard_refused_total", help[] = "Requests refused by header-guard.";
    const struct conf *c = entry->conf;
    struct guard *g;

    if (!c->rules.n && !c->forbidden.n) {
        snprintf(err->message, sizeof(err->message), "rules, forbidden: there is nothing to guard");
        return err->code = MG_ECONF;
    }
    g = malloc(sizeof(*g));
    if (!g) {
        snprintf(err->message, sizeof(err->message), "out of memory");
        return err->code = MG_ENOMEM;
    }
    g->conf = c;
    g->refused = mg_metric(MG_METRIC_COUNTER, name, sizeof(name) - 1, help, sizeof(help) - 1, "route,field", 11, "", 0);
    *self = g;
    return 0;
}

static void destroy(void *self)
{
    free(self);
}

static enum mg_verdict refuse(struct mg_x *x, const struct guard *g, struct mg_str field, const char *why)
{
    struct mg_str labels[2];
    char detail[256];
    int n = snprintf(detail, sizeof(detail), "The field %.*s %s.", (int)(field.n > 64 ? 64 : field.n), field.p, why);

    if (mg_route_id(x, &labels[0]) < 0)
        labels[0] = (struct mg_str){ "", 0 };
    labels[1] = field;
    mg_metric_add(g->refused, labels, 2, 1);
    return mg_respond_error(x, 400, detail, (size_t)n) < 0 ? MG_ERROR : MG_RESPOND;
}

static bool is_same_name(struct mg_str a, struct mg_str b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if ((a.p[i] | 32) != (b.p[i] | 32)) /* names are tokens: what differs by that bit alone are letters, or no name at all */
            return false;
    return true;
}

/* What a value breaks, or NULL. */
static const char *broken(const struct rule *r, struct mg_str value)
{
    int32_t span[2];

    if ((int64_t)value.n > r->most_bytes)
        return "is too long";
    if (r->matches && mg_re_match(r->matches, value.p, value.n, 0, span, 1) <= 0)
        return "has not the form that is asked for";
    return NULL;
}

static const char *check(struct mg_x *x, const struct rule *r)
{
    struct mg_str name, value;
    const char *why;
    int64_t times = 0;

    for (int i = 0; mg_header_at(x, MG_REQUEST, i, &name, &value) >= 0; i++) {
        if (!is_same_name(name, r->name))
            continue;
        if (++times > r->most_times)
            return "came too often";
        why = broken(r, value);
        if (why)
            return why;
    }
    return r->required && times == 0 ? "is missing" : NULL;
}

static enum mg_verdict on_request(struct mg_x *x, void *self, void *local)
{
    const struct guard *g = self;
    const struct mg_str *forbidden = g->conf->forbidden.items;
    const struct rule *rules = g->conf->rules.items;
    struct mg_str value;
    const char *why;

    for (size_t i = 0; i < g->conf->forbidden.n; i++) {
        if (mg_header_get(x, MG_REQUEST, forbidden[i].p, forbidden[i].n, &value) < 0)
            continue;
        if (g->conf->action == REFUSE)
            return refuse(x, g, forbidden[i], "is not for clients to send");
        if (mg_header_remove(x, MG_REQUEST, forbidden[i].p, forbidden[i].n) < 0)
            return MG_ERROR;
    }
    for (size_t i = 0; i < g->conf->rules.n; i++) {
        why = check(x, &rules[i]);
        if (why)
            return refuse(x, g, rules[i].name, why);
    }
    return MG_CONTINUE;
}

MG_PLUGIN_EXPORT = {
    .abi = MG_PLUGIN_ABI, .size = sizeof(struct mg_plugin), .name = "header-guard", .version = "1.0",
    .doc = "Refuses requests whose header fields are not what is expected.",
    .fields = fields, .field_bytes = sizeof(struct mg_field), .conf_bytes = sizeof(struct conf),
    .create = create, .destroy = destroy, .on_request = on_request,
};
