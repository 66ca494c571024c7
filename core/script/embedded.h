/* embedded.h - text that the binary carries: "pdk.cdef" and the files of lua/moongate ("init.lua", "kong/init.lua"). */
#ifndef MG_SCRIPT_EMBEDDED_H
#define MG_SCRIPT_EMBEDDED_H

#include <stddef.h>

struct mg_embedded { const char *name; const char *text; size_t n; };
extern const struct mg_embedded mg_embedded_files[]; /* ends with a NULL name */

#endif
