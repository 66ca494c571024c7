/* onsave.h - `moongate run --watch`: load the config anew when a file of it is saved, and show on the terminal what is wrong with it.
 *
 * Folders are watched, not files: editors put a new file in the place of the old one, and a file may vanish and come back. They are those
 * of the config, of all that it and its plugins required, of plugins, and of each file that a mistake names (which the config in
 * force need not know). A change of a file among them, or of any .lua or .so there, counts once nothing more has come for 100 ms. A folder
 * that is gone is looked for twice a second. Control thread. */
#ifndef MG_SERVER_ONSAVE_H
#define MG_SERVER_ONSAVE_H

#include <stdbool.h>
#include "base/str.h"

struct mg_gateway;
struct mg_onsave;

/* NULL: out of memory. */
struct mg_onsave *mg_onsave_new(struct mg_gateway *g);
/* A reload has ended: tell it on the terminal, each mistake with the source's line, and see to what must be watched now. */
void mg_onsave_told(struct mg_onsave *o, bool ok, const char *text);
/* Before the loop is closed. */
void mg_onsave_free(struct mg_onsave *o);

/* Write the mistakes in `text` ("FILE:LINE: PATH: what is wrong", a line each) to a file, each followed by that line of the source and a mark
 * under what the path's last name says, or under its beginning. */
void mg_onsave_show(int fd, const char *folder, const char *text);
/* The innermost place that a mistake names: *path (empty: none) and *number. Returns what it says of it. */
struct mg_str mg_onsave_place(struct mg_str mistake, struct mg_str *path, int *number);
/* The file of such a place; relative ones count from `folder`. false: not found. */
bool mg_onsave_find(const char *folder, struct mg_str path, char *out, size_t n);

#endif
