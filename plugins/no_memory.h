/* no_memory.h - what a plugin's create says when there is none. */
#ifndef PLUGINS_NO_MEMORY_H
#define PLUGINS_NO_MEMORY_H

#include <moongate/plugin.h>
#include <stdio.h>

/* Returns MG_ENOMEM. */
static inline int no_memory(struct mg_error *err)
{
    snprintf(err->message, sizeof(err->message), "out of memory");
    return err->code = MG_ENOMEM;
}

#endif
