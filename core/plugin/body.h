/* body.h - where gathered and replaced bodies are kept, and what else is known of a body. For pdk/ and plugin/. */
#ifndef MG_PLUGIN_BODY_H
#define MG_PLUGIN_BODY_H

#include "plugin/chain.h"

struct mg_json;

/* Of a body that somebody looks into. In the exchange's arena, made when first needed. */
struct mg_body_more {
    bool passes_malformed;          /* MG_OVER_PASS_MALFORMED */
    bool wants_plain;               /* what is gathered is to be had without its content-encoding */
    bool has_plain;                 /* `plain` holds it; a body without content-encoding is `whole` itself */
    struct mg_str plain;            /* heap */
    struct mg_spill *spill;         /* the file that the body is gathered in; NULL */
    bool spill_last;                /* all of it has been given to the file */
    int part_op;                    /* who waits for a part of it */
    int64_t part_at;
    struct mg_str part;
    struct mg_decoding *decode;     /* plugin/recode.h; NULL */
    struct mg_encoding *encode;
    struct mg_pull *pull;           /* plugin/pull.h; NULL */
    struct mg_json *json;           /* the document that all share, the arena's; NULL: not read yet */
};
/* NULL over budget. */
struct mg_body_more *mg_body_more(struct mg_exchange *x, struct mg_body *b);

/* plain.c: the gathered body without its content-encoding, decoded once: `more->plain`, or `whole`. At most `limit` bytes (0: no
 * limit). 0; MG_ENOENT: a coding that is not known; MG_ESYNTAX: it is not what it says; MG_ETOOBIG; MG_ENOMEM. */
int mg_body_plain_make(struct mg_exchange *x, int side, int64_t limit, struct mg_str *out);
/* The one document of that text, which is the body's; NULL with a message. */
struct mg_json *mg_body_json_make(struct mg_exchange *x, int side, struct mg_str text, char *error, size_t error_n);
/* pdk/body.c: does the entry that runs find it gathered or replaced? */
bool mg_body_is_gathered(const struct mg_exchange *x, const struct mg_body *b);
/* By the entry that runs: `whole` or `feed` takes the place of the sender's body. */
void mg_body_replaced(struct mg_exchange *x, struct mg_body *b, int side);
/* The body is another one now: what was made of the old one is forgotten. */
void mg_body_changed(struct mg_body *b);
/* Content-Encoding of that side, its fields joined; empty when there is none. MG_ENOMEM. */
int mg_body_coding(struct mg_exchange *x, int side, struct mg_str *out);
/* The body goes out as plain text: Content-Encoding and the digests of its bytes go, a strong ETag becomes a weak one. */
int mg_body_now_plain(struct mg_exchange *x, int side);
/* The same for a head of one's own. */
int mg_body_head_plain(struct mg_exchange *x, int side, struct mg_head *head);
/* The asker's mg_body_read_plain cannot be granted, for `error`: is the body refused (noted in b), or is the asker told? */
bool mg_body_refuses(struct mg_body *b, int error);
/* `whole` is what it holds up to byte `at`, then s (which may lie in it). 0 or MG_ENOMEM. */
int mg_body_put_whole(struct mg_exchange *x, struct mg_body *b, size_t at, struct mg_str s);
/* The piece in hand becomes a copy of s, which may lie in the piece. 0 or MG_ENOMEM. */
int mg_body_put_piece(struct mg_exchange *x, struct mg_body *b, struct mg_str s);
/* Before `whole` is replaced: it and its state are kept where the entry that runs may have to be undone. 0 or MG_ENOMEM. */
int mg_undo_keep_body(struct mg_exchange *x, struct mg_body *b);
/* spilled.c: bodies in files. The piece goes to the file, with what was gathered before. */
enum mg_verdict mg_body_spill(struct mg_exchange *x, struct mg_body *b, int side);
/* The file has moved on: is all of the body in it, did it fail, is a part there? MG_ERROR: refused. */
enum mg_verdict mg_body_spilled(struct mg_exchange *x, int side);
/* More has to wait for the disk. */
bool mg_body_spill_is_full(const struct mg_body *b);
int64_t mg_body_spill_bytes(const struct mg_body *b);
/* The piece in hand through the steps that it passes (chain.h, mg_chain_run_body). */
enum mg_verdict mg_body_flow(struct mg_exchange *x, int side);
/* Are there body steps at the places [from, to) (mg_chain_place)? */
bool mg_body_steps_between(const struct mg_exchange *x, int side, unsigned from, unsigned to);

#endif
