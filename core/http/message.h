/* message.h - the head of a request or a response, whatever protocol carried it.
 *
 * A codec shows a head only when it is whole and has passed framing.c. Fields that frame the message
 * or belong to one connection (Connection and all it names, Keep-Alive, Proxy-Connection, TE, Trailer,
 * Transfer-Encoding, Upgrade, Content-Length, Expect) have been taken out of `headers` and stand here
 * as facts; a codec that sends a head writes its own. */
#ifndef MG_HTTP_MESSAGE_H
#define MG_HTTP_MESSAGE_H

#include "http/headers.h"

enum mg_framing {
    MG_BODY_NONE = 0,   /* nothing follows the head */
    MG_BODY_LENGTH,     /* `length` bytes (may be 0: "content-length: 0" is said) */
    MG_BODY_STREAM,     /* until its end is flagged: chunked, or HTTP/2 */
    MG_BODY_CLOSE       /* a response until the connection closes (received only; sent as MG_BODY_STREAM where possible) */
};

enum mg_method { MG_M_OTHER = 0, MG_M_GET, MG_M_HEAD, MG_M_POST, MG_M_PUT, MG_M_DELETE, MG_M_PATCH, MG_M_OPTIONS, MG_M_CONNECT, MG_M_TRACE };

struct mg_head {
    struct mg_headers headers;
    /* request */
    struct mg_str method_text;
    int method;                /* enum mg_method */
    struct mg_str target;      /* as received */
    struct mg_str authority;   /* Host's value, or the absolute target's; as received, checked (a valid host[:port]); also in headers as Host */
    struct mg_str host;        /* authority's name in lower case, and */
    int port;                  /* its port (0: none), as framing.c read them */
    /* response */
    int status;
    struct mg_str reason;
    /* both */
    int version;               /* 10, 11, 20 */
    int framing;               /* enum mg_framing */
    int64_t length;            /* of MG_BODY_LENGTH; for HEAD and 304 what content-length said, else -1 */
    bool expects_continue;     /* Expect: 100-continue */
    bool accepts_trailers;     /* TE: trailers */
    bool closes;               /* received: the peer will close after it; sent: we ask it to */
    struct mg_str upgrade;     /* Upgrade's value when Connection names it; "" otherwise */
    struct mg_str trailer;     /* Trailer's value */
};

int mg_method_of(struct mg_str text);
struct mg_str mg_method_text(int method);
/* The standard reason phrase; "" for an unknown status. */
struct mg_str mg_reason(int status);

#endif
