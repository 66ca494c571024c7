/* framing.h - what is refused, in one place.
 *
 * llhttp in strict mode still lets pass what smuggles requests past a proxy. Every head goes
 * through here before anybody sees it: requests (RFC 9112 sections 3, 5, 6, 11) and answers
 * (section 6, 9). The tests of spec/e2e/bad_input keep the list.
 *
 * In: the raw head in one contiguous buffer, its field spans, and nothing of what llhttp concluded
 * but the version and method: lengths and codings are read anew here. Out: the facts of struct
 * mg_head, and hop-by-hop fields removed. */
#ifndef MG_HTTP_FRAMING_H
#define MG_HTTP_FRAMING_H

#include "http/message.h"

struct mg_refusal { int status; const char *why; }; /* status for the client (0 for a response: it is a 502); why for the log */

/* HTTP/1: the first line without its CRLF, exactly as RFC 9112 sections 3 and 4 write it. Fill method, target and version,
 * or status, reason and version; they point into `line`. 0, or MG_EPROTO with *no filled. */
int mg_framing_request_line(struct mg_str line, struct mg_head *head, struct mg_refusal *no);
int mg_framing_status_line(struct mg_str line, struct mg_head *head, struct mg_refusal *no);
/* HTTP/1: no byte of a raw head stands outside of what was parsed. fields: what follows the first line, with the empty
 * line at the end. Each field of h must be `name ":" OWS value OWS CRLF`, one right behind the other (so no fold,
 * no bare LF, no space before the colon); values are trimmed on the way. */
int mg_framing_layout(struct mg_str fields, struct mg_headers *h, struct mg_refusal *no);
/* One such line without its CRLF (of a trailer section). */
int mg_framing_field_line(struct mg_str line, struct mg_str *name, struct mg_str *value, struct mg_refusal *no);
/* A chunk's first line without its CRLF: size and extensions (RFC 9112, 7.1). */
int mg_framing_chunk_line(struct mg_str line, uint64_t *size, struct mg_refusal *no);

/* head->headers hold all fields as received. 0, or MG_EPROTO with *no filled. */
int mg_framing_request(struct mg_head *head, struct mg_arena *a, struct mg_refusal *no);
/* to: the method of the request that it answers. */
int mg_framing_response(struct mg_head *head, int to_method, struct mg_arena *a, struct mg_refusal *no);
/* What Connection names is taken out, but a request that names a field which the way to the upstream or access rests on
 * (Host, Authorization, Cookie, Forwarded, Via, X-Forwarded-*, X-Real-IP) is refused: stripping these is an attack. */
/* Trailers: framing and routing fields in them are a fault (MG_EPROTO); hop-by-hop ones go. */
int mg_framing_trailers(struct mg_headers *t, struct mg_refusal *no);
/* Is it a valid host[:port] (RFC 3986, 3.2.2; registered names to letters, digits, "-._~" and sub-delims that DNS or
 * containers use)? host gets the name in lower case when `a` is given; port 0 when absent. */
bool mg_authority_ok(struct mg_str authority, struct mg_str *host, int *port, struct mg_arena *a);

#endif
