/* registry.h - plugins by name: shared objects and Lua scripts on a search path.
 *
 * A C plugin is copied to a private file for each content digest before dlopen (the loader would give back the old
 * code for a replaced file), loaded RTLD_NOW | RTLD_LOCAL and never unloaded. Names of bundled plugins are
 * reserved: a user's plugin of the same name is an error. */
#ifndef MG_PLUGIN_REGISTRY_H
#define MG_PLUGIN_REGISTRY_H

#include "base/error.h"
#include "base/str.h"

struct mg_registry;
enum mg_plugin_kind { MG_PLUGIN_C = 1, MG_PLUGIN_LUA = 2 };
struct mg_found_plugin {
    int kind;
    const struct mg_plugin *plugin;  /* C: the descriptor. Lua: filled by core/script afterwards */
    struct mg_str name, path;        /* of the .so or .lua */
    bool is_bundled;
};

/* folders: the user's, in order (the config's `plugin_path`, then plugins/ beside the config); bundled
 * ones come from the installation. */
struct mg_registry *mg_registry_new(const struct mg_str *folders, size_t n);
void mg_registry_free(struct mg_registry *r);
/* One more folder, before the others. 0 or MG_ENOMEM. */
int mg_registry_add(struct mg_registry *r, struct mg_str folder);
/* The folders, in the order in which they are searched. */
size_t mg_registry_folders(const struct mg_registry *r);
struct mg_str mg_registry_folder(const struct mg_registry *r, size_t i);
/* "kong:NAME" is a folder NAME with handler.lua and schema.lua in one of the folders, or in their kong/plugins (docs/kong.md): path is its
 * handler.lua. 0, MG_ENOENT with the nearest name in err, MG_ECONF (ABI mismatch with both numbers, a clash, dlopen's error). Builder thread. */
int mg_registry_find(struct mg_registry *r, struct mg_str name, struct mg_found_plugin *out, struct mg_error *err);
/* Every plugin on the path, sorted by name, for `moongate plugins`. */
void mg_registry_each(struct mg_registry *r, void (*fn)(void *arg, const struct mg_found_plugin *p), void *arg);
/* Where the installation has plugins and Lua files: beside the executable (build tree or prefix). Static storage. */
const char *mg_install_folder(const char *which /* "plugins", "lua" */);

#endif
