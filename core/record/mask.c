/* mask.c - words in place of secrets: header fields, targets, questions. */
#include "record/mask.h"
#include "record/parts.h"
#include "pdk/codec.h"

enum { WORD_TEXT = 24, WORD_BYTES = 9 }; /* whole groups of base64url: a token with it in place of its signature can still be read */

static const struct mg_str masked = { "masked", 6 };

bool mg_mask_is_secret(const struct mg_mask *m, struct mg_str name)
{
    return !m->job->conf.keep_secrets && mg_trace_is_secret(m->job->conf.secret, m->job->conf.secret_n, name);
}

static struct mg_str copied(struct mg_mask *m, struct mg_str s)
{
    struct mg_str copy = s.n ? mg_arena_copy(m->arena, s.p, s.n) : mg_str("", 0);

    if (copy.p)
        return copy;
    m->is_short = true;
    return mg_str("", 0);
}

struct mg_str mg_mask_joined(struct mg_mask *m, struct mg_str p, struct mg_str q)
{
    char *out = mg_arena_alloc(m->arena, p.n + q.n + 1);

    if (!out) {
        m->is_short = true;
        return masked;
    }
    if (p.n)
        memcpy(out, p.p, p.n);
    if (q.n)
        memcpy(out + p.n, q.p, q.n);
    out[p.n + q.n] = 0;
    return mg_str(out, p.n + q.n);
}

static struct mg_str joined3(struct mg_mask *m, struct mg_str p, struct mg_str q, struct mg_str r)
{
    return mg_mask_joined(m, mg_mask_joined(m, p, q), r);
}

static struct mg_str from(struct mg_str s, size_t at)
{
    return mg_str(s.p + at, s.n - at);
}

/* ---- words ---- */

static bool is_word(struct mg_str s)
{
    return s.n == WORD_TEXT && mg_str_starts(s, MG_STR("masked-"));
}

/* The longest come first: one may begin with another. */
static void learn(struct mg_mask *m, struct mg_str secret, struct mg_str word)
{
    struct mg_str copy;
    int i;

    if (secret.n < MG_MASK_LEAST)
        return;
    for (i = 0; i < m->learned_n; i++)
        if (mg_str_eq(m->learned[i].secret, secret))
            return;
    if (m->learned_n == MG_MASK_LEARNED) {
        m->is_short = true;
        return;
    }
    copy = copied(m, secret);
    if (!copy.n)
        return;
    for (i = m->learned_n++; i > 0 && m->learned[i - 1].secret.n < copy.n; i--)
        m->learned[i] = m->learned[i - 1];
    m->learned[i] = (struct mg_learned){ copy, word };
}

struct mg_str mg_mask_word(struct mg_mask *m, struct mg_str secret)
{
    char text[7 + 2 * WORD_BYTES];
    struct mg_str mac, word;

    if (!secret.n || is_word(secret))
        return copied(m, secret);
    if (mg_hmac("sha256", (const char *)m->job->key, sizeof m->job->key, secret.p, secret.n, &mac) != 0)
        return masked;
    memcpy(text, "masked-", 7);
    mg_hex_put(text + 7, (const uint8_t *)mac.p, WORD_BYTES);
    word = mg_arena_copy(m->arena, text, WORD_TEXT);
    if (!word.p) {
        m->is_short = true;
        return masked;
    }
    learn(m, secret, word);
    return word;
}

struct mg_str mg_mask_scrub(struct mg_mask *m, struct mg_str text)
{
    for (int i = 0; i < m->learned_n; i++) {
        struct mg_str secret = m->learned[i].secret, rest = text, out = mg_str("", 0);
        const char *at;

        if (rest.n < secret.n)
            continue;
        while ((at = memmem(rest.p, rest.n, secret.p, secret.n))) {
            out = joined3(m, out, mg_str(rest.p, (size_t)(at - rest.p)), m->learned[i].word);
            rest = from(rest, (size_t)(at - rest.p) + secret.n);
        }
        if (out.n)
            text = mg_mask_joined(m, out, rest);
    }
    return text;
}

struct mg_str mg_mask_tail(struct mg_mask *m, struct mg_str text)
{
    for (int i = 0; i < m->learned_n; i++) {
        struct mg_str secret = m->learned[i].secret;
        size_t n = text.n < secret.n ? text.n : secret.n - 1;

        for (; n >= MG_MASK_LEAST; n--)
            if (memcmp(text.p + text.n - n, secret.p, n) == 0)
                return mg_mask_joined(m, mg_str(text.p, text.n - n), m->learned[i].word);
    }
    return text;
}

/* ---- header fields ---- */

/* Up to the separator, as it stands; false: there is nothing more. */
static bool next_part(struct mg_str *rest, char separator, struct mg_str *item)
{
    const char *end = rest->n ? memchr(rest->p, separator, rest->n) : NULL;

    if (!rest->p)
        return false;
    *item = mg_str(rest->p, end ? (size_t)(end - rest->p) : rest->n);
    *rest = end ? from(*rest, item->n + 1) : mg_str(NULL, 0);
    return true;
}

/* A token of three parts keeps its claims and loses its signature: nobody takes it any more. */
static struct mg_str mask_token(struct mg_mask *m, struct mg_str token)
{
    const char *one = token.n ? memchr(token.p, '.', token.n) : NULL, *two;
    struct mg_str signature;

    two = one ? memchr(one + 1, '.', token.n - (size_t)(one + 1 - token.p)) : NULL;
    if (!two || two - one < 2 || memchr(two + 1, '.', token.n - (size_t)(two + 1 - token.p)) || token.n < 2 || memcmp(token.p, "ey", 2) != 0)
        return mg_mask_word(m, token);
    signature = from(token, (size_t)(two + 1 - token.p));
    return mg_mask_joined(m, mg_str(token.p, token.n - signature.n), mg_mask_word(m, signature));
}

/* Name and a word in place of the password. */
static struct mg_str mask_basic(struct mg_mask *m, struct mg_str coded)
{
    struct mg_str plain, again;
    const char *colon;
    size_t name_n;

    if (mg_base64_decode(coded.p, coded.n, 0, &plain) != 0 || !plain.n)
        return mg_mask_word(m, coded);
    plain = copied(m, plain);
    colon = plain.n ? memchr(plain.p, ':', plain.n) : NULL;
    if (!colon)
        return mg_mask_word(m, coded);
    name_n = (size_t)(colon + 1 - plain.p);
    plain = mg_mask_joined(m, mg_str(plain.p, name_n), mg_mask_word(m, from(plain, name_n)));
    if (mg_base64_encode(plain.p, plain.n, 0, &again) != 0)
        return mg_mask_word(m, coded);
    again = copied(m, again);
    learn(m, coded, again);
    return again;
}

/* Of Authorization the first word is its scheme (RFC 9110, 11.4); elsewhere it is when it is a usual one. */
static size_t scheme_length(struct mg_str name, struct mg_str value)
{
    static const struct mg_str usual[] = { { "basic", 5 }, { "bearer", 6 }, { "digest", 6 }, { "dpop", 4 }, { "token", 5 }, { "key", 3 }, { "apikey", 6 } };
    const char *space = memchr(value.p, ' ', value.n);
    struct mg_str word = space ? mg_str(value.p, (size_t)(space - value.p)) : mg_str("", 0);

    for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++)
        if (mg_str_ieq(word, usual[i]))
            return word.n;
    return mg_str_ieq(name, MG_STR("authorization")) || mg_str_ieq(name, MG_STR("proxy-authorization")) ? word.n : 0;
}

/* "Scheme credentials" keeps its scheme. */
static struct mg_str mask_credentials(struct mg_mask *m, struct mg_str name, struct mg_str value)
{
    size_t n = scheme_length(name, value), spaces = n;
    struct mg_str scheme, rest;

    while (n && spaces < value.n && value.p[spaces] == ' ')
        spaces++;
    scheme = mg_str(value.p, spaces);
    rest = from(value, spaces);
    if (n == 5 && mg_str_ieq(mg_str(value.p, n), MG_STR("basic")))
        return mg_mask_joined(m, scheme, mask_basic(m, rest));
    return mg_mask_joined(m, scheme, mask_token(m, rest));
}

/* "a=1; b=2": each value of its own. Of Set-Cookie the first alone: the others are its attributes. */
static struct mg_str mask_cookies(struct mg_mask *m, struct mg_str value, bool first_only)
{
    struct mg_str rest = value, item, out = mg_str("", 0);
    bool is_first = true;

    while (next_part(&rest, ';', &item)) {
        const char *eq = item.n ? memchr(item.p, '=', item.n) : NULL;
        size_t n = eq ? (size_t)(eq + 1 - item.p) : 0;

        if (!is_first)
            out = mg_mask_joined(m, out, MG_STR(";"));
        if (!eq && (is_first || !first_only)) /* a value without a name */
            item = mg_mask_word(m, mg_str_trim(item));
        else if (eq && (is_first || !first_only))
            item = mg_mask_joined(m, mg_str(item.p, n), mask_token(m, mg_str_trim(from(item, n))));
        out = mg_mask_joined(m, out, item);
        is_first = false;
    }
    return out;
}

struct mg_str mg_mask_field(struct mg_mask *m, struct mg_str name, struct mg_str value)
{
    if (mg_str_ieq(name, MG_STR("referer")) || mg_str_ieq(name, MG_STR("location")))
        return mg_mask_target(m, value);
    if (!value.n || !mg_mask_is_secret(m, name))
        return copied(m, value);
    if (mg_str_ieq(name, MG_STR("cookie")))
        return mask_cookies(m, value, false);
    if (mg_str_ieq(name, MG_STR("set-cookie")))
        return mask_cookies(m, value, true);
    return mask_credentials(m, name, value);
}

/* ---- arguments ---- */

/* A plugin sees the argument decoded, so the word is the decoded one's. */
static struct mg_str mask_argument(struct mg_mask *m, struct mg_str coded)
{
    struct mg_str plain, word;

    if (!memchr(coded.p, '%', coded.n) && !memchr(coded.p, '+', coded.n))
        return mask_token(m, coded);
    if (mg_url_decode(coded.p, coded.n, &plain) != 0)
        return mg_mask_word(m, coded);
    word = mask_token(m, copied(m, plain));
    learn(m, coded, word);
    return word;
}

static bool is_secret_argument(struct mg_mask *m, struct mg_str name)
{
    struct mg_str plain;

    if (mg_mask_is_secret(m, name))
        return true;
    return name.n && (memchr(name.p, '%', name.n) || memchr(name.p, '+', name.n)) && mg_url_decode(name.p, name.n, &plain) == 0 &&
           mg_mask_is_secret(m, plain);
}

struct mg_str mg_mask_arguments(struct mg_mask *m, struct mg_str text)
{
    struct mg_str out = mg_str("", 0), rest = text, item;
    bool is_first = true;

    while (next_part(&rest, '&', &item)) {
        const char *eq = item.n ? memchr(item.p, '=', item.n) : NULL;
        size_t n = eq ? (size_t)(eq + 1 - item.p) : 0;

        if (!is_first)
            out = mg_mask_joined(m, out, MG_STR("&"));
        is_first = false;
        if (eq && item.n > n && is_secret_argument(m, mg_str(item.p, n - 1)))
            item = mg_mask_joined(m, mg_str(item.p, n), mask_argument(m, from(item, n)));
        out = mg_mask_joined(m, out, item);
    }
    return out;
}

/* The password of "http://user:password@host", up to where the path begins. */
static struct mg_str mask_authority(struct mg_mask *m, struct mg_str url)
{
    const char *host = url.n ? memmem(url.p, url.n, "://", 3) : NULL, *end, *at, *colon;
    size_t n = host ? (size_t)(host + 3 - url.p) : 0;

    if (!host)
        return url;
    end = memchr(url.p + n, '/', url.n - n);
    at = memrchr(url.p + n, '@', end ? (size_t)(end - url.p) - n : url.n - n);
    colon = at ? memchr(url.p + n, ':', (size_t)(at - url.p) - n) : NULL;
    if (!colon || colon + 1 == at)
        return url;
    n = (size_t)(colon + 1 - url.p);
    return joined3(m, mg_str(url.p, n), mg_mask_word(m, mg_str(colon + 1, (size_t)(at - colon) - 1)), from(url, (size_t)(at - url.p)));
}

/* Query and fragment, each with its mark: what follows the first '?' or '#'. */
struct mg_str mg_mask_target(struct mg_mask *m, struct mg_str target)
{
    struct mg_str out, rest = target;
    size_t n;

    if (m->job->conf.keep_secrets)
        return copied(m, target);
    for (n = 0; n < rest.n && rest.p[n] != '?' && rest.p[n] != '#'; n++)
        ;
    out = copied(m, mask_authority(m, mg_str(rest.p, n)));
    while (n < rest.n) {
        struct mg_str mark = mg_str(rest.p + n, 1);

        rest = from(rest, n + 1);
        for (n = 0; n < rest.n && rest.p[n] != '#'; n++)
            ;
        out = joined3(m, out, mark, mg_mask_arguments(m, mg_str(rest.p, n)));
    }
    return out;
}

/* ---- questions and answers ---- */

/* "POST http://users/login?token=… HTTP/1.1\r\n": the words are apart. */
static struct mg_str mask_first_line(struct mg_mask *m, struct mg_str line)
{
    const char *end = line.n ? memrchr(line.p, ' ', line.n) : NULL;
    size_t n = end ? (size_t)(end - line.p) : 0;

    return end ? mg_mask_joined(m, mg_mask_target(m, mg_str(line.p, n)), from(line, n)) : mg_mask_target(m, line);
}

/* A line of a head, with its end. */
static struct mg_str mask_line(struct mg_mask *m, struct mg_str line, struct mg_str *type, struct mg_str *codings)
{
    const char *colon = memchr(line.p, ':', line.n);
    struct mg_str name, value, end;

    if (!colon)
        return line;
    name = mg_str(line.p, (size_t)(colon - line.p));
    value = from(line, name.n + 1);
    while (value.n && (value.p[value.n - 1] == '\n' || value.p[value.n - 1] == '\r'))
        value.n--;
    end = from(line, name.n + 1 + value.n);
    value = mg_str_trim(value);
    if (mg_str_ieq(name, MG_STR("content-type")))
        *type = value;
    else if (mg_str_ieq(name, MG_STR("content-encoding")))
        *codings = value;
    if (value.n > 6 && mg_str_ieq(mg_str(value.p, 6), MG_STR("basic ")) && mg_mask_is_secret(m, name)) /* nobody here takes it apart */
        value = mg_mask_joined(m, mg_str(value.p, 6), mg_mask_word(m, from(value, 6)));
    else
        value = mg_mask_field(m, name, value);
    return joined3(m, mg_mask_joined(m, name, MG_STR(": ")), value, end);
}

static struct mg_str mask_message(struct mg_mask *m, struct mg_str text)
{
    struct mg_str out = mg_str("", 0), rest = text, type = out, codings = out, body;
    bool is_first = true, changed;

    while (rest.n) {
        const char *end = memchr(rest.p, '\n', rest.n);
        struct mg_str line = mg_str(rest.p, end ? (size_t)(end + 1 - rest.p) : rest.n);

        rest = from(rest, line.n);
        if (!is_first && (mg_str_eq(line, MG_STR("\r\n")) || mg_str_eq(line, MG_STR("\n")))) {
            if (!mg_mask_body(m, type, codings, rest, &body, &changed))
                body = mg_str("", 0);
            return joined3(m, out, line, body);
        }
        out = mg_mask_joined(m, out, is_first ? mask_first_line(m, line) : mask_line(m, line, &type, &codings));
        is_first = false;
    }
    return out;
}

struct mg_str mg_mask_text(struct mg_mask *m, const char *service, struct mg_str text, bool is_key)
{
    const char *mark;

    if (!text.n || m->job->conf.keep_secrets)
        return copied(m, text);
    if (strcmp(service, "http") == 0 || strcmp(service, "http.head") == 0)
        return mask_message(m, text);
    if (strcmp(service, "http.write") == 0 && (mark = memchr(text.p, '\n', text.n)))
        return mg_mask_joined(m, mg_str(text.p, (size_t)(mark + 1 - text.p)), mg_mask_plain(m, from(text, (size_t)(mark + 1 - text.p)), MG_MASK_JSON));
    if (strncmp(service, "http.", 5) == 0)
        return mg_mask_plain(m, copied(m, text), MG_MASK_JSON);
    if (strcmp(service, "password") == 0)
        return mg_mask_word(m, text);
    if (is_key && strcmp(service, "credential") == 0 && (mark = memchr(text.p, ' ', text.n)))
        return mg_mask_joined(m, mg_str(text.p, (size_t)(mark + 1 - text.p)), mg_mask_word(m, from(text, (size_t)(mark + 1 - text.p))));
    return copied(m, text);
}
