/* http_url.h - the URLs of our own requests: http and https alone.
 *
 *     http://example.com/path?query    https://[2001:db8::1]:8443/    http://unix:/run/app.sock:/path
 *
 * No user names (they end up in logs); a fragment is dropped. Bytes of the target that are no visible ASCII are percent-encoded,
 * controls are refused, and all else is sent as it was written. */
#ifndef MG_SERVICE_HTTP_URL_H
#define MG_SERVICE_HTTP_URL_H

#include "base/arena.h"

struct mg_url {
    bool is_tls;
    struct mg_str host;      /* lower case, an IPv6 address in brackets; "" for a Unix socket */
    int port;                /* named, or the scheme's */
    struct mg_str unix_path; /* "" but for a Unix socket */
    struct mg_str origin;    /* "https://host:port", always with the port; "http://unix:/run/app.sock" */
    struct mg_str authority; /* for Host: without the scheme's own port; "localhost" for a Unix socket */
    struct mg_str target;    /* path and query; begins with '/' */
};
/* Parts live in the arena. 0, MG_EINVAL, MG_ENOMEM. */
int mg_url_parse(struct mg_str text, struct mg_arena *a, struct mg_url *out);
/* A path with its query, cleaned as in a URL. The same errors. */
int mg_url_target(struct mg_str text, struct mg_arena *a, struct mg_str *out);
/* What a Location means for a target (RFC 3986, 5.2): an absolute URL as it is in *url, p NULL when it stays with the host;
 * then *target. */
int mg_url_follow(struct mg_str location, bool is_tls, struct mg_str base_target, struct mg_arena *a, struct mg_str *url,
                  struct mg_str *target);

#endif
