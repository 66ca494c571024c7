/* Lines, authorities and heads built from any bytes: what passes keeps the promises that the rest relies on. */
#include "http/framing.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_head(const struct mg_head *head)
{
    if (head->framing == MG_BODY_LENGTH && head->length < 0)
        abort();
    for (uint32_t i = 0; i < head->headers.n; i++) {
        const struct mg_header *f = &head->headers.at[i];

        if (f->name && (f->id == MG_H_CONTENT_LENGTH || f->id == MG_H_TRANSFER_ENCODING || f->id == MG_H_CONNECTION || f->id == MG_H_UPGRADE))
            abort();
    }
}

/* The lines of the input are fields. */
static void fields(struct mg_str text, struct mg_arena *a, struct mg_headers *h)
{
    struct mg_refusal no;

    while (text.n > 0) {
        const char *nl = memchr(text.p, '\n', text.n);
        size_t len = nl ? (size_t)(nl - text.p) : text.n;
        struct mg_str name, value;

        if (mg_framing_field_line(mg_str(text.p, len), &name, &value, &no) == 0)
            mg_headers_add(h, a, name, value);
        text = mg_str(text.p + len + (nl != NULL), text.n - len - (nl != NULL));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct mg_str text = mg_str((const char *)data, n), host;
    struct mg_head head = { 0 };
    struct mg_refusal no = { 0 };
    struct mg_arena a;
    uint64_t size;
    int port;

    mg_arena_init(&a, NULL, 1 << 20);
    if (mg_authority_ok(text, &host, &port, &a) && (host.n == 0 || port < 0 || port > 65535))
        abort();
    if (mg_framing_chunk_line(text, &size, &no) == 0 && size > INT64_MAX)
        abort();
    mg_framing_status_line(text, &head, &no);
    if (mg_framing_request_line(text, &head, &no) == 0 && (head.target.n == 0 || head.method_text.n == 0))
        abort();
    head = (struct mg_head){ .method = MG_M_POST, .method_text = MG_STR("POST"), .target = MG_STR("/"), .version = n && data[0] & 1 ? 10 : 11 };
    fields(text, &a, &head.headers);
    if (mg_framing_request(&head, &a, &no) == 0)
        check_head(&head);
    head = (struct mg_head){ .status = 200, .version = 11 };
    fields(text, &a, &head.headers);
    if (mg_framing_response(&head, MG_M_GET, &a, &no) == 0)
        check_head(&head);
    head = (struct mg_head){ 0 };
    fields(text, &a, &head.headers);
    mg_framing_trailers(&head.headers, &no);
    mg_arena_deinit(&a);
    return 0;
}
