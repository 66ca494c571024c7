/* uri.h - request targets: splitting, and the one normal form that is matched and sent.
 *
 * RFC 3986, 6.2.2: dot segments are resolved, needless percent-encoding is decoded, hex digits are in
 * upper case, bytes that must be encoded are. `%00` is refused, `%2F` stays as it is, and a `..` above the root is
 * refused. Empty segments ("//") are kept. What comes out is what the router matches and what the upstream gets. */
#ifndef MG_HTTP_URI_H
#define MG_HTTP_URI_H

#include "base/arena.h"

struct mg_uri {
    struct mg_str scheme, authority; /* of an absolute target; "" otherwise */
    struct mg_str path;              /* normalised, "*" for OPTIONS * */
    struct mg_str query;             /* raw, without '?' */
    bool has_query;
};
/* Origin, absolute and asterisk form (RFC 9112, 3.2). Parts point into `target` where nothing changed, else into the
 * arena. 0, MG_ESYNTAX (400), MG_ENOMEM. */
int mg_uri_parse(struct mg_str target, struct mg_arena *a, struct mg_uri *out);
int mg_uri_normalise_path(struct mg_str path, struct mg_arena *a, struct mg_str *out);
/* %XX decoded (plus_is_space: form rules); NUL may appear. */
int mg_uri_decode(struct mg_str s, bool plus_is_space, struct mg_arena *a, struct mg_str *out);
int mg_uri_encode(struct mg_str s, struct mg_arena *a, struct mg_str *out); /* all but unreserved */
/* Walk the arguments of a query, undecoded: false at the end. has_value: there was a '='. */
bool mg_query_next(struct mg_str *rest, struct mg_str *name, struct mg_str *value, bool *has_value);

#endif
