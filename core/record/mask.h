/* mask.h - secrets do not leave with a recording.
 *
 * A secret becomes a word, "masked-" and 17 digits, that is the same wherever the secret is, in one recording: a chain that
 * compares or counts by it goes the same way on a replay. Words are made with a key that the job forgets.
 *
 * What a secret is is told by its name (a header field, a cookie, a query argument, a form field, a JSON member) or by its
 * use (the key of a credential, a password). One of 8 bytes or more, once known, is masked wherever else it stands
 * in the exchange, too (mg_mask_scrub): an upstream that echoes a token does not give it away. */
#ifndef MG_RECORD_MASK_H
#define MG_RECORD_MASK_H

#include "base/arena.h"

struct mg_record_job;

enum { MG_MASK_LEARNED = 64, MG_MASK_LEAST = 8 };

/* Of one exchange. All results are copies in `arena`; when it is full, or more than MG_MASK_LEARNED secrets were found, texts come
 * out empty or as "masked", and is_short is set. */
struct mg_mask {
    const struct mg_record_job *job;
    struct mg_arena *arena;
    struct mg_learned { struct mg_str secret, word; } learned[MG_MASK_LEARNED];
    int learned_n;
    bool is_short;
};

struct mg_str mg_mask_field(struct mg_mask *m, struct mg_str name, struct mg_str value);
struct mg_str mg_mask_target(struct mg_mask *m, struct mg_str target);
struct mg_str mg_mask_word(struct mg_mask *m, struct mg_str secret);
/* A question or an answer of a service (exchange/outside.h); is_key: a credential's key is a secret. */
struct mg_str mg_mask_text(struct mg_mask *m, const char *service, struct mg_str text, bool is_key);

/* ---- mask_parts.c ---- */
/* multipart/form-data: fields with secret names, and JSON in the others. */
struct mg_str mg_mask_parts(struct mg_mask *m, struct mg_str body);

/* ---- mask_body.c ---- */
/* Secret members of JSON, fields of a form of either kind. It may be cut anywhere. type, codings: of the message. A body in a coding that has a secret in it, or cannot be
 * looked into, is left out: false. *changed: bytes were replaced. */
bool mg_mask_body(struct mg_mask *m, struct mg_str type, struct mg_str codings, struct mg_str body, struct mg_str *out, bool *changed);
enum mg_mask_form { MG_MASK_JSON, MG_MASK_FORM, MG_MASK_PARTS };
struct mg_str mg_mask_plain(struct mg_mask *m, struct mg_str body, enum mg_mask_form form);

/* Secrets that are known by now, wherever they stand. The text itself when there are none. */
struct mg_str mg_mask_scrub(struct mg_mask *m, struct mg_str text);
/* …and the beginning of one, of 8 bytes or more, at the end of a text that was cut. */
struct mg_str mg_mask_tail(struct mg_mask *m, struct mg_str text);
/* Both in JSON's escapes; a trace cuts its values. */
struct mg_str mg_mask_trace(struct mg_mask *m, struct mg_str json);

/* For both files. */
bool mg_mask_is_secret(const struct mg_mask *m, struct mg_str name);
struct mg_str mg_mask_joined(struct mg_mask *m, struct mg_str p, struct mg_str q);
struct mg_str mg_mask_arguments(struct mg_mask *m, struct mg_str text);

#endif
