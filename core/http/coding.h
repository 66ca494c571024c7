/* coding.h - content codings taken off and put on: gzip, deflate, br, zstd; off also several one after the other.
 *
 * Content-Encoding lists codings in the order in which they were applied, so a decoder is a row of stages that pull from
 * each other: the last coding reads the caller's bytes, the first one gives the text. Nothing is held back but a stage's own
 * window, so what is in memory is bounded whatever the input claims to be: at most 32 KiB for deflate, 16 MiB for br, 8 MiB for
 * zstd (RFC 9659), and 16 KiB between two stages. How much comes out in all is the caller's to bound.
 *
 *     mg_decoder_new(codings, &d);
 *     mg_decoder_give(d, piece);                      // borrowed until it is used up
 *     while (mg_decoder_take(d, out, room, &n) == 0 && n)
 *         …n bytes of text…
 *     mg_decoder_end(d);                              // after the last piece: was it whole? */
#ifndef MG_HTTP_CODING_H
#define MG_HTTP_CODING_H

#include "base/str.h"

enum { MG_CODINGS_MAX = 4 };

struct mg_decoder;

/* codings: Content-Encoding's value, several joined by commas. 0, and *out is NULL when there is nothing to take off (empty,
 * identity); MG_ENOENT: one that is not known, or more than MG_CODINGS_MAX; MG_ENOMEM. Free with mg_decoder_free. */
int mg_decoder_new(struct mg_str codings, struct mg_decoder **out);
void mg_decoder_free(struct mg_decoder *d); /* NULL is fine */

/* More input. What was given before must have been used up (mg_decoder_take gave nothing). */
void mg_decoder_give(struct mg_decoder *d, struct mg_str in);
/* Up to `room` bytes of text into `out`; *n of them, 0: more input is needed, or it is over. 0, MG_ESYNTAX: malformed,
 * MG_ENOMEM. After a failure nothing more comes. */
int mg_decoder_take(struct mg_decoder *d, char *out, size_t room, size_t *n);
/* No more input follows: 0, or MG_ESYNTAX when it breaks off in the middle. No input at all is an empty text. */
int mg_decoder_end(const struct mg_decoder *d);

/* Would mg_decoder_new find work to do? 1, 0, or MG_ENOENT as it would. */
int mg_coding_is_known(struct mg_str codings);

/* ---- putting one on (encode.c) ---- */

enum mg_coding { MG_CODING_NONE = 0, MG_CODING_GZIP, MG_CODING_DEFLATE, MG_CODING_BR, MG_CODING_ZSTD };
/* By name, without regard to case; MG_CODING_NONE: no such coding. */
enum mg_coding mg_coding_named(struct mg_str name);
const char *mg_coding_name(enum mg_coding coding);
/* Does an Accept-Encoding of this value take the coding? One that is empty takes none. */
bool mg_coding_accepted(struct mg_str accept, enum mg_coding coding);

/* What has been given is taken whole before more is given, like a decoder's; windows are small (at most 512 KiB, and about twice
 * that in all), as there is one for each exchange. */
struct mg_encoder;
enum mg_encode { MG_ENCODE_MORE, MG_ENCODE_FLUSH /* all that was given comes out */, MG_ENCODE_END };
struct mg_encoder *mg_encoder_new(enum mg_coding coding); /* NULL when out of memory */
void mg_encoder_free(struct mg_encoder *e);               /* NULL is fine */
void mg_encoder_give(struct mg_encoder *e, struct mg_str in, enum mg_encode how); /* borrowed until it is used up */
/* *n 0: all is out that is to come. 0 or MG_ENOMEM. */
int mg_encoder_take(struct mg_encoder *e, char *out, size_t room, size_t *n);

#endif
