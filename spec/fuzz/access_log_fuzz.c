/* Formats of the config, and values of strangers in them: a line stays one line, within its bounds. */
#include "exchange.h"
#include "base/text.h"
#include "../../plugins/access-log/line.c"
#undef fail
#include "../../plugins/access-log/columns.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char buffer[4096 + LINE_SLACK];

static void write_line(const struct format *f, struct mg_exchange *x, bool is_json, bool is_plain_text)
{
    struct line l = { buffer, buffer + 4096, 256, is_json };
    struct log_clock clock = { 0 };

    format_write(f, mg_handle_of(x), &l, &clock);
    must(l.p >= buffer && l.p <= buffer + sizeof(buffer));
    for (const char *p = buffer; is_plain_text && p < l.p; p++)
        must(*p != '\n' && *p != '\r' && *p != 0);
}

/* Parts with NUL between: a format, a path, a query, header values. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mg_str in = mg_str((const char *)data, size), text = fuzz_next(&in), rest = in;
    struct pair pair = { MG_STR("field"), text };
    struct mg_exchange *x;
    bool is_clean = !memchr(text.p ? text.p : "", '\n', text.n) && !memchr(text.p ? text.p : "", '\r', text.n);
    struct mg_error err = { 0 };
    struct format f = { 0 };

    if (size > 4096)
        return 0;
    x = fuzz_exchange();
    x->path = x->target = fuzz_next(&rest);
    x->query = fuzz_next(&rest);
    x->has_query = true;
    fuzz_field(x, "user-agent", fuzz_next(&rest));
    fuzz_field(x, "referer", rest);
    if (format_plain(&f, text, &err) == 0)
        write_line(&f, x, false, is_clean);
    else
        must(err.message[0] != 0);
    format_free(&f);
    memset(&f, 0, sizeof(f));
    err = (struct mg_error){ 0 };
    if (format_json(&f, &pair, 1, size & 1, &err) == 0)
        write_line(&f, x, true, is_clean);
    else
        must(err.message[0] != 0);
    format_free(&f);
    mg_exchange_free(x);
    return 0;
}
