/* new.h - what `moongate new plugin` writes. @NAME@ is the plugin's name, @WORD@ the same with underscores. */
#ifndef MG_CLI_NEW_H
#define MG_CLI_NEW_H

extern const char mg_new_lua_plugin[], mg_new_lua_spec[], mg_new_lua_page[];
extern const char mg_new_c_plugin[], mg_new_c_cmake[], mg_new_c_spec[], mg_new_c_page[];

#endif
