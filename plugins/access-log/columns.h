/* columns.h - what a log line can hold, and how a format is compiled to it.
 *
 * A format is an array of columns: text that stands before a value, and the function that writes the value. Values
 * with a name of their own (the table in columns.c) come straight from the PDK and keep their type;
 * any other variable, and mixed text, goes through a template. */
#ifndef ACCESS_LOG_COLUMNS_H
#define ACCESS_LOG_COLUMNS_H

#include "line.h"
#include <moongate/plugin.h>

/* What a worker keeps: the text of the present second. */
struct log_clock {
    int64_t second;
    char iso[20], clf[28];
};

struct column;
/* Write the value; false when there is none. */
typedef bool column_fn(struct mg_x *x, struct line *l, const struct column *c, struct log_clock *clock);

struct column {
    char *before;               /* heap */
    size_t before_n;
    column_fn *write;           /* NULL: text alone */
    struct mg_template *template; /* own; of values without a name of their own */
    char *name;                 /* heap: of a header column, and what stands for no value in a plain line */
    size_t name_n;
    char *absent;
    size_t absent_n;
};
struct format {
    struct column *columns;
    size_t n, room;
};
struct pair {                   /* of the config: a field's name and its value's template */
    struct mg_str name, value;
};

/* The default fields, those of `pairs` in their place (replace) or after them. 0, or < 0 with err filled; free it with
 * format_free either way. */
int format_json(struct format *f, const struct pair *pairs, size_t n, bool replace, struct mg_error *err);
/* A plain line by its template. */
int format_plain(struct format *f, struct mg_str text, struct mg_error *err);
void format_free(struct format *f);

/* Write the line of one exchange. */
void format_write(const struct format *f, struct mg_x *x, struct line *l, struct log_clock *clock);

#endif
