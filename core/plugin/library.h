/* library.h - a plugin's shared object, loaded from a private copy. For plugin/, and for who wants the digest. */
#ifndef MG_PLUGIN_LIBRARY_H
#define MG_PLUGIN_LIBRARY_H

#include "base/error.h"
#include "base/str.h"

/* Load `path`, which must describe a plugin called `name`. The descriptor lives as long as the process, and is the same for
 * the same bytes. 0, MG_ECONF or MG_ENOMEM with err. Any thread. */
int mg_library_open(const char *path, struct mg_str name, const struct mg_plugin **out, struct mg_error *err);
/* Part of the digest of its file; 0 when it was not loaded here. Any thread. */
uint64_t mg_library_digest(const struct mg_plugin *plugin);

#endif
