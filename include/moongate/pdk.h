/* pdk.h - everything that a Moongate plugin may call, in C and in Lua.
 *
 * C plugins include this file and call the functions directly: the gateway's executable exports
 * them. The Lua runtime reads the very same declarations through LuaJIT's FFI (the build embeds
 * this file, preprocessed with MG_CDEF defined), so there is no second binding to keep in step.
 * That is why it keeps to what LuaJIT's parser reads and its compiler compiles: enums for
 * constants, opaque structs, scalars and pointers as arguments, results through `out`, nothing
 * variadic, no structs by value, no callbacks.
 *
 * What holds for every call:
 *  - `x` is a handle, not a pointer. It stays safe to pass after its exchange has ended: the call
 *    then does nothing and returns MG_EENDED.
 *  - Pointer arguments are read during the call only; what must be kept is copied.
 *  - A `struct mg_str *out` is set to bytes that live until the exchange ends, unless the comment
 *    says otherwise; they may lie beside other data and are not NUL-terminated. When a call fails, `out` is empty.
 *  - Functions return 0 (or a count, or a positive id) on success and a negative MG_E* code on
 *    failure. MG_EPHASE: not in this phase. MG_ENOMEM: the exchange is over its memory budget.
 *  - A contract names the phases in which a call is allowed ("Phases of …"); without a word it is all of them. Elsewhere the
 *    call does nothing and returns MG_EPHASE (in Lua: an error). A spec calls every function in every phase.
 *  - They run on the exchange's worker thread, inside a phase function, unless the comment says
 *    otherwise. They never block, never run another plugin, and never enter Lua.
 *  - Calls record intent. The chain acts on it once the plugin has returned its verdict.
 */
#ifndef MOONGATE_PDK_H
#define MOONGATE_PDK_H

#ifndef MG_CDEF /* LuaJIT knows these types, and has no use for the rest */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)
#endif

struct mg_json; /* a JSON document: below */
struct mg_x; /* one exchange: a request and its response */

/* A run of bytes. Not NUL-terminated. `p` may be NULL when `n` is 0. */
struct mg_str {
    const char *p;
    size_t n;
};

/* What a phase function answers; the same meaning in every phase and in both languages. */
enum mg_verdict {
    MG_CONTINUE = 0, /* go on with the next entry of the chain */
    MG_RESPOND = 1,  /* an answer was recorded with mg_respond() or mg_respond_error(): send it */
    MG_WAIT = 2,     /* an operation is under way: on_wake is called when it ends */
    MG_ERROR = 3     /* logged; answered 500, or skipped where the entry says on_error = "continue" */
};

enum mg_error_code {
    MG_OK = 0,
    MG_ECONF = -5001,    /* a configuration that does not hold */
    MG_EENDED = -5002,   /* this exchange has ended */
    MG_EPHASE = -5003,   /* not allowed in this phase */
    MG_ENOENT = -5004,   /* no such thing */
    MG_ENOMEM = -5005,   /* over the memory budget */
    MG_EINVAL = -5006,   /* an argument that makes no sense, or bytes that HTTP forbids there */
    MG_ETOOBIG = -5007,  /* beyond a limit */
    MG_EBUSY = -5008,    /* too many of these at once */
    MG_ETIMEOUT = -5009, /* not in time */
    MG_ESYNTAX = -5010,  /* malformed input */
    MG_EPROTO = -5011,   /* the peer broke the protocol */
    MG_ECLOSED = -5012,  /* the peer went away */
    MG_ETLS = -5013,     /* TLS setup or handshake failed */
    MG_ECANCELED = -5014, /* given up, as the exchange ended */
    MG_EEXIST = -5015,   /* there is one already */
    MG_EIO = -5016       /* a file or disk failed; the log says how */
};

enum mg_phase {
    MG_ON_REWRITE = 0,
    MG_ON_REQUEST = 1,
    MG_ON_REQUEST_BODY = 2,
    MG_ON_RESPONSE = 3,
    MG_ON_RESPONSE_BODY = 4,
    MG_ON_LOG = 5,
    MG_PHASES = 6,
    MG_ON_STREAM = 13, /* an entry makes a body bit by bit (mg_body_stream): its on_wake, beside whatever the exchange does */
    /* Outside of a chain. */
    MG_ON_WORKER = 14, /* worker_create, which cannot wait; on_worker of a script, which is a task and may */
    MG_ON_TASK = 15    /* a task: there is no request and no response, and calls about them give MG_EPHASE */
};

/* The blocks of fields and the bodies of an exchange. */
enum mg_side {
    MG_REQUEST = 0,
    MG_RESPONSE = 1,
    MG_REQUEST_TRAILERS = 2, /* header calls only; present once the body has ended */
    MG_RESPONSE_TRAILERS = 3
};

/* ---- the exchange ------------------------------------------------------------------------ */
/* Phases of mg_x_set_id: on_rewrite, on_request. Phases of mg_x_count: all but on_task. */

/* The id that the core gives every exchange: 32 lower-case hex digits, or what the request-id
 * plugin took over from the client with mg_x_set_id (1 to 128 visible ASCII characters, else
 * MG_EINVAL). It appears in problem answers and in logs. */
int mg_x_id(struct mg_x *x, struct mg_str *out);
int mg_x_set_id(struct mg_x *x, const char *id, size_t id_n);

/* enum mg_phase of the call in progress. */
int mg_x_phase(struct mg_x *x);

/* Memory that lives until the exchange ends, aligned for any type, not cleared.
 * NULL when the exchange is over its budget. */
void *mg_x_alloc(struct mg_x *x, size_t bytes);

/* This chain entry's own memory in this exchange: cleared at the first call, the same block in
 * every later phase (on_log included). `bytes` must be the same each time. NULL: over budget. */
void *mg_x_local(struct mg_x *x, size_t bytes);

enum mg_span {
    MG_SPAN_TOTAL = 0,      /* first byte of the request until now, or until the last byte sent */
    MG_SPAN_UPSTREAM = 1,   /* from choosing a target until the response ended (or until now) */
    MG_SPAN_CONNECT = 2,    /* until a connection was there; 0 when one was reused */
    MG_SPAN_FIRST_BYTE = 3, /* from the request sent until the response head */
    MG_SPAN_GATEWAY = 4     /* total less upstream: what the gateway and its plugins took */
};
/* Microseconds; -1 when that has not begun. */
int64_t mg_x_span_us(struct mg_x *x, int span);

enum mg_count {
    MG_BYTES_IN = 0,          /* from the client: head and body */
    MG_BYTES_OUT = 1,         /* to the client: head and body */
    MG_BYTES_BODY_IN = 2,
    MG_BYTES_BODY_OUT = 3,
    MG_UPSTREAM_BYTES_IN = 4, /* from the upstream */
    MG_UPSTREAM_BYTES_OUT = 5,
    MG_UPSTREAM_TRIES = 6
};
int64_t mg_x_count(struct mg_x *x, int count);

/* Wall-clock time at which the request's first byte came: microseconds since 1970. */
int64_t mg_x_start_us(struct mg_x *x);

/* ---- the request ------------------------------------------------------------------------- */
/* Phases of mg_request_method, mg_request_scheme, mg_request_host, mg_request_port, mg_request_path,
 * mg_request_query, mg_request_target, mg_request_version, mg_query_get, mg_query_at, mg_request_param,
 * mg_request_cookie: all but on_task. Phases of mg_request_set_method, mg_request_set_path,
 * mg_request_set_query, mg_query_set, mg_query_add, mg_query_remove: on_rewrite, on_request. */

/* Setters: on_rewrite and on_request. A change is what the upstream gets; in on_rewrite it is also
 * what the router matches. */

int mg_request_method(struct mg_x *x, struct mg_str *out);
int mg_request_set_method(struct mg_x *x, const char *p, size_t n);
/* "http" or "https", as the client reached us (a trusted proxy's word counts). */
int mg_request_scheme(struct mg_x *x, struct mg_str *out);
/* Host in lower case without port; port as the client named it or the scheme's own. */
int mg_request_host(struct mg_x *x, struct mg_str *out);
int mg_request_port(struct mg_x *x);
/* The normalised path, percent-encoded where it must be; begins with '/'. Setting normalises. */
int mg_request_path(struct mg_x *x, struct mg_str *out);
int mg_request_set_path(struct mg_x *x, const char *p, size_t n);
/* The raw query, without '?'. */
int mg_request_query(struct mg_x *x, struct mg_str *out);
int mg_request_set_query(struct mg_x *x, const char *p, size_t n);
/* The request target as it was received. */
int mg_request_target(struct mg_x *x, struct mg_str *out);
/* 10, 11, 20. */
int mg_request_version(struct mg_x *x);

/* One query argument, decoded. get: the first of that name, MG_ENOENT when absent. at: the i-th of
 * all, MG_ENOENT past the end. set: replaces the first and removes others. add: appends. remove:
 * returns how many went. */
int mg_query_get(struct mg_x *x, const char *name, size_t name_n, struct mg_str *out);
int mg_query_at(struct mg_x *x, int i, struct mg_str *name, struct mg_str *value);
int mg_query_set(struct mg_x *x, const char *name, size_t name_n, const char *p, size_t n);
int mg_query_add(struct mg_x *x, const char *name, size_t name_n, const char *p, size_t n);
int mg_query_remove(struct mg_x *x, const char *name, size_t name_n);

/* A {param} of the matched path, decoded. "*" names what the wildcard took (not decoded). */
int mg_request_param(struct mg_x *x, const char *name, size_t name_n, struct mg_str *out);
/* A cookie's value, as sent. */
int mg_request_cookie(struct mg_x *x, const char *name, size_t name_n, struct mg_str *out);

/* ---- header fields ------------------------------------------------------------------------ */
/* Phases of mg_header_get, mg_header_join, mg_header_at: all but on_task. Phases of mg_header_set,
 * mg_header_add, mg_header_remove: on_rewrite, on_request, on_response. */

/* Names match whatever their case. Request fields may change in on_rewrite and on_request, response
 * fields after mg_respond() and in on_response. Fields that frame or belong to one connection
 * (connection, content-length, transfer-encoding, te, trailer, upgrade, keep-alive…) are the
 * core's: setting one is MG_EINVAL, as are bytes that a field cannot hold. */

/* The first value; MG_ENOENT when absent. */
int mg_header_get(struct mg_x *x, int side, const char *name, size_t name_n, struct mg_str *out);
/* All values joined by ", " (RFC 9110, 5.3). */
int mg_header_join(struct mg_x *x, int side, const char *name, size_t name_n, struct mg_str *out);
/* The i-th field of the block (0 is the first); MG_ENOENT past the end. */
int mg_header_at(struct mg_x *x, int side, int i, struct mg_str *name, struct mg_str *value);
/* Replaces all fields of that name by one. */
int mg_header_set(struct mg_x *x, int side, const char *name, size_t name_n, const char *p, size_t n);
int mg_header_add(struct mg_x *x, int side, const char *name, size_t name_n, const char *p, size_t n);
/* Returns how many fields went. */
int mg_header_remove(struct mg_x *x, int side, const char *name, size_t name_n);

/* ---- the response ------------------------------------------------------------------------- */
/* Phases of mg_response_status, mg_response_source, mg_x_failure: all but on_task. Phases of
 * mg_response_set_status: on_response. Phases of mg_respond, mg_respond_error: on_rewrite, on_request,
 * on_request_body, on_response. */

/* 0 before there is one. */
int mg_response_status(struct mg_x *x);
/* on_response: 200 to 599. A status that has no body (204, 304) drops the body. */
int mg_response_set_status(struct mg_x *x, int status);

enum mg_source { MG_SOURCE_NONE = 0, MG_SOURCE_UPSTREAM = 1, MG_SOURCE_PLUGIN = 2, MG_SOURCE_GATEWAY = 3 };
/* Who made the response. */
int mg_response_source(struct mg_x *x);
/* The token of a gateway-made failure ("connect_refused", "timeout", …; docs/operating.md lists
 * them), empty when nothing failed. */
int mg_x_failure(struct mg_x *x, struct mg_str *out);

/* Record an answer: status and body; it replaces one recorded before. Fields are then set with
 * mg_header_set(x, MG_RESPONSE, …). Return MG_RESPOND for it to be sent.
 * on_rewrite, on_request, on_request_body (until a response has begun; what went upstream is cut off), and on_response, where it replaces the response. */
int mg_respond(struct mg_x *x, int status, const char *body, size_t body_n);
/* The same with the gateway's error body: RFC 9457 problem details, or the shape the config sets.
 * detail may be empty. */
int mg_respond_error(struct mg_x *x, int status, const char *detail, size_t detail_n);

/* ---- bodies -------------------------------------------------------------------------------- */
/* Phases of mg_body_in_file, mg_body_part_get: all but on_task. Phases of mg_body_part: on_request, on_response.
 * Phases of mg_body_read, mg_body_read_plain, mg_body_set_plain, mg_body_set, mg_body_stream: on_request,
 * on_response. Phases of mg_body_get, mg_body_plain, mg_body_write, mg_body_room, mg_body_finish,
 * mg_body_length: all but on_task. Phases of mg_piece_get, mg_piece_last, mg_piece_set: on_request_body,
 * on_response_body. Phases of mg_body_resize: on_rewrite, on_request, on_response. Phases of mg_body_decode, mg_body_pull: on_request, on_response. Phases of mg_body_encode: on_rewrite,
 * on_request, on_response. Phases of mg_body_next: on_request, on_response, on_stream. Phases of mg_body_next_get: all but on_task. */

/* A plugin that implements on_request_body or on_response_body sees each piece as it passes. One
 * that needs a body whole asks for it in on_request or on_response with mg_body_read, returns
 * MG_WAIT and is woken when it is there. */

enum mg_over {
    MG_OVER_REFUSE = 0, /* request: answer 413; response: answer 502 */
    MG_OVER_SKIP = 1,   /* wake with MG_ETOOBIG; the body passes by untouched */
    MG_OVER_SPILL = 3,  /* mg_body_read: what is more than limits.buffered_body goes to a temporary file, up to `limit` (0: the
                           route's limits.spilled_body); more is refused. mg_body_part reads it */
    MG_OVER_PASS_MALFORMED = 4 /* a flag for mg_body_read_plain: refuse what is too large, but wake with MG_ESYNTAX when it is malformed */
};
/* Gather the body, at most `limit` bytes (0: the route's limits.buffered_body), at most once in
 * an entry. Returns 0: under way, on_wake gets status 0 or MG_ETOOBIG, MG_ECLOSED; 1: it is there
 * already. MG_EBUSY: another entry gathers it, or it lies in a file and steps of entries between would have to pass over it once more
 * (what has been put into a file is not written again: the entry that spills stands behind them). */
int mg_body_read(struct mg_x *x, int side, int64_t limit, int over);
/* The gathered body; MG_ENOENT before mg_body_read has ended; MG_ETOOBIG: it lies in a file. */
int mg_body_get(struct mg_x *x, int side, struct mg_str *out);
/* The same without its content-encoding (gzip, deflate, br, zstd, or several): the limit holds for what comes out as well, and with
 * MG_OVER_SKIP on_wake gets MG_ESYNTAX when the body is not what it says; refused, it is answered 400, of a response 502. The bytes
 * that came pass on as they are, unless the body is replaced. MG_ENOENT: a coding that is not known (nothing is read). */
int mg_body_read_plain(struct mg_x *x, int side, int64_t limit, int over);
/* The gathered body without its content-encoding, decoded once and kept until it is replaced; any phase. A body without one is
 * what mg_body_get gives. MG_ENOENT before it is gathered; MG_ESYNTAX: malformed, or an unknown coding; MG_ETOOBIG: over the route's
 * limits.buffered_body. */
int mg_body_plain(struct mg_x *x, int side, struct mg_str *out);
/* mg_body_set with plain text: Content-Encoding goes, so do the digests of the old bytes (Content-MD5, Digest,
 * Content-Digest, Repr-Digest), and a strong ETag becomes a weak one. */
int mg_body_set_plain(struct mg_x *x, int side, const char *p, size_t n);
/* The gathered body as a JSON document, without its content-encoding, read once and shared by the whole chain until the body is
 * replaced. Borrowed: it lives as long as the exchange; never free it. NULL with a message of at most `error_n` bytes when it is
 * no JSON or the body has not been read. Any phase. */
struct mg_json *mg_body_json(struct mg_x *x, int side, char *error, size_t error_n);
/* Replace the whole body. on_request, on_response; the length is set by the core. What has not
 * arrived of the old one is read and dropped. Copied. */
int mg_body_set(struct mg_x *x, int side, const char *p, size_t n);
/* A part of the gathered body, wherever it lies: up to 64 KiB from byte `offset` on. An operation's number; status: how many bytes, 0 past
 * the end, UV_E*: the file cannot be read. mg_body_part_get gives them until the next mg_body_part. One at a time on a side
 * (MG_EBUSY). MG_ENOENT before mg_body_read has ended. The phase in which it was read. */
int mg_body_part(struct mg_x *x, int side, int64_t offset);
int mg_body_part_get(struct mg_x *x, int side, struct mg_str *out);
/* 1: the gathered body lies in a file, 0: not. */
int mg_body_in_file(struct mg_x *x, int side);
/* Replace the whole body by one that is made bit by bit: the entry's on_wake gets the number that this returns (> 0) with status 0
 * when the first bytes are wanted, in the phase MG_ON_STREAM, then those of the operations that it starts there; it writes, waits
 * (MG_WAIT), and says when the body is finished. That goes on after the phase, until mg_body_finish or the end of the exchange, which
 * cancels it; limits of a plugin's wait do not hold there. The length is not known, so HTTP/1.1 sends chunks. An MG_ERROR, or a
 * MG_CONTINUE with nothing under way before mg_body_finish, breaks the message off: never does a part look whole. Entries further on may
 * gather it. on_request, on_response; after mg_respond (with an empty body) it is that answer's body. */
int mg_body_stream(struct mg_x *x, int side);
/* Append to it. Copied. 0; 1: taken, but the receiver is slower: wait for mg_body_room before more; MG_EBUSY: not taken, a MiB waits;
 * MG_ENOENT: no such body, or it is finished. From the entry's functions, or from a task of this worker. */
int mg_body_write(struct mg_x *x, int side, const char *p, size_t n);
/* Wait until there is room: an operation's number, status 0. In the phase MG_ON_STREAM. */
int mg_body_room(struct mg_x *x, int side);
/* Nothing follows. status 0: the body is whole; another: it broke off, and the message is cut. */
int mg_body_finish(struct mg_x *x, int side, int status);
/* Have it as plain text from this entry on, piece by piece: what its on_request_body or on_response_body and those of entries further
 * on see is without its content-encoding (gzip, deflate, br, zstd, or several), in pieces of at most 64 KiB, and so is what goes out,
 * unless mg_body_encode says otherwise. Content-Encoding goes, with what else mg_body_set_plain takes off. Memory stays flat
 * whatever the input claims to be. limit: at most so much text (0: the route's limits.body; of a response: no limit); more is answered 413 (a response: 502), a
 * malformed body 400 (502); once the response has begun it is cut off. 1: it will be; 0: it has no coding; MG_ENOENT: a coding that
 * is not known, or a part (206, Content-Range), which passes as it came; MG_EBUSY: decoded already, or being gathered or made by
 * a plugin, or the entry only observes. A body gathered before is decoded at once, up to limits.buffered_body (MG_ESYNTAX, MG_ETOOBIG).
 * on_request for the request, on_response for the response. */
int mg_body_decode(struct mg_x *x, int side, int64_t limit);
/* Have it go out with a content-encoding: the first of `codings` ("br, gzip": gzip, deflate, br, zstd) that the client's
 * Accept-Encoding takes as it stands now; of a request simply the first. It is put on behind the whole chain, piece by piece, and
 * what there is goes out after each piece, so that a stream of events stays one. It is left off where the head, as it goes out, has a
 * Content-Encoding or Content-Range or says no-transform, for 204, 206 and 304, and for a body known to be shorter than 256 bytes. Vary gets
 * Accept-Encoding, a strong ETag becomes a weak one, digests go. 1: so it will be; 0: the client takes none of them; MG_ENOENT: none is known. The last call counts. */
int mg_body_encode(struct mg_x *x, int side, const char *codings, size_t codings_n);
/* Walk through the body as it arrives: it is this entry's from now on, and spent: the message's body is an empty one unless the entry sets
 * it (mg_body_set), or makes it bit by bit of what it pulls (mg_body_stream: mg_body_next may be called there as well). Its
 * sender is paused while 64 KiB wait; the sender's own timeouts hold, not the plugin's, and limits.body. What the entry has
 * not pulled at the end of its phase (or of its stream) is read and dropped. After the first piece its failure cannot be passed over
 * (on_error = "continue"). Steps of entries before it, and mg_body_decode, come first. MG_EBUSY: gathered or replaced
 * already (mg_body_read with MG_OVER_SPILL and mg_body_part walk through that), or the entry only observes. */
int mg_body_pull(struct mg_x *x, int side);
/* Wait for its next piece: an operation's number. status: how many bytes, 0: it is over, MG_ECLOSED: its sender broke off. mg_body_next_get
 * gives them until the next mg_body_next. One at a time (MG_EBUSY). MG_ENOENT: not pulled by this entry. */
int mg_body_next(struct mg_x *x, int side);
int mg_body_next_get(struct mg_x *x, int side, struct mg_str *out);
/* Bytes announced by the sender, -1 when not known, 0 when there is no body. */
int64_t mg_body_length(struct mg_x *x, int side);

/* The piece in hand, in on_request_body and on_response_body. Its bytes live until the function
 * returns MG_CONTINUE. last: 1 when nothing follows (the piece may be empty then). set: replace it
 * (empty drops it). Changing the length makes the body chunked; a plugin that will do so calls mg_body_resize in the head's phase. */
int mg_piece_get(struct mg_x *x, struct mg_str *out);
int mg_piece_last(struct mg_x *x);
int mg_piece_set(struct mg_x *x, const char *p, size_t n);
/* Say, in on_request or on_response, that pieces may change in length: content-length is not kept. */
int mg_body_resize(struct mg_x *x, int side);

/* ---- the client ---------------------------------------------------------------------------- */
/* Phases of mg_client_ip, mg_client_addr, mg_client_peer_ip, mg_client_peer_is_trusted, mg_client_port,
 * mg_client_tls_version, mg_client_tls_cipher, mg_client_sni: all but on_task. */

/* The client's address as text: the peer's, or what trusted proxies say (docs/configuration.md). */
int mg_client_ip(struct mg_x *x, struct mg_str *out);
/* The same as 16 bytes, IPv4 mapped into ::ffff:0:0/96. */
int mg_client_addr(struct mg_x *x, uint8_t *out16);
/* The address of the connection's other end, whatever it says. */
int mg_client_peer_ip(struct mg_x *x, struct mg_str *out);
/* 1 when that other end is one of the config's trusted_proxies (whether or not it says for whom it speaks), else 0. */
int mg_client_peer_is_trusted(struct mg_x *x);
int mg_client_port(struct mg_x *x);
/* "TLSv1.3"; empty on a plain connection. */
int mg_client_tls_version(struct mg_x *x, struct mg_str *out);
int mg_client_tls_cipher(struct mg_x *x, struct mg_str *out);
int mg_client_sni(struct mg_x *x, struct mg_str *out);

/* ---- route, upstream ------------------------------------------------------------------------ */
/* Phases of mg_route_id, mg_route_path, mg_upstream_name, mg_upstream_target: all but on_task. Phases of
 * mg_upstream_set: on_request. */

/* The matched route's id; MG_ENOENT before routing or when none fits. */
int mg_route_id(struct mg_x *x, struct mg_str *out);
/* The path pattern as written ("/users/{id}"). */
int mg_route_path(struct mg_x *x, struct mg_str *out);

/* The upstream's name (for an inline URL, the URL's scheme, host and port). */
int mg_upstream_name(struct mg_x *x, struct mg_str *out);
/* on_request: send this exchange to another named upstream. MG_ENOENT: no such one. */
int mg_upstream_set(struct mg_x *x, const char *name, size_t name_n);
/* "10.0.0.1:8080" of the last try; empty before. For logs: never show it to clients. */
int mg_upstream_target(struct mg_x *x, struct mg_str *out);

/* ---- consumers and credentials -------------------------------------------------------------- */
/* Phases of mg_credential_find, mg_credential_get, mg_credential_id, mg_credential_consumer, mg_consumer_name,
 * mg_consumer_credential_id, mg_consumer_find, mg_consumer_group_at, mg_consumer_in_group, mg_consumer_meta: all but on_task. Phases of
 * mg_consumer_set_credential, mg_consumer_set: on_rewrite, on_request. */

/* Find a credential of a kind (a plugin's `credentials`; "keys", "basic", "jwt"…) by its unique
 * key. Returns its number, >= 0, good for this exchange; MG_ENOENT. Constant time in the key's bytes. */
int mg_credential_find(struct mg_x *x, const char *kind, size_t kind_n, const char *key, size_t key_n);
/* A field of a credential, as text. */
int mg_credential_get(struct mg_x *x, int credential, const char *field, size_t field_n, struct mg_str *out);
/* Its own id (as the config gives it, or a digest of its key), and the name of the consumer that it belongs to. MG_ENOENT: no such one. */
int mg_credential_id(struct mg_x *x, int credential, struct mg_str *out);
int mg_credential_consumer(struct mg_x *x, int credential, struct mg_str *out);
/* The credential as its plugin's struct (C); NULL when there is none. Lives as long as the exchange. */
const void *mg_credential_conf(struct mg_x *x, int credential);
/* This exchange belongs to that credential's consumer from now on. on_rewrite, on_request. */
int mg_consumer_set_credential(struct mg_x *x, int credential);
/* The same by name, without credential (anonymous consumers). MG_ENOENT: no such consumer. */
int mg_consumer_set(struct mg_x *x, const char *name, size_t name_n);
/* MG_ENOENT when nobody was recognised. */
int mg_consumer_name(struct mg_x *x, struct mg_str *out);
int mg_consumer_credential_id(struct mg_x *x, struct mg_str *out);
int mg_consumer_group_at(struct mg_x *x, int i, struct mg_str *out);
/* 1: in that group, 0: not, or nobody. */
int mg_consumer_in_group(struct mg_x *x, const char *group, size_t group_n);
int mg_consumer_meta(struct mg_x *x, const char *name, size_t name_n, struct mg_str *out);
/* Metadata of any consumer by its name, whoever this exchange belongs to; meta_n 0: only whether there is such a consumer (`out` is its
 * name). MG_ENOENT: no such consumer, or it has none of that name. */
int mg_consumer_find(struct mg_x *x, const char *name, size_t name_n, const char *meta, size_t meta_n, struct mg_str *out);

/* ---- verdicts of a plugin's own ---------------------------------------------------------------- */
/* A recording (docs/record.md) has no secrets in it, and a replay does not know what a plugin remembers of earlier requests.
 * So what a plugin finds out by itself from either (a signature that it verified, a proof that it kept) it has noted, and takes as
 * it was when the exchange is run again:
 *
 *     if (mg_recall(x, "signature", 9, &is_good) != 0) {
 *         is_good = verify(token, key);
 *         mg_note(x, "signature", 9, is_good);
 *     }
 *
 * What is asked by mg_credential_find, mg_password_verify, mg_cache_*… is noted by itself. When nobody records it costs a
 * branch. Any phase; worker thread. */

/* 0 and *value: it was noted then. MG_ENOENT: find out. `what` (1 to 128 bytes): which verdict, the same for both calls; several of one
 * name are told apart by their order. MG_EINVAL, MG_EENDED. */
int mg_recall(struct mg_x *x, const char *what, size_t what_n, int64_t *value);
/* What was found out after an mg_recall that gave MG_ENOENT. 0, MG_EINVAL, MG_EENDED. */
int mg_note(struct mg_x *x, const char *what, size_t what_n, int64_t value);

/* ---- ctx: named values of one exchange, shared by all plugins ------------------------------- */

enum mg_kind { MG_NIL = 0, MG_BOOLEAN = 1, MG_DOUBLE = 2, MG_TEXT = 3 };
struct mg_datum {
    int kind; /* enum mg_kind */
    double number; /* of MG_DOUBLE; 0 or 1 of MG_BOOLEAN */
    struct mg_str text;
};
/* An absent name is MG_NIL, and 0 is returned. */
int mg_ctx_get(struct mg_x *x, const char *name, size_t name_n, struct mg_datum *out);
int mg_ctx_set_nil(struct mg_x *x, const char *name, size_t name_n);
int mg_ctx_set_boolean(struct mg_x *x, const char *name, size_t name_n, int value);
int mg_ctx_set_number(struct mg_x *x, const char *name, size_t name_n, double value);
int mg_ctx_set_text(struct mg_x *x, const char *name, size_t name_n, const char *p, size_t n);
/* The i-th name that is set; MG_ENOENT past the end. */
int mg_ctx_at(struct mg_x *x, int i, struct mg_str *name);

/* ---- variables and templates ---------------------------------------------------------------- */
/* Phases of mg_var, mg_template_render: all but on_task. */

/* A variable is a dotted name: request.method, request.headers.NAME, consumer.name… (docs/templates.md).
 * A template is text with ${variable} or ${variable|default} in it; $$ stands for $. */

/* The value as text; MG_ENOENT when it has none now, MG_EINVAL when there is no such variable. */
int mg_var(struct mg_x *x, const char *name, size_t name_n, struct mg_str *out);

struct mg_template;
/* Compile. NULL with a message in `error` (of `error_n` bytes) when malformed. Any thread.
 * Free with mg_template_free. */
struct mg_template *mg_template_new(const char *text, size_t text_n, char *error, size_t error_n);
void mg_template_free(struct mg_template *t);
/* Text with its variables filled in (an absent one is empty). Returns how many were absent. */
int mg_template_render(struct mg_x *x, const struct mg_template *t, struct mg_str *out);

/* ---- waiting --------------------------------------------------------------------------------- */
/* Phases of mg_sleep, mg_password_verify, mg_op_new: all but on_log. */

/* Each call starts an operation and returns its number (> 0), or a negative code. Return MG_WAIT;
 * when it ends, on_wake gets that number and a status. Several may run at once. All are cancelled
 * with the exchange; nothing is called after that. */

/* Sleep; status 0. Coarse: within about 10 ms, never early. 0 ms: the next turn of the loop. */
int mg_sleep(struct mg_x *x, int64_t ms);
/* Does `password` match the encoded hash (argon2 "$argon2id$…", bcrypt "$2b$…", SHA-crypt
 * "$5$…"/"$6$…")? Runs on the thread pool, a few at a time. Status: 1 yes, 0 no,
 * MG_EINVAL unknown form, MG_EBUSY too many waiting. */
int mg_password_verify(struct mg_x *x, const char *encoded, size_t encoded_n, const char *password, size_t password_n);
/* End the operation `op`, numbered by mg_op_new, with `status`: on_wake is called on the
 * exchange's worker. From any thread; harmless when late. MG_ENOENT (on the worker's own thread): no
 * operation of mg_op_new under way has that number; a sleep or a request is not ended by it. */
int mg_op_new(struct mg_x *x);
int mg_resume(struct mg_x *x, int op, int status);
/* Give an operation up: its on_wake will not come. */
int mg_op_cancel(struct mg_x *x, int op);

/* ---- tasks, timers, the thread pool ------------------------------------------------------------ */
/* What takes a function is in plugin.h: mg_task_start, mg_timer_start, mg_work. In Lua: mg.spawn, mg.timer, mg.work. */

/* Cancel a task: what it waits for is given up now, and it is not called again. MG_EENDED when it has ended, MG_EINVAL when the
 * handle is an exchange's. In any phase, on its worker's thread; a task may cancel itself. */
int mg_task_cancel(struct mg_x *task);
/* 1 when its configuration is no longer in force, so that it is to come to its end (after `drain` it is cancelled); else 0.
 * MG_EENDED, MG_EINVAL as above. */
int mg_task_is_leaving(struct mg_x *task);
/* Stop a timer: it does not go off any more; a task of it that runs goes on. MG_ENOENT when there is none of that number (any more). In
 * any phase, on its worker's thread. */
int mg_timer_stop(int timer);
/* What an ended mg_work put out; it lives until its exchange or task ends, or mg_work_free. MG_ENOENT: `op` is none that has ended, or put
 * nothing out. In any phase. */
int mg_work_output(struct mg_x *x, int op, struct mg_str *out);
/* Let go of it before that: for tasks that go on for long. MG_ENOENT as above. */
int mg_work_free(struct mg_x *x, int op);

/* ---- names and addresses ----------------------------------------------------------------------- */
/* Phases of mg_dns_resolve: all but on_log. */

/* What a name is asked for. MG_DNS_ANY: the addresses of both kinds. */
enum mg_dns_type {
    MG_DNS_ANY = 0,
    MG_DNS_A = 4,
    MG_DNS_CNAME = 5,
    MG_DNS_AAAA = 6,
    MG_DNS_PTR = 12, /* the name is the reversed one: "1.0.0.127.in-addr.arpa" */
    MG_DNS_MX = 15,
    MG_DNS_TXT = 16,
    MG_DNS_SRV = 33
};

/* Ask the resolver of the config for a name's addresses or other records (type: an mg_dns_type); for addresses /etc/hosts is honoured.
 * Answers are kept for their TTL (1 s to 1 h) and shared by all workers. An operation; status 0, MG_ENOENT: no such name, MG_ETIMEOUT, MG_EPROTO, MG_EBUSY: too many are asked for.
 * In phases that may wait, and in tasks; MG_EPHASE, MG_EINVAL, MG_EENDED, MG_ENOMEM. */
int mg_dns_resolve(struct mg_x *x, const char *name, size_t name_n, int type);
/* What it brought, with a newline between: addresses as text, IPv4 first; of other types a record each, with its TTL in seconds first:
 * SRV "TTL PRIORITY WEIGHT PORT TARGET", in the order in which to try them; MX "TTL PREFERENCE HOST", the same; TXT "TTL TEXT", where
 * '\' and bytes that are not printable ASCII are "\DDD" (decimal); CNAME and PTR "TTL NAME". Names have no dot at the end. It lives until the exchange or task ends, or mg_dns_free. MG_ENOENT. */
int mg_dns_addresses(struct mg_x *x, int op, struct mg_str *out);
/* Let go of it before that. */
int mg_dns_free(struct mg_x *x, int op);

/* ---- HTTP requests to others ------------------------------------------------------------------- */
/* Phases of mg_http_new, mg_http_to, mg_http_header, mg_http_set_body, mg_http_set, mg_http_set_text,
 * mg_http_send, mg_http_start, mg_http_write, mg_http_end, mg_http_read: all but on_log. */

/* A request is made and numbered by mg_http_new or mg_http_to, filled by setters, and sent; its answer is read by the getters and
 * lives until mg_http_close, which happens by itself when the exchange ends. Connections come from the gateway's own pools.
 * Several requests may be under way at once, at most 64 open ones in an exchange (else MG_EBUSY). All of these: where one may
 * wait (every phase but on_log), and in tasks; MG_ENOENT: no such request; MG_EINVAL: not at this point of its life.
 *
 *     req = mg_http_new(x, "GET", 3, url, url_n);
 *     mg_http_header(x, req, "accept", 6, "application/json", 16);
 *     op = mg_http_send(x, req);                        // > 0: return MG_WAIT; on_wake gets op and 0
 *     status = mg_http_status(x, req);  mg_http_body(x, req, &body);  mg_http_close(x, req); */

/* A request to a URL: http, https; "http://[::1]:80/", "http://unix:/run/x.sock:/path". Returns its number > 0; MG_EINVAL: no
 * such URL (user names are none of ours), or no method. */
int mg_http_new(struct mg_x *x, const char *method, size_t method_n, const char *url, size_t url_n);
/* A request to a named upstream of the config, with its targets, balancing, TLS and timeouts. path: with its query, begins
 * with '/'. MG_ENOENT: no such upstream. */
int mg_http_to(struct mg_x *x, const char *upstream, size_t upstream_n, const char *method, size_t method_n, const char *path,
               size_t path_n);
/* Add a field. "host" replaces the one that the URL gives. MG_EINVAL: bytes that a field cannot hold, or a field that frames
 * a message (content-length, transfer-encoding, connection…). Before it is sent. */
int mg_http_header(struct mg_x *x, int req, const char *name, size_t name_n, const char *p, size_t n);
/* The request's body, whole. Copied. Before it is sent. */
int mg_http_set_body(struct mg_x *x, int req, const char *p, size_t n);

enum mg_http_option {
    MG_HTTP_CONNECT_MS = 0,    /* until there is a connection: 5 s, or the upstream's */
    MG_HTTP_FIRST_BYTE_MS = 1, /* from the request sent until the answer's head: 60 s, or the upstream's */
    MG_HTTP_IDLE_MS = 2,       /* between two pieces, either way: 60 s, or the upstream's */
    MG_HTTP_TOTAL_MS = 3,      /* the whole: 0, no limit but the exchange's own */
    MG_HTTP_LIMIT = 4,         /* bytes of an answer's body that mg_http_send takes: 1 MiB; beyond: MG_ETOOBIG */
    MG_HTTP_REDIRECTS = 5,     /* how many are followed: 0, at most 20. Never from https to http; credentials stay with their host */
    MG_HTTP_VERIFY = 6,        /* 1: check the server's certificate and name; 0: do not */
    MG_HTTP_LENGTH = 7,        /* bytes of a body that is streamed, so that it goes with a content-length: -1, not known */
    MG_HTTP_CA = 8,            /* a PEM file to check by: the system's CAs */
    MG_HTTP_SERVER_NAME = 9,   /* that is asked for and checked, in place of the URL's host */
    MG_HTTP_CERT = 10,         /* PEM files of a client certificate and its key */
    MG_HTTP_KEY = 11
};
/* Numbers (0 to 7; a time of 0: no limit) and texts (8 to 11; files as absolute paths). The options of TLS are for URLs: the
 * config says them of a named upstream (MG_EINVAL). Before it is sent. */
int mg_http_set(struct mg_x *x, int req, int option, int64_t value);
int mg_http_set_text(struct mg_x *x, int req, int option, const char *p, size_t n);

/* Send it and take in the whole answer. Returns an op: status 0, or a negative code, of which mg_http_error says more:
 * MG_ETIMEOUT, MG_ECLOSED, MG_EPROTO, MG_ETLS, MG_ETOOBIG, MG_ENOENT (the name does not resolve), MG_EBUSY, UV_E*. An answer
 * of any HTTP status is status 0. Cancelling the op gives the request up. */
int mg_http_send(struct mg_x *x, int req);
/* Send it as streams. Returns an op that ends with the head of the answer (as above); its body is read by mg_http_read. upload 1: the
 * request's body is written by mg_http_write and mg_http_end, also before that op has ended; 0: it is as set. */
int mg_http_start(struct mg_x *x, int req, int upload);
/* Write a piece of the request's body. Copied. 0: taken, write on; > 0: taken, and an op that ends with 0 when there is room for
 * more. MG_EBUSY: while such an op is under way; MG_ECLOSED: the request has failed or was answered. */
int mg_http_write(struct mg_x *x, int req, const char *p, size_t n);
/* That was the last of it. */
int mg_http_end(struct mg_x *x, int req);
/* The next piece of the answer's body: an op that ends with its length, 0 at the end, or a negative code when it was cut: what
 * came before is then not the whole. mg_http_body gives the bytes, until the next mg_http_read. While nobody reads the sender is
 * held back. One at a time, else MG_EBUSY. */
int mg_http_read(struct mg_x *x, int req);

/* Of the answer; `out`s live until mg_http_close (or the next mg_http_read). status: 0 before there is one. */
int mg_http_status(struct mg_x *x, int req);
/* side: MG_RESPONSE, or MG_RESPONSE_TRAILERS once the body has ended. The first field of that name; the i-th field. */
int mg_http_field(struct mg_x *x, int req, int side, const char *name, size_t name_n, struct mg_str *out);
int mg_http_field_at(struct mg_x *x, int req, int side, int i, struct mg_str *name, struct mg_str *value);
/* The whole body, or the piece in hand. MG_ENOENT before it is there, and of an answer that was cut. As it was sent: a
 * content-encoding is not undone. */
int mg_http_body(struct mg_x *x, int req, struct mg_str *out);
/* Where the answer came from, after redirects: the URL, or "upstream://NAME/path". */
int mg_http_url(struct mg_x *x, int req, struct mg_str *out);
/* Why it failed: a token ("connect_refused", "timeout"…; docs/operating.md), and words for a log, which may name addresses.
 * MG_ENOENT: it has not failed. */
int mg_http_error(struct mg_x *x, int req, struct mg_str *token, struct mg_str *words);
/* Let go of it, at any point: what is under way is broken off and its ops do not end. Any phase. */
int mg_http_close(struct mg_x *x, int req);

/* ---- Redis ------------------------------------------------------------------------------------- */
/* Phases of mg_redis_call, mg_redis_pipeline, mg_redis_subscribe, mg_redis_receive: all but on_log. */

/* A client of one server, of a set watched by sentinels, or of a cluster. Its connections belong to each worker, are shared by all
 * who open the same options, and outlive reloads. Commands of many exchanges go over few connections, in order; blocking ones
 * (BLPOP, XREAD BLOCK…) each over one of its own. docs/redis.md has the options and what happens when a server is away. */

struct mg_redis;

/* Open a client. options: pairs of name and value, all as text: "url", "redis://127.0.0.1:6379", "timeout", "500ms"…
 * (options_n counts pairs). Connects when first used. NULL with a message in `error` (of `error_n` bytes) when an option is wrong.
 * In `create`, at the top of a Lua file, or later. Any thread. Close with mg_redis_close when no call of yours is under way. */
struct mg_redis *mg_redis_open(const struct mg_str *options, size_t options_n, char *error, size_t error_n);
/* Any thread; NULL is fine. */
void mg_redis_close(struct mg_redis *redis);

enum mg_redis_flags {
    MG_REDIS_IDEMPOTENT = 1, /* may be sent again when its connection breaks before the answer */
    MG_REDIS_ATOMIC = 2,     /* mg_redis_pipeline: as one MULTI … EXEC, whose reply is EXEC's */
    MG_REDIS_PATTERNS = 4    /* mg_redis_subscribe: PSUBSCRIBE */
};
/* Send a command; argv: its words, argc of them. timeout_ms 0: the client's (a blocking command may take as long as it says on
 * top). Returns the operation's number, to wait for. Its status: 0: the server has answered, mg_redis_nodes has the reply (which may be
 * its error); or < 0, with mg_redis_text(x, op, 0) saying why: MG_ECLOSED (down, or gone before the answer), MG_ETIMEOUT, MG_EBUSY
 * (the client's queue is full), MG_EPROTO, MG_ETLS, MG_ETOOBIG (reply_max), MG_ENOMEM. MG_EINVAL: no command, or one that changes
 * the state of a shared connection (SELECT, MULTI, SUBSCRIBE…). MG_EPHASE in on_log and outside of a phase function. */
int mg_redis_call(struct mg_x *x, struct mg_redis *redis, const struct mg_str *argv, int argc, int flags, int64_t timeout_ms);
/* Send `n` commands at once. argv: the words of all; argc[i]: how many the i-th has. Node 0 of the reply is an array of their replies;
 * in a cluster each goes to the node of its key. No blocking commands. At most 10000. Otherwise as mg_redis_call. */
int mg_redis_pipeline(struct mg_x *x, struct mg_redis *redis, const struct mg_str *argv, const int *argc, int n, int flags,
                      int64_t timeout_ms);

enum mg_redis_kind { MG_REDIS_NIL = 0, MG_REDIS_STRING = 1, MG_REDIS_STATUS = 2, MG_REDIS_ERROR = 3, MG_REDIS_INTEGER = 4,
                     MG_REDIS_ARRAY = 5 };
struct mg_redis_node {
    int32_t kind;       /* enum mg_redis_kind */
    int32_t count;      /* of an array: its elements; the first is the next node */
    int32_t next;       /* the node after this one and all that is in it */
    uint32_t start;     /* where its text lies: use mg_redis_text */
    uint32_t bytes;
    int64_t integer;
};
/* The reply of an operation that has ended: `*nodes_n` nodes, in the order of the reply, node 0 is the whole. They live until the
 * exchange ends or mg_redis_release. NULL: no such reply. Any phase. */
const struct mg_redis_node *mg_redis_nodes(struct mg_x *x, int op, size_t *nodes_n);
/* The text of a string, a status or an error; empty for other kinds. MG_ENOENT: no such node. Lives as the nodes do. Any phase. */
int mg_redis_text(struct mg_x *x, int op, int node, struct mg_str *out);
/* Free a reply before the exchange ends: for tasks that ask many times. Harmless when there is none. Any phase. */
int mg_redis_release(struct mg_x *x, int op);

/* Subscribe to `n` channels (or patterns), on a connection of its own. Returns the subscription's number, which is an operation: it
 * ends with 0 once the server has confirmed, or with < 0 as above. The subscription lasts until the exchange ends: it is meant for
 * tasks. Phases: as mg_redis_call. */
int mg_redis_subscribe(struct mg_x *x, struct mg_redis *redis, const struct mg_str *names, int n, int flags);
/* Wait for what comes next; one at a time (MG_EBUSY). timeout_ms < 0: for ever. Status 0: the reply is an array: "message",
 * channel, payload; "pmessage", pattern, channel, payload; "reconnected": the connection broke, it is subscribed again, and what was
 * published meanwhile is lost; "lost", how many: more came than `messages` and `messages_bytes` keep. MG_ETIMEOUT: nothing
 * came. MG_ENOENT: no such subscription. Phases: as mg_redis_call. */
int mg_redis_receive(struct mg_x *x, int subscription, int64_t timeout_ms);
/* End it; a wait for it ends with MG_ECLOSED. Any phase. */
int mg_redis_unsubscribe(struct mg_x *x, int subscription);

/* ---- counters shared by all workers; they survive a reload ----------------------------------- */
/* `space` names the user (a plugin and its entry), `key` whom it counts. Exact under concurrency.
 * A negative cost gives back what was taken (never beyond the limit); a cost of 0 only looks. */

struct mg_quota {
    int64_t allowed;      /* 1: taken, 0: refused (nothing taken) */
    int64_t limit;        /* as given */
    int64_t remaining;    /* what may be taken right now */
    int64_t reset_ms;     /* until the quota is whole again */
    int64_t retry_ms;     /* refused: until this cost could be taken; else 0 */
};
/* Token bucket: `limit` tokens at most, refilled evenly over `window_ms`. */
int mg_bucket_take(const char *space, size_t space_n, const char *key, size_t key_n, int64_t limit, int64_t window_ms,
                   int64_t cost, struct mg_quota *out);
/* Sliding window: the count of this window plus the weighted rest of the last one. */
int mg_window_take(const char *space, size_t space_n, const char *key, size_t key_n, int64_t limit, int64_t window_ms,
                   int64_t cost, struct mg_quota *out);
/* A plain counter that is forgotten `ttl_ms` after it was made. `value` may be NULL. */
int mg_counter_add(const char *space, size_t space_n, const char *key, size_t key_n, int64_t by, int64_t ttl_ms,
                   int64_t *value);

/* ---- dictionaries shared by all workers -------------------------------------------------------- */
/* Each worker sees the same values at once; they survive a reload, not a restart. A dictionary has a name (1 to 128 visible ASCII
 * characters) and a capacity, which the config gives (`shared = { tokens = "10m" }`; 1m where it gives none). When it is full
 * the least recently used entries give way. Every call is exact under concurrency and takes well under a microsecond; any
 * phase, any thread. Keys are 1 to 65535 bytes (else MG_EINVAL). Values are texts, numbers, booleans and lists of these. A time to
 * live is in milliseconds; 0: for ever; < 0: MG_EINVAL. The time is the monotonic clock's. */
struct mg_shared;
/* Find or make the dictionary of that name; it lives as long as the process. NULL: not such a name, more than 256 of them, or out of
 * memory. */
struct mg_shared *mg_shared_open(const char *name, size_t name_n);

/* The value; MG_NIL when absent or past its time, and 0 is returned. MG_EINVAL: a list. out->text is valid until the thread's
 * next mg_shared_get, mg_shared_get_stale or mg_shared_pop. get_stale gives what is past its time too, while it is still there: then it
 * returns 1. */
int mg_shared_get(struct mg_shared *d, const char *key, size_t key_n, struct mg_datum *out);
int mg_shared_get_stale(struct mg_shared *d, const char *key, size_t key_n, struct mg_datum *out);

enum mg_shared_when {
    MG_SHARED_SET = 0,    /* always */
    MG_SHARED_ADD = 1,    /* when absent, else MG_EEXIST */
    MG_SHARED_REPLACE = 2 /* when present, else MG_ENOENT */
};
/* Store a value under a key, in place of one of any kind. Returns how many entries that were still good gave way (0: none); MG_ETOOBIG:
 * larger than the dictionary, MG_ENOMEM. */
int mg_shared_set_text(struct mg_shared *d, int when, const char *key, size_t key_n, const char *p, size_t n, int64_t ttl_ms);
int mg_shared_set_number(struct mg_shared *d, int when, const char *key, size_t key_n, double value, int64_t ttl_ms);
int mg_shared_set_boolean(struct mg_shared *d, int when, const char *key, size_t key_n, int value, int64_t ttl_ms);
/* Add `by` to a number; *out (may be NULL) gets the sum. An absent one is MG_ENOENT, or with has_init begins at `init`, with that time to
 * live (which is not looked at otherwise). MG_EINVAL: not a number. Else as mg_shared_set_number. */
int mg_shared_incr(struct mg_shared *d, const char *key, size_t key_n, double by, int has_init, double init, int64_t ttl_ms, double *out);
/* 1: it is gone, 0: it was absent. */
int mg_shared_delete(struct mg_shared *d, const char *key, size_t key_n);
/* Give it a time to live, from now on. MG_ENOENT: absent. */
int mg_shared_expire(struct mg_shared *d, const char *key, size_t key_n, int64_t ttl_ms);
/* Milliseconds that are left (at least 1); 0: for ever; MG_ENOENT: absent. */
int64_t mg_shared_ttl(struct mg_shared *d, const char *key, size_t key_n);

enum mg_shared_end { MG_SHARED_FRONT = 0, MG_SHARED_BACK = 1 };
/* Lists. push: the length from now on; an absent list is made, for ever (mg_shared_expire). pop: MG_NIL when there is none; a list whose
 * last item goes is gone. MG_EINVAL: a value that is no list. */
int64_t mg_shared_push_text(struct mg_shared *d, int end, const char *key, size_t key_n, const char *p, size_t n);
int64_t mg_shared_push_number(struct mg_shared *d, int end, const char *key, size_t key_n, double value);
int64_t mg_shared_push_boolean(struct mg_shared *d, int end, const char *key, size_t key_n, int value);
int mg_shared_pop(struct mg_shared *d, int end, const char *key, size_t key_n, struct mg_datum *out);
int64_t mg_shared_length(struct mg_shared *d, const char *key, size_t key_n);

/* At most `limit` keys (0: all) that are not past their time, in no order; *out has as many as is returned, valid until the thread's next
 * call. Locks one part after the other: for inspection, not for the hot path. */
int mg_shared_keys(struct mg_shared *d, int limit, const struct mg_str **out);
/* All entries go. */
int mg_shared_flush(struct mg_shared *d);
struct mg_shared_stat {
    int64_t capacity;  /* bytes */
    int64_t bytes;     /* in use: keys, values and what it takes to find them */
    int64_t items;     /* those past their time that are still there included */
    int64_t evictions; /* entries that were still good and gave way, ever */
};
int mg_shared_stats(struct mg_shared *d, struct mg_shared_stat *out);

/* ---- what was computed before: a cache --------------------------------------------------------- */
/* Values by key in a shared dictionary, named "cache:" and the cache's name (the config may give it a size: `shared`). Of all that ask for an
 * absent key at once, on all workers, one computes; the others wait for what it brings. When the exchange of the one that computes ends
 * without a word, the next that waits takes its place. Entries survive a reload, not a restart. */
struct mg_cache;
/* Find or make; it lives as long as the process. Names as of mg_shared_open, at most 122 bytes. NULL: not such a name, or too many. */
struct mg_cache *mg_cache_open(const char *name, size_t name_n);

enum mg_cache_state {
    MG_CACHE_HIT = 0,     /* here it is */
    MG_CACHE_NONE = 1,    /* known to have no value; `value` says why */
    MG_CACHE_FAILED = 2,  /* computing failed; `value` says how */
    MG_CACHE_COMPUTE = 3, /* compute it, then call mg_cache_put or mg_cache_fail: others wait for you */
    MG_CACHE_WAIT = 4     /* another one computes: an operation `op` is under way; then call mg_cache_result */
};
struct mg_cached {
    int32_t state;       /* enum mg_cache_state */
    int32_t op;          /* of MG_CACHE_WAIT */
    int64_t left_ms;     /* for which it is good; 0: it is not kept */
    struct mg_str value; /* until the thread's next call of mg_cache_* or mg_shared_*, or the end of the exchange: copy it */
};
/* Ask. Phases of mg_cache_get: all but on_log. */
int mg_cache_get(struct mg_x *x, struct mg_cache *c, const char *key, size_t key_n, struct mg_cached *out);
/* What an ended wait brought: a value, a failure, or MG_CACHE_COMPUTE: it is your turn. Once. MG_ENOENT: no such wait. */
int mg_cache_result(struct mg_x *x, int op, struct mg_cached *out);
/* A value, good for ttl_ms (0: for those who wait now alone; < 0: MG_EINVAL). Without having been told to compute it sets the value, for all
 * workers. When the key was deleted while it was computed, it is not kept. MG_ETOOBIG: it was not kept; who waits gets it. */
int mg_cache_put(struct mg_x *x, struct mg_cache *c, const char *key, size_t key_n, const char *p, size_t n, int64_t ttl_ms);
/* There is none: MG_CACHE_NONE or MG_CACHE_FAILED, with a message, for ttl_ms as above. */
int mg_cache_fail(struct mg_x *x, struct mg_cache *c, const char *key, size_t key_n, int state, const char *message, size_t message_n, int64_t ttl_ms);
/* Forget one key, or all, on every worker. Any phase, any thread. */
int mg_cache_delete(struct mg_cache *c, const char *key, size_t key_n);
int mg_cache_flush(struct mg_cache *c);
/* A number that changes when the key was set or deleted: for copies of one's own (read it before mg_cache_get). -1: keep none now, as
 * somebody listens to what is asked. Any thread. */
int64_t mg_cache_version(struct mg_cache *c, const char *key, size_t key_n);

/* ---- what must survive a restart: a store ------------------------------------------------------ */
/* Phases of mg_store_get, mg_store_swap, mg_store_delete, mg_store_incr, mg_store_list: all but on_log. */

/* Keys and values in the SQLite file that the config names (`store = "state.db"`; MG_ECONF when it names none). Every call but the last
 * three starts an operation (see "waiting": its number, or a negative code; the same phases) that is done on a thread of its
 * own, and ends when what it wrote is on the disk. A plugin sees its own keys only, in spaces that it names (0 to 64 bytes). Keys are 1 to
 * 1024 bytes, texts at most 1 MiB (MG_ETOOBIG). A time to live is in milliseconds of the wall clock; 0: for ever; < 0: MG_EINVAL. Status
 * when it ends: as below, or MG_EBUSY (too many wait, or another process holds the file), MG_EIO (full disk, damaged file: none of what
 * was asked at that moment was done; the log says why), MG_ENOMEM. One that is cancelled may still be done. */

/* Status 0, or MG_ENOENT. The value: mg_store_value. */
int mg_store_get(struct mg_x *x, const char *space, size_t space_n, const char *key, size_t key_n);
/* when: enum mg_shared_when. value: a text, number or boolean. Status 0, MG_EEXIST (add), MG_ENOENT (replace). */
int mg_store_set(struct mg_x *x, const char *space, size_t space_n, const char *key, size_t key_n, int when, const struct mg_datum *value,
                 int64_t ttl_ms);
/* Compare and set: when the value is `expected` (MG_NIL: absent), it becomes `value` (MG_NIL: deleted). Status 0, or MG_EEXIST: it is
 * another one, which mg_store_value gives. */
int mg_store_swap(struct mg_x *x, const char *space, size_t space_n, const char *key, size_t key_n, const struct mg_datum *expected,
                  const struct mg_datum *value, int64_t ttl_ms);
/* Status 0, or MG_ENOENT: it was absent. */
int mg_store_delete(struct mg_x *x, const char *space, size_t space_n, const char *key, size_t key_n);
/* Add to a number; an absent one begins at `init`, with that time to live. Status 0 (the sum: mg_store_value), or MG_EINVAL: not a number. */
int mg_store_incr(struct mg_x *x, const char *space, size_t space_n, const char *key, size_t key_n, double by, double init, int64_t ttl_ms);
/* At most `limit` (1 to 1000) rows whose keys begin with `prefix`, in the order of their bytes, after the key `after` (empty: from the
 * first). Fewer come when they are larger than 4 MiB together. Status: how many (mg_store_row); 0: no more. */
int mg_store_list(struct mg_x *x, const char *space, size_t space_n, const char *prefix, size_t prefix_n, const char *after, size_t after_n,
                  int limit);

/* What an ended operation brought; texts live until the exchange ends or mg_store_forget. MG_ENOENT: no such operation, or no such row. */
int mg_store_value(struct mg_x *x, int op, struct mg_datum *out);
int mg_store_row(struct mg_x *x, int op, int i, struct mg_str *key, struct mg_datum *value);
int mg_store_forget(struct mg_x *x, int op);

/* ---- logging and metrics ---------------------------------------------------------------------- */

enum mg_log_level { MG_LOG_DEBUG = 0, MG_LOG_INFO = 1, MG_LOG_WARN = 2, MG_LOG_ERROR = 3 };
/* Would a line of that level be written? 1 or 0. Any thread. */
int mg_log_enabled(int level);
/* Fields for this thread's next line, then the line itself; plugin, route and exchange id are added
 * while one runs. Any thread. */
void mg_log_text(const char *name, size_t name_n, const char *p, size_t n);
void mg_log_number(const char *name, size_t name_n, double value);
void mg_log_boolean(const char *name, size_t name_n, int value);
void mg_log(int level, const char *message, size_t message_n);

struct mg_sink;
/* A place for whole lines: "stdout", "stderr", "syslog" or a file path (relative to the config).
 * Shared by all who name it, reopened on SIGUSR1. At `create` time. NULL with a message in `error`. */
struct mg_sink *mg_sink_open(const char *where, size_t where_n, char *error, size_t error_n);
void mg_sink_close(struct mg_sink *sink);
/* Hand over one line (a newline is added). Copied into this worker's buffer, written by the log
 * thread; never blocks. MG_EBUSY: dropped and counted, as the disk lags. Any thread. */
int mg_sink_write(struct mg_sink *sink, const char *line, size_t line_n);

enum mg_metric_kind { MG_METRIC_COUNTER = 0, MG_METRIC_GAUGE = 1, MG_METRIC_HISTOGRAM = 2 };
/* Declare a metric, at `create` time; the same declaration again gives the same number. `labels`:
 * names with commas between. `buckets`: upper bounds with commas between, for histograms, or empty
 * for the usual ones (seconds). Returns a number > 0; MG_EINVAL: declared otherwise before. */
int mg_metric(int kind, const char *name, size_t name_n, const char *help, size_t help_n, const char *labels,
              size_t labels_n, const char *buckets, size_t buckets_n);
/* Count, observe or (gauge) add. `values`: the labels' values, one mg_str for each, in order. Past
 * the metric's limit of label sets they are counted as "other". */
int mg_metric_add(int metric, const struct mg_str *values, size_t values_n, double by);

/* ---- services without an exchange --------------------------------------------------------------- */
/* `out` of these is valid until the thread's next call of the same function. Any thread. */

/* Wall clock: milliseconds, microseconds since 1970. Monotonic: microseconds. */
int64_t mg_now_ms(void);
int64_t mg_now_us(void);
int64_t mg_monotonic_us(void);
/* Uniform in [0, 1). Cryptographic bytes. A random UUID (version 4; 36 characters). */
double mg_random(void);
int mg_random_bytes(void *out, size_t n);
int mg_uuid(struct mg_str *out);

struct mg_re;
enum mg_re_flags { MG_RE_CASELESS = 1, MG_RE_ANCHORED = 2, MG_RE_DOTALL = 4, MG_RE_MULTILINE = 8, MG_RE_EXTENDED = 16 };
/* Compile a PCRE2 pattern (UTF-8 is not assumed); JIT where there is one. NULL with a message. */
struct mg_re *mg_re_new(const char *pattern, size_t pattern_n, int flags, char *error, size_t error_n);
void mg_re_free(struct mg_re *re);
/* Match from byte `start`. spans: pairs of byte offsets [from, to) of the whole match and of each
 * group, -1 where a group took no part; room for `spans_n` pairs. Returns the number of pairs
 * filled, 0 when it does not match, MG_ETOOBIG when the match limit ran out. */
int mg_re_match(const struct mg_re *re, const char *subject, size_t subject_n, size_t start, int32_t *spans, int spans_n);

/* Digest by OpenSSL's name ("sha256", "sha1", "md5", …); raw bytes. MG_ENOENT: unknown. */
int mg_digest(const char *name, const char *p, size_t n, struct mg_str *out);
int mg_hmac(const char *name, const char *key, size_t key_n, const char *p, size_t n, struct mg_str *out);
int mg_hex_encode(const char *p, size_t n, struct mg_str *out);
int mg_hex_decode(const char *p, size_t n, struct mg_str *out);
/* Padded standard alphabet, or unpadded URL alphabet (RFC 4648, 4 and 5). Decoding is strict. */
int mg_base64_encode(const char *p, size_t n, int url, struct mg_str *out);
int mg_base64_decode(const char *p, size_t n, int url, struct mg_str *out);
/* Are they equal, in time that depends on the lengths alone? 1 or 0. */
int mg_equal(const char *a, size_t a_n, const char *b, size_t b_n);
/* Percent-encode all but unreserved characters; decode. */
int mg_url_encode(const char *p, size_t n, struct mg_str *out);
int mg_url_decode(const char *p, size_t n, struct mg_str *out);

/* JSON text, read by walking (RFC 8259; nothing is lost: numbers keep their digits, strings may hold
 * NUL). A document is checked whole by mg_json_parse and then read node by node, in the order of
 * the text: node 0 is the root; a container's first child is the next node. Any thread. */
struct mg_json;
enum mg_json_kind { MG_JSON_NULL = 0, MG_JSON_FALSE = 1, MG_JSON_TRUE = 2, MG_JSON_NUMBER = 3, MG_JSON_STRING = 4,
                    MG_JSON_ARRAY = 5, MG_JSON_OBJECT = 6 };
struct mg_json_node {
    int32_t kind;
    int32_t count;      /* members or elements */
    int32_t next;       /* the node after this one and all that is in it */
    int32_t key;        /* a member's key: the number of its string node; -1 elsewhere */
    uint32_t start;     /* span in the text, quotes and brackets included */
    uint32_t end;
};
/* Copies the text. NULL with a message ("line 3, column 7: …") when it is no JSON, nests deeper than 128 or is over 2 GiB.
 * Free with mg_json_free. */
struct mg_json *mg_json_parse(const char *text, size_t text_n, char *error, size_t error_n);
void mg_json_free(struct mg_json *doc);
/* The nodes, `*nodes_n` of them; they live as long as the document. */
const struct mg_json_node *mg_json_nodes(const struct mg_json *doc, size_t *nodes_n);
/* A string node's text with escapes resolved (UTF-8), a number's digits. Lives as long as the document. */
int mg_json_text(struct mg_json *doc, int node, struct mg_str *out);
/* A value's own text, as written. */
int mg_json_raw(const struct mg_json *doc, int node, struct mg_str *out);
/* A string as a quoted JSON string. Valid until this thread's next call. */
int mg_json_quote(const char *p, size_t n, struct mg_str *out);

#ifndef MG_CDEF
#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
#endif
