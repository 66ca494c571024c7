/* mask_body.c - secrets in bodies: members of JSON, fields of forms. */
#include "record/mask.h"
#include "record/parts.h"
#include "base/alloc.h"
#include "http/coding.h"
#include "pdk/codec.h"

enum { PLAIN_MAX = 16 << 20 }; /* of a body in a coding that is looked into */

static struct mg_str from(struct mg_str s, size_t at)
{
    return mg_str(s.p + at, s.n - at);
}

/* ---- JSON ---- */

/* The end of the string whose first quote is at `i`: after its last quote, or the text's end. */
static size_t string_end(struct mg_str s, size_t i)
{
    for (i++; i < s.n; i++) {
        if (s.p[i] == '\\')
            i++;
        else if (s.p[i] == '"')
            return i + 1;
    }
    return s.n;
}

static size_t skip_space(struct mg_str s, size_t i)
{
    while (i < s.n && (s.p[i] == ' ' || s.p[i] == '\t' || s.p[i] == '\r' || s.p[i] == '\n'))
        i++;
    return i;
}

/* The end of the value at `i`; of one that is cut, or malformed, the text's. */
static size_t value_end(struct mg_str s, size_t i)
{
    size_t depth = 0;

    if (i < s.n && s.p[i] == '"')
        return string_end(s, i);
    for (; i < s.n; i++) {
        char c = s.p[i];

        if (c == '"')
            i = string_end(s, i) - 1;
        else if (c == '{' || c == '[')
            depth++;
        else if (depth == 0 && (c == ',' || c == '}' || c == ']'))
            return i;
        else if ((c == '}' || c == ']') && --depth == 0)
            return i + 1;
    }
    return s.n;
}

/* A member's name; escapes in it are read by the JSON of the PDK. */
static bool is_secret_name(struct mg_mask *m, struct mg_str quoted)
{
    struct mg_str name = mg_str(quoted.p + 1, quoted.n - 2), text;
    char error[128];
    struct mg_json *doc;
    bool yes;

    if (!memchr(name.p, '\\', name.n))
        return mg_mask_is_secret(m, name);
    doc = mg_json_parse(quoted.p, quoted.n, error, sizeof error);
    yes = doc && mg_json_text(doc, 0, &text) == 0 && mg_mask_is_secret(m, text);
    mg_json_free(doc);
    return yes;
}

/* Texts in an object or a list are secrets each of its own, wherever else they stand. */
static void learn_texts(struct mg_mask *m, struct mg_str value)
{
    for (size_t i = 0, end; i < value.n; i = end) {
        end = i + 1;
        if (value.p[i] != '"')
            continue;
        end = string_end(value, i);
        if (end - i > 2)
            mg_mask_word(m, mg_str(value.p + i + 1, end - i - 2));
    }
}

/* A string's word is made of its text, so that it is the word of the same secret elsewhere. */
static struct mg_str value_word(struct mg_mask *m, struct mg_str value)
{
    struct mg_str text = value, word;
    char error[128];
    struct mg_json *doc = NULL;

    if (value.n >= 2 && value.p[0] == '"' && value.p[value.n - 1] == '"') {
        text = mg_str(value.p + 1, value.n - 2);
        if (text.n && memchr(text.p, '\\', text.n) && (doc = mg_json_parse(value.p, value.n, error, sizeof error)))
            mg_json_text(doc, 0, &text);
    } else if (value.n && value.p[0] == '"') {
        text = from(value, 1); /* cut */
    } else {
        learn_texts(m, value);
    }
    word = mg_mask_word(m, text);
    mg_json_free(doc);
    return mg_mask_joined(m, mg_mask_joined(m, MG_STR("\""), word), MG_STR("\""));
}

/* One pass over the text, whether it is whole or was cut. */
static struct mg_str mask_json(struct mg_mask *m, struct mg_str s)
{
    struct mg_str out = mg_str("", 0);
    size_t at = 0, i = 0;

    while (i < s.n) {
        size_t end, value;

        if (s.p[i] != '"') {
            i++;
            continue;
        }
        end = string_end(s, i);
        value = skip_space(s, end);
        if (value >= s.n || s.p[value] != ':' || end - i < 3 || !is_secret_name(m, mg_str(s.p + i, end - i))) {
            i = end;
            continue;
        }
        value = skip_space(s, value + 1);
        i = value_end(s, value);
        if (i == value)
            continue;
        out = mg_mask_joined(m, mg_mask_joined(m, out, mg_str(s.p + at, value - at)), value_word(m, mg_str(s.p + value, i - value)));
        at = i;
    }
    return at ? mg_mask_joined(m, out, from(s, at)) : s;
}

struct mg_str mg_mask_plain(struct mg_mask *m, struct mg_str body, enum mg_mask_form form)
{
    if (m->job->conf.keep_secrets || !body.n)
        return body;
    if (form == MG_MASK_FORM)
        return mg_mask_arguments(m, body);
    if (form == MG_MASK_PARTS)
        return mg_mask_parts(m, body);
    return memchr(body.p, '"', body.n) ? mask_json(m, body) : body;
}

/* ---- bodies in a coding ---- */

/* The text from malloc; p NULL: it cannot be had. A body that was cut gives what there is. */
static struct mg_str decoded(struct mg_str codings, struct mg_str body)
{
    struct mg_decoder *d = NULL;
    struct mg_str out = mg_str(NULL, 0);
    size_t room = 65536, n = 0, got = 0;
    char *p = NULL, *more;

    if (mg_decoder_new(codings, &d) != 0 || !d)
        return out;
    mg_decoder_give(d, body);
    do {
        if (n + 1 >= room || !p) {
            room *= 2;
            more = room <= PLAIN_MAX ? mg_realloc(p, room) : NULL;
            if (!more) {
                mg_free(p);
                mg_decoder_free(d);
                return out;
            }
            p = more;
        }
        if (mg_decoder_take(d, p + n, room - n, &got) != 0)
            break;
        n += got;
    } while (got);
    mg_decoder_free(d);
    return mg_str(p, n);
}

static bool is_the_same(struct mg_mask *m, struct mg_str text, enum mg_mask_form form)
{
    struct mg_str masked = mg_mask_plain(m, text, form);

    masked = mg_mask_scrub(m, masked);
    return mg_str_eq(masked, text);
}

static bool looks_harmless(struct mg_mask *m, struct mg_str codings, struct mg_str body, enum mg_mask_form form)
{
    struct mg_str text = decoded(codings, body);
    bool yes;

    if (!text.p)
        return false;
    yes = is_the_same(m, text, form);
    mg_free((char *)(uintptr_t)text.p);
    return yes && !m->is_short;
}

static enum mg_mask_form form_of(struct mg_str type)
{
    static const struct mg_str form = { "application/x-www-form-urlencoded", 33 }, parts = { "multipart/", 10 };

    if (type.n >= form.n && mg_str_ieq(mg_str(type.p, form.n), form))
        return MG_MASK_FORM;
    return type.n >= parts.n && mg_str_ieq(mg_str(type.p, parts.n), parts) ? MG_MASK_PARTS : MG_MASK_JSON;
}

bool mg_mask_body(struct mg_mask *m, struct mg_str type, struct mg_str codings, struct mg_str body, struct mg_str *out, bool *changed)
{
    enum mg_mask_form form = form_of(type);

    *changed = false;
    *out = body;
    if (m->job->conf.keep_secrets || !body.n)
        return true;
    if (mg_coding_is_known(codings) != 0)
        return looks_harmless(m, codings, body, form);
    *out = mg_mask_scrub(m, mg_mask_plain(m, body, form));
    *changed = !mg_str_eq(*out, body);
    return true;
}
