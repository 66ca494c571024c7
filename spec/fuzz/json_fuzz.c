/* Any bytes: refused with a message, or a document whose nodes can all be read, and whose strings, quoted again, read the same. */
#include "base/str.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char why[128];
    struct mg_json *doc = mg_json_parse((const char *)data, n, why, sizeof why);
    const struct mg_json_node *nodes;
    size_t nodes_n;

    if (!doc) {
        assert(!strncmp(why, "line ", 5));
        return 0;
    }
    nodes = mg_json_nodes(doc, &nodes_n);
    for (size_t i = 0; i < nodes_n; i++) {
        struct mg_str raw, text, quoted, again;
        struct mg_json *other;

        assert(nodes[i].start < nodes[i].end && nodes[i].end <= n);
        assert(nodes[i].next > (int32_t)i && (size_t)nodes[i].next <= nodes_n);
        assert(mg_json_raw(doc, (int)i, &raw) == 0 && mg_json_text(doc, (int)i, &text) == 0);
        if (nodes[i].kind != MG_JSON_STRING)
            continue;
        assert(mg_json_quote(text.p, text.n, &quoted) == 0);
        other = mg_json_parse(quoted.p, quoted.n, why, sizeof why);
        assert(other && mg_json_text(other, 0, &again) == 0 && mg_str_eq(text, again));
        mg_json_free(other);
    }
    mg_json_free(doc);
    return 0;
}
