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

/* head->headers hold all fields as received. 0, or MG_EPROTO with *no filled. */
int mg_framing_request(struct mg_head *head, struct mg_arena *a, struct mg_refusal *no);
/* to: the method of the request that it answers. */
int mg_framing_response(struct mg_head *head, int to_method, struct mg_arena *a, struct mg_refusal *no);
/* Trailers: framing and routing fields in them are a fault (MG_EPROTO); hop-by-hop ones go. */
int mg_framing_trailers(struct mg_headers *t, struct mg_refusal *no);
/* Is it a valid host[:port] (RFC 3986, 3.2.2; registered names to letters, digits, "-._~" and sub-delims that DNS or
 * containers use)? host gets the name in lower case when `a` is given; port 0 when absent. */
bool mg_authority_ok(struct mg_str authority, struct mg_str *host, int *port, struct mg_arena *a);

#endif
