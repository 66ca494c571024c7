/* problem.c - RFC 9457 problem details, or the config's own template with ${error.…} in it. */
#include "pdk/problem.h"
#include "pdk/template.h"

#include <stdio.h>

struct mg_problem_facts mg_problem_facts_of(struct mg_exchange *x, int status, struct mg_str detail)
{
    struct mg_problem_facts f = { .title = mg_reason(status), .detail = detail, .id = mg_exchange_id(x) };

    snprintf(f.status, sizeof f.status, "%d", status);
    if (!f.title.n)
        f.title = MG_STR("Error");
    return f;
}

static int own_shape(struct mg_exchange *x, const struct mg_template *t, const struct mg_problem_facts *f, struct mg_str type,
                     struct mg_str *body)
{
    enum mg_render_escape how = MG_RENDER_PLAIN;

    for (size_t i = 0; i + 4 <= type.n; i++) {
        if (mg_str_ieq(mg_str(type.p + i, 4), MG_STR("json")))
            how = MG_RENDER_JSON;
        else if (mg_str_ieq(mg_str(type.p + i, 4), MG_STR("html")))
            how = MG_RENDER_HTML;
    }
    return mg_template_fill(x, t, how, f, body) < 0 ? MG_ENOMEM : 0;
}

int mg_problem(struct mg_exchange *x, int status, struct mg_str detail, struct mg_str *type, struct mg_str *body)
{
    struct mg_problem_facts f = mg_problem_facts_of(x, status, detail);
    struct mg_str shape_type = { 0 }, text;
    const struct mg_template *shape = x->snapshot ? mg_snapshot_view.error_body(x->snapshot, &shape_type) : NULL;

    *type = *body = mg_str(NULL, 0);
    if (shape) {
        *type = shape_type;
        return own_shape(x, shape, &f, shape_type, body);
    }
    *type = MG_STR("application/problem+json");
    if (detail.n && mg_json_quote(detail.p, detail.n, &text))
        return MG_ENOMEM;
    *body = mg_arena_printf(&x->arena, "{\"type\":\"about:blank\",\"title\":\"%.*s\",\"status\":%s%s%.*s,\"id\":\"%.*s\"}\n",
                            (int)f.title.n, f.title.p, f.status, detail.n ? ",\"detail\":" : "", detail.n ? (int)text.n : 0,
                            detail.n ? text.p : "", (int)f.id.n, f.id.p);
    return body->p ? 0 : MG_ENOMEM;
}
