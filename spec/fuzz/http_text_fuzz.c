/* What a recording or a specification says of an answer, and the URLs and Locations of strangers. */
#include "service/http_inner.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void read_answer(struct mg_str text, int method)
{
    struct mg_http_text_message m;
    struct mg_grown body = { 0 };
    struct mg_arena a;
    int rc;

    mg_arena_init(&a, NULL, 1 << 20);
    rc = mg_http_text_parse(text, method, &a, &m, &body);
    must(rc == 0 || rc == MG_EPROTO || rc == MG_ENOMEM);
    must(body.n <= text.n);
    if (rc == 0)
        must(m.head->status >= 200 && m.head->status <= 599);
    mg_grown_free(&body);
    mg_arena_deinit(&a);
}

static void read_url(struct mg_str text)
{
    struct mg_arena a;
    struct mg_url u;
    struct mg_str url, target;

    mg_arena_init(&a, NULL, 1 << 20);
    if (mg_url_parse(text, &a, &u) == 0) {
        must(u.target.n > 0 && u.target.p[0] == '/' && u.authority.n > 0);
        for (size_t i = 0; i < u.target.n; i++)
            must(u.target.p[i] > ' ' && u.target.p[i] < 0x7f);
    }
    if (mg_url_follow(text, true, MG_STR("/a/b?c"), &a, &url, &target) == 0 && !url.p)
        must(target.n > 0 && target.p[0] == '/' && !memchr(target.p, '\n', target.n) && !memchr(target.p, ' ', target.n));
    mg_arena_deinit(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mg_str text = mg_str((const char *)data, size);

    read_answer(text, MG_M_GET);
    read_answer(text, MG_M_HEAD);
    read_url(text);
    return 0;
}
