/* Bytes from outside that the ground floor reads: numbers, lists, addresses, hosts, text for the log. */
#include "base/text.h"
#include "net/resolver.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool claim)
{
    if (!claim)
        abort();
}

static void try_escape(struct mg_str s, enum mg_text_escape how)
{
    char buffer[256];
    struct mg_text t;

    mg_text_init(&t, buffer, sizeof(buffer));
    mg_text_escape(&t, s, how);
    must(t.n <= sizeof(buffer));
    for (size_t i = 0; i < t.n; i++)
        must((unsigned char)t.p[i] >= 0x20 && t.p[i] != 0x7f);
    for (size_t i = 0; i < t.n;) { /* what comes out is UTF-8 */
        size_t n = mg_utf8_length(t.p + i, t.n - i);

        must(n > 0);
        i += n;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const words[] = { "limit", "window", "timeouts", "upstream" };
    struct mg_str s = mg_str((const char *)data, size), rest = s, item;
    struct mg_address a, b;
    uint64_t n;
    size_t left = size;

    if (mg_str_u64(s, 1u << 20, &n))
        must(n <= 1u << 20);
    while (mg_str_next(&rest, ',', &item)) {
        must(item.n > 0 && item.p >= s.p && item.p + item.n <= s.p + s.n);
        must(rest.n < left);
        left = rest.n;
    }
    if (mg_address_parse(s, 443, &a) == 0) { /* what it prints, it reads */
        struct mg_str text = mg_str(a.text, strlen(a.text) - 4);

        must(mg_address_parse(text, 443, &b) == 0);
        must(memcmp(&a.sa, &b.sa, sizeof(a.sa)) == 0);
    }
    mg_str_nearest(s, words, 4);
    mg_str_hash(s);
    try_escape(s, MG_TEXT_JSON);
    try_escape(s, MG_TEXT_PLAIN);
    return 0;
}
