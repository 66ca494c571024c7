/* recode.h - bodies that change their content-encoding on the way, piece by piece.
 *
 *   sender --> steps before the place that asked --[decoder]--> steps from there on --> [encoder] --> receiver
 *
 * The decoder is a source like a feed (feed.h): what arrives is kept (its sender is paused while there is any), and the proxy
 * pulls pieces of at most 64 KiB out of it as fast as they are taken, so that a small piece that decodes to a huge text fills no
 * memory. The encoder stands behind all steps, since its pieces are for nobody to look into; it gives out what it has after
 * each piece, so that no event of a stream is held back. What the heads say of it is decided when they go out. */
#ifndef MG_PLUGIN_RECODE_H
#define MG_PLUGIN_RECODE_H

#include "http/coding.h"
#include "plugin/body.h"

enum { MG_DECODED_PIECE = 65536, MG_ENCODED_LEAST = 256 };

struct mg_decoding {
    struct mg_decoder *decoder;
    uint8_t at;                 /* the decoder stands before the steps from this place on */
    uint8_t entry;              /* who asked */
    bool began;                 /* something has come in */
    bool last;                  /* nothing more comes in */
    bool finished;              /* all of it has gone on */
    bool is_over;               /* its error was told: nothing more goes in or out */
    bool passed_whole;          /* what is in `whole` has come out of it */
    int error;                  /* MG_E* */
    int64_t bytes, limit;       /* of text: come out; at most (0: no limit) */
    char *buffer[2];            /* heap: what arrives, and what is being read */
    size_t n, room[2];          /* n: in the one that fills */
    uint8_t filling;
    char *out;                  /* the piece on its way */
    size_t out_n;
    bool reads;                 /* the decoder has input that it has not used up */
};

struct mg_encoding {
    enum mg_coding coding;      /* MG_CODING_NONE: the receiver takes none; that is to be said (Vary) */
    struct mg_encoder *encoder; /* from the head on */
    uint8_t entry;
    bool is_on;                 /* pieces go through the encoder */
    char *out;
    size_t room;
};

/* What arrives at the place that asked: of a head's phase the entry that runs. 1: decoded from there on; 0: it has no coding;
 * MG_ENOENT: a coding that is not known, or a part of a coded body; MG_EBUSY, MG_ESYNTAX, MG_ETOOBIG, MG_ENOMEM. */
int mg_body_decode_from(struct mg_exchange *x, int side, int64_t limit);
static inline struct mg_decoding *mg_decoding_of(const struct mg_body *b) { return b->more ? b->more->decode : NULL; }
/* Take a piece in. 0 or MG_ENOMEM. */
int mg_decoding_give(struct mg_decoding *d, struct mg_str piece, bool last);
/* Is there anything in it? */
bool mg_decoding_holds(const struct mg_decoding *d);
/* Must its sender wait? */
static inline bool mg_decoding_is_full(const struct mg_body *b) { struct mg_decoding *d = mg_decoding_of(b); return d && mg_decoding_holds(d); }
/* Has the sender's end gone into it? */
static inline bool mg_decoding_has_end(const struct mg_body *b) { struct mg_decoding *d = mg_decoding_of(b); return d && d->last; }
/* Is there a piece to run now (or an error to tell)? */
bool mg_decoding_ready(struct mg_body *b);
/* The next piece through the steps; verdicts as of mg_chain_run_feed. MG_ERROR with b->gather MG_GATHER_REFUSED: malformed or too large. */
enum mg_verdict mg_chain_run_decoded(struct mg_exchange *x, int side);

/* The body goes out with the first of these codings that the receiver takes. 1, 0: none; MG_ENOENT: none is known; MG_ENOMEM. */
int mg_body_encode_as(struct mg_exchange *x, int side, struct mg_str codings);
/* `head` goes out with its body: does it leave encoded? Its fields are changed then; what the body's length will be is not known. */
bool mg_encoding_begin(struct mg_exchange *x, int side, struct mg_head *head, int64_t length);
/* The piece in hand, past all steps, becomes what goes out; b->held when that is nothing yet. */
enum mg_verdict mg_encoding_piece(struct mg_exchange *x, struct mg_body *b);

/* The response is another one now: nothing is decoded, nobody pulls. */
void mg_body_renewed(struct mg_body *b);
/* The entry that runs failed in the phase of a head, and is passed over: what it asked for is not done, unless it has begun. */
void mg_recode_undo(struct mg_exchange *x);

#endif
