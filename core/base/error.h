/* error.h - a code for the program, a message for the person.
 *
 * Functions return 0 or a negative int: libuv's codes for I/O (UV_ETIMEDOUT), ours (MG_E*, pdk.h)
 * below -5000. Those that a person will read about take a `struct mg_error *` (plugin.h) as well. */
#ifndef MG_BASE_ERROR_H
#define MG_BASE_ERROR_H

#include <moongate/plugin.h>

/* Fill err (which may be NULL) and return code, so that callers write `return mg_fail(…)`. */
int mg_fail(struct mg_error *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* A short name for a code: "ETIMEDOUT", "EENDED". Static storage. */
const char *mg_error_name(int code);

#endif
