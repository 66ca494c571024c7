/* sink.h - which folder relative log paths start at. */
#ifndef MG_PDK_SINK_H
#define MG_PDK_SINK_H

#include "base/str.h"

/* On this thread, from now on (the builder sets the config's folder before it calls `create`); empty: the working
 * folder. Borrowed. */
void mg_sink_folder(struct mg_str folder);

#endif
