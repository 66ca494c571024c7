/* source.h - what a config is made of, read once: the file, all that it requires, plugin scripts.
 *
 * The builder's VM and every worker's VM run these same bytes, so that a file changed in between
 * cannot make them differ. Immutable once the builder is done; counted. */
#ifndef MG_CONFIG_SOURCE_H
#define MG_CONFIG_SOURCE_H

#include "base/error.h"
#include "base/str.h"

struct mg_sources;
struct mg_source_file { struct mg_str name; /* as required: "conf.keys"; of the main file "" */ struct mg_str path, bytes; };

struct mg_sources *mg_sources_new(void);
struct mg_sources *mg_sources_ref(struct mg_sources *s);
void mg_sources_unref(struct mg_sources *s);
/* Read a file under a name, or give what was read before. NULL with err. Builder thread only. */
const struct mg_source_file *mg_sources_read(struct mg_sources *s, struct mg_str name, const char *path, struct mg_error *err);
/* Bytes without a file (tests, built-in scripts). */
const struct mg_source_file *mg_sources_put(struct mg_sources *s, struct mg_str name, const char *path, struct mg_str bytes);
const struct mg_source_file *mg_sources_find(const struct mg_sources *s, struct mg_str name);
const struct mg_source_file *mg_sources_at(const struct mg_sources *s, size_t i); /* in order of reading; NULL past the end */
/* What the environment, the clock and the seed were: the same in every VM. */
struct mg_world { int64_t wall_us; uint64_t seed; char *const *env; };
const struct mg_world *mg_sources_world(const struct mg_sources *s);

#endif
