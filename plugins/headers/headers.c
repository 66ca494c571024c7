/* headers.c - change the fields of requests and responses.
 *
 *     { "headers",
 *       request  = { set = { ["x-user"] = "${consumer.name}" }, remove = { "cookie", "x-internal-*" } },
 *       response = { set = { ["x-frame-options"] = "DENY" }, rename = { server = "x-backend" } } }
 *
 * Within one side the steps run in the order of a sentence one would say: remove, rename, replace
 * (what is there), set, default (what is not there), add. Values are templates, compiled with the config. */
#include <moongate/plugin.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

struct value {              /* of a map: a name and one template or several */
    struct mg_str name;
    struct mg_array templates;
};
struct pair {
    struct mg_str from, to;
};
struct side {
    struct mg_array remove; /* of struct mg_str */
    struct mg_array rename; /* of struct pair */
    struct mg_array replace, set, preset, add; /* of struct value */
};
struct conf {
    struct side request, response;
};

static const struct mg_field template_item = { .type = MG_TEMPLATE };
static const struct mg_field values_item = { .type = MG_LIST, .item = &template_item, .item_bytes = sizeof(struct mg_template *),
                                             .single = true };
static const struct mg_field name_item = { .type = MG_STRING, .pattern = "[!#$%&'*+.^_`|~0-9A-Za-z-]+" };

static const struct mg_field side_fields[] = {
    { .name = "remove", .type = MG_LIST, .offset = offsetof(struct side, remove), .item = &name_item,
      .item_bytes = sizeof(struct mg_str), .single = true,
      .doc = "Names of fields to take off; \"x-internal-*\" takes all that begin so." },
    { .name = "rename", .type = MG_MAP, .offset = offsetof(struct side, rename), .item = &name_item,
      .item_bytes = sizeof(struct pair), .doc = "Old name to new name; fields of the new name are replaced." },
    { .name = "replace", .type = MG_MAP, .offset = offsetof(struct side, replace), .item = &values_item,
      .item_bytes = sizeof(struct value), .doc = "Set these, only where the field is there." },
    { .name = "set", .type = MG_MAP, .offset = offsetof(struct side, set), .item = &values_item,
      .item_bytes = sizeof(struct value), .doc = "Set these, whether or not they were there." },
    { .name = "default", .type = MG_MAP, .offset = offsetof(struct side, preset), .item = &values_item,
      .item_bytes = sizeof(struct value), .doc = "Set these, only where the field is not there." },
    { .name = "add", .type = MG_MAP, .offset = offsetof(struct side, add), .item = &values_item,
      .item_bytes = sizeof(struct value), .doc = "Append one more field, beside those that are there." },
    { 0 }
};
static const struct mg_field fields[] = {
    { .name = "request", .type = MG_TABLE, .offset = offsetof(struct conf, request), .fields = side_fields,
      .doc = "Changes to what the upstream gets." },
    { .name = "response", .type = MG_TABLE, .offset = offsetof(struct conf, response), .fields = side_fields,
      .doc = "Changes to what the client gets." },
    { 0 }
};

/* ---- when the config loads -------------------------------------------------------------------- */

static const char *const owned[] = { "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade",
                                     "keep-alive", "proxy-connection", NULL };

static bool is_token(struct mg_str s)
{
    static const char marks[] = "!#$%&'*+.^_`|~-";

    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr(marks, c))))
            return false;
    }
    return s.n > 0;
}

static int check_name(const char *side, const char *step, struct mg_str name, struct mg_error *err)
{
    if (!is_token(name)) {
        snprintf(err->message, sizeof(err->message), "%s.%s: \"%.*s\" is no name of a header field", side, step, (int)name.n,
                 name.p);
        return err->code = MG_ECONF;
    }
    for (int i = 0; owned[i]; i++)
        if (strlen(owned[i]) == name.n && !strncasecmp(owned[i], name.p, name.n)) {
            snprintf(err->message, sizeof(err->message), "%s.%s: \"%s\" belongs to the connection; the gateway sets it itself",
                     side, step, owned[i]);
            return err->code = MG_ECONF;
        }
    return 0;
}

static int check_values(const char *side, const char *step, const struct mg_array *a, struct mg_error *err)
{
    const struct value *v = a->items;

    for (size_t i = 0; i < a->n; i++)
        if (check_name(side, step, v[i].name, err) < 0)
            return MG_ECONF;
    return 0;
}

static int check_side(const char *name, const struct side *s, struct mg_error *err)
{
    const struct pair *p = s->rename.items;

    for (size_t i = 0; i < s->rename.n; i++)
        if (check_name(name, "rename", p[i].from, err) < 0 || check_name(name, "rename", p[i].to, err) < 0)
            return MG_ECONF;
    if (check_values(name, "replace", &s->replace, err) < 0 || check_values(name, "set", &s->set, err) < 0
        || check_values(name, "default", &s->preset, err) < 0 || check_values(name, "add", &s->add, err) < 0)
        return MG_ECONF;
    return 0;
}

static int create(const struct mg_entry *entry, void **self, struct mg_error *err)
{
    const struct conf *c = entry->conf;

    if (check_side("request", &c->request, err) < 0 || check_side("response", &c->response, err) < 0)
        return MG_ECONF;
    *self = (void *)c;
    return 0;
}

/* ---- the steps ---------------------------------------------------------------------------------- */

static void remove_prefix(struct mg_x *x, int side, const char *prefix, size_t n)
{
    struct mg_str name, value;
    int i = 0;

    while (mg_header_at(x, side, i, &name, &value) == 0)
        if (name.n < n || strncasecmp(name.p, prefix, n) || mg_header_remove(x, side, name.p, name.n) <= 0)
            i++;
}

static void remove_all(struct mg_x *x, int side, const struct mg_array *names)
{
    const struct mg_str *s = names->items;

    for (size_t i = 0; i < names->n; i++) {
        if (s[i].p[s[i].n - 1] == '*')
            remove_prefix(x, side, s[i].p, s[i].n - 1);
        else
            mg_header_remove(x, side, s[i].p, s[i].n);
    }
}

static int rename_one(struct mg_x *x, int side, const struct pair *p)
{
    struct mg_str name, value, *values;
    size_t n = 0, all = 0;

    if (mg_header_get(x, side, p->from.p, p->from.n, &value) < 0)
        return 0;
    while (mg_header_at(x, side, (int)all, &name, &value) == 0)
        all++;
    values = mg_x_alloc(x, all * sizeof(*values));
    if (!values)
        return MG_ENOMEM;
    for (size_t i = 0; i < all; i++)
        if (mg_header_at(x, side, (int)i, &name, &value) == 0 && name.n == p->from.n
            && !strncasecmp(name.p, p->from.p, name.n))
            values[n++] = value;
    mg_header_remove(x, side, p->from.p, p->from.n);
    mg_header_remove(x, side, p->to.p, p->to.n);
    for (size_t i = 0; i < n; i++)
        if (mg_header_add(x, side, p->to.p, p->to.n, values[i].p, values[i].n) == MG_ENOMEM)
            return MG_ENOMEM;
    return 0;
}

/* Put one rendered value. A template whose variables are all absent makes no field, and neither
 * does a value that a field cannot hold (a line break out of a query argument): the client could
 * otherwise keep a field that the config means to own. */
static int put(struct mg_x *x, int side, struct mg_str name, const struct mg_template *t, bool first)
{
    struct mg_str value;
    int rc = mg_template_render(x, t, &value);

    if (rc < 0)
        return rc;
    if (rc > 0 && value.n == 0)
        rc = MG_EINVAL;
    else
        rc = first ? mg_header_set(x, side, name.p, name.n, value.p, value.n)
                   : mg_header_add(x, side, name.p, name.n, value.p, value.n);
    if (rc == MG_EINVAL) {
        if (first)
            mg_header_remove(x, side, name.p, name.n);
        return 0;
    }
    return rc < 0 ? rc : 0;
}

enum presence { ALWAYS, IF_THERE, IF_NOT_THERE, BESIDE };

static int put_all(struct mg_x *x, int side, const struct mg_array *a, enum presence when)
{
    const struct value *v = a->items;
    struct mg_str old;

    for (size_t i = 0; i < a->n; i++) {
        struct mg_template *const *t = v[i].templates.items;

        if ((when == IF_THERE || when == IF_NOT_THERE)
            && (mg_header_get(x, side, v[i].name.p, v[i].name.n, &old) == 0) != (when == IF_THERE))
            continue;
        for (size_t k = 0; k < v[i].templates.n; k++) {
            int rc = put(x, side, v[i].name, t[k], k == 0 && when != BESIDE);

            if (rc < 0)
                return rc;
        }
    }
    return 0;
}

static enum mg_verdict change(struct mg_x *x, int side, const struct side *s)
{
    const struct pair *p = s->rename.items;

    if (s->remove.n)
        remove_all(x, side, &s->remove);
    for (size_t i = 0; i < s->rename.n; i++)
        if (rename_one(x, side, &p[i]) < 0)
            return MG_ERROR;
    if (put_all(x, side, &s->replace, IF_THERE) < 0 || put_all(x, side, &s->set, ALWAYS) < 0
        || put_all(x, side, &s->preset, IF_NOT_THERE) < 0 || put_all(x, side, &s->add, BESIDE) < 0)
        return MG_ERROR;
    return MG_CONTINUE;
}

static enum mg_verdict on_request(struct mg_x *x, void *self, void *local)
{
    (void)local;
    return change(x, MG_REQUEST, &((const struct conf *)self)->request);
}

static enum mg_verdict on_response(struct mg_x *x, void *self, void *local)
{
    (void)local;
    return change(x, MG_RESPONSE, &((const struct conf *)self)->response);
}

MG_PLUGIN_EXPORT = {
    .abi = MG_PLUGIN_ABI, .size = sizeof(struct mg_plugin), .name = "headers", .version = "1.0",
    .doc = "Sets, adds, removes and renames the fields of requests and responses.",
    .fields = fields, .field_bytes = sizeof(struct mg_field), .conf_bytes = sizeof(struct conf),
    .create = create, .on_request = on_request, .on_response = on_response,
};
