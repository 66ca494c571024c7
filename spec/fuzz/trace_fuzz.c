/* A trace of whatever bytes a request and a plugin brought: JSON that holds, in ASCII, and no argument called "token" in the open. */
#include "exchange.h"
#include "plugin/trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_form(const struct mg_trace *t, int form)
{
    char error[128];
    struct mg_str text;
    struct mg_json *doc;

    must(mg_trace_write(t, form, 1024, &text) == 0);
    if (form != MG_TRACE_TEXT) {
        for (size_t i = 0; i < text.n; i++)
            must(text.p[i] >= 0x20 && text.p[i] < 0x7f);
        must(form != MG_TRACE_SHORT || text.n <= 1024);
        doc = mg_json_parse(text.p, text.n, error, sizeof error);
        must(doc != NULL);
        mg_json_free(doc);
    }
    free((char *)(uintptr_t)text.p);
}

/* It may have been cut right behind the name. */
static void no_token(struct mg_str query)
{
    struct mg_str item;

    while (query.n && mg_str_next(&query, '&', &item))
        must(!mg_str_starts(item, MG_STR("token=")) || item.n == 6 || item.p[6] == '*' || (unsigned char)item.p[6] == 0xe2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mg_str in = mg_str((const char *)data, size), name, value;
    struct mg_plugin plugin = { .name = "fuzz" };
    struct mg_chain_entry e = { .plugin = &plugin };
    struct mg_change c = { .what = MG_CHANGED_REQUEST_HEADER };
    struct mg_trace_step *s;
    struct mg_exchange *x;
    struct mg_trace *t;

    if (size > 8192)
        return 0;
    x = fuzz_exchange();
    if (!mg_str_next(&in, 0, &name))
        name = mg_str("", 0);
    if (!mg_str_next(&in, 0, &value))
        value = mg_str("", 0);
    x->path = name;
    x->query = in;
    x->has_query = true;
    must(mg_trace_begin(x, &name, 1) != NULL);
    s = mg_trace_step(x, &e, MG_ON_REQUEST);
    must(s != NULL);
    c.name = value;
    c.is = in;
    mg_trace_note(x->trace, s, &c);
    c.name = name;
    mg_trace_note(x->trace, s, &c);
    must(!name.n || mg_str_eq(s->last->change.is, MG_STR("***")));
    mg_trace_why(x, value);
    t = mg_trace_end(x);
    no_token(t->query);
    for (int form = MG_TRACE_JSON; form <= MG_TRACE_TEXT; form++)
        try_form(t, form);
    mg_trace_unref(t);
    mg_exchange_free(x);
    return 0;
}
