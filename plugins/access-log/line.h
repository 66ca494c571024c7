/* line.h - one log line, built in a worker's own buffer without printf or allocation.
 *
 * Text is escaped as it is copied: as JSON (UTF-8; what is none becomes U+FFFD), or, in plain lines, as
 * Apache and nginx do it, so that nothing a client sends can end a line or a quoted part of it. A line that is full
 * drops what no longer fits, whole values at a time; its end always fits. */
#ifndef ACCESS_LOG_LINE_H
#define ACCESS_LOG_LINE_H

#include <moongate/pdk.h>
#include <string.h>

struct line {
    char *p, *end;      /* where the next byte goes; there are LINE_SLACK bytes beyond end */
    size_t text_max;    /* longer values are cut */
    bool is_json;
};

enum { LINE_SLACK = 64 };

/* Constant text of the config. */
static inline void line_raw(struct line *l, const char *p, size_t n)
{
    if ((size_t)(l->end - l->p) < n)
        return;
    memcpy(l->p, p, n);
    l->p += n;
}

/* A value: quoted and escaped in JSON, escaped in a plain line. */
void line_text(struct line *l, struct mg_str s);
/* A number. milli: thousandths, written with three decimals. */
void line_number(struct line *l, int64_t v);
void line_milli(struct line *l, int64_t thousandths);

#endif
