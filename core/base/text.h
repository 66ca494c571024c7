/* text.h - a line that is put together in a fixed buffer; what does not fit is cut.
 *
 *     mg_text_init(&t, buffer, sizeof(buffer));
 *     mg_text_put(&t, "status=", 7);
 *     mg_text_escape(&t, value, MG_TEXT_JSON);
 */
#ifndef MG_BASE_TEXT_H
#define MG_BASE_TEXT_H

#include "base/str.h"

struct mg_text {
    char *p;
    size_t n, max;
    bool was_cut;
};

enum mg_text_escape {
    MG_TEXT_JSON = 0, /* inside of a JSON string; bytes that are no UTF-8 become U+FFFD */
    MG_TEXT_PLAIN = 1 /* for a terminal: controls as \n, \x1b…, all else as it is */
};

void mg_text_init(struct mg_text *t, char *buffer, size_t max);
void mg_text_put(struct mg_text *t, const char *p, size_t n);
void mg_text_put_c(struct mg_text *t, const char *s);
void mg_text_escape(struct mg_text *t, struct mg_str s, enum mg_text_escape how);
/* Shortest digits that read back as the same number; "null" for what is none. */
void mg_text_number(struct mg_text *t, double v);

/* Bytes of the UTF-8 sequence at p (RFC 3629: no surrogates, nothing overlong), 0 when there is none. */
size_t mg_utf8_length(const char *p, size_t n);

#endif
