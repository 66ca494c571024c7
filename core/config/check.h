/* check.h - a tree against a table of fields (plugin.h): every mistake, each with its cure.
 *
 * The same tables serve the core's own sections and the plugins' (preset of a list: items with commas
 * between; of a table: "{}", its fields' own defaults). One pass checks and normalises in place
 * (defaults filled in, "5s" becomes 5000, "64k" becomes 65536, positional and single forms become the full one); a second fills C
 * structs from what passed. */
#ifndef MG_CONFIG_CHECK_H
#define MG_CONFIG_CHECK_H

#include "base/error.h"
#include "config/config.h"

/* at: where; its file and line are looked up when the text is made, so that mg_config_locate may run in between. */
struct mg_mistake { struct mg_str file; int line; struct mg_str path, message; const struct mg_value *at; };
struct mg_check_pattern { const char *pattern; struct mg_re *re; };

/* Gathers mistakes. All zero to begin; memory is the arena's. */
struct mg_check {
    struct mg_arena *arena;
    struct mg_mistake *list;
    size_t n, room;
    const char *suffix;         /* " (plugin rate-limit)" on every message while set; NULL */
    struct mg_str folder;       /* for MG_PATH */
    struct mg_str main_file;    /* named where no other file is known */
    bool no_defaults;           /* do not put defaults into the tree: mg_fields_fill knows them too, and large configs stay small */
    const char *const *also_known; /* words to suggest beside the fields' names; NULL-terminated, or NULL */
    bool is_secret;             /* the value in hand is not to be shown */
    struct mg_check_pattern patterns[16]; /* compiled, for fields with `pattern` */
    size_t patterns_n;
};
void mg_check_add(struct mg_check *c, const struct mg_value *at, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* At a key that `table` does not have, or the key itself: "routes.users.limit". */
void mg_check_add_key(struct mg_check *c, const struct mg_value *table, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* "gateway.lua:41: routes.users.plugins[2].limt: unknown key; did you mean "limit"? (plugin rate-limit)\n", one line each,
 * ordered by file and line. */
struct mg_str mg_check_text(struct mg_check *c, struct mg_arena *a);

/* Check `table` against fields; normalises in place. skip_first: positions of the array part that belong to the caller (a chain entry's name). Returns
 * how many mistakes were added. */
int mg_fields_check(struct mg_check *c, const struct mg_field *fields, size_t field_bytes, struct mg_value *table, int skip_first);
/* Fill a struct from a checked table. Arrays and strings go to the arena; templates, regexes and the like are freed
 * by the arena's defers. 0 or MG_ENOMEM. */
int mg_fields_fill(const struct mg_field *fields, size_t field_bytes, const struct mg_value *table, void *out, struct mg_arena *a);
/* Replace every value whose field is secret by "***", in a copy. */
struct mg_value *mg_fields_mask(const struct mg_field *fields, size_t field_bytes, const struct mg_value *table, struct mg_arena *a);
/* A Lua-side field table ({ limit = { type = "integer", … } }, a plugin's `fields`) as C fields with offsets assigned; *bytes gets the
 * struct's size. NULL when a description is wrong (err says which). */
const struct mg_field *mg_fields_from_value(const struct mg_value *v, struct mg_arena *a, size_t *bytes, struct mg_error *err);
/* "5s" -> 5000; "64k" -> 65536; false when malformed. */
/* A field of a table with a stride: false past its end (a field without name). */
bool mg_field_at(const struct mg_field *fields, size_t field_bytes, size_t i, struct mg_field *out);
/* The default of a field as a checked value; NULL when it has none (or is out of memory). */
struct mg_value *mg_field_preset(const struct mg_field *f, size_t field_bytes, struct mg_arena *a);
/* What a field takes, for people: "a whole number from 1 to 63". */
void mg_field_expects(const struct mg_field *f, size_t field_bytes, char *buf, size_t n);
const char *mg_type_name(enum mg_type type);
bool mg_duration_parse(struct mg_str s, int64_t *ms);
bool mg_size_parse(struct mg_str s, int64_t *bytes);

#endif
