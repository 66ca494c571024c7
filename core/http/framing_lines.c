/* framing_lines.c - the lines of HTTP/1 (RFC 9112, sections 3, 4, 5, 7.1), read to the letter. */
#include "http/framing.h"
#include "base/bytes.h"

static int refuse(struct mg_refusal *no, int status, const char *why)
{
    no->status = status;
    no->why = why;
    return MG_EPROTO;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* "HTTP/1.1" or "HTTP/1.0". A higher version is told apart from nonsense. */
static int read_version(struct mg_str s, struct mg_head *head, struct mg_refusal *no)
{
    if (s.n != 8 || memcmp(s.p, "HTTP/", 5) != 0 || !is_digit(s.p[5]) || s.p[6] != '.' || !is_digit(s.p[7]))
        return refuse(no, 400, "bad version");
    if (s.p[5] != '1' || s.p[7] > '1')
        return refuse(no, 505, "version not served");
    head->version = 10 + (s.p[7] - '0');
    return 0;
}

int mg_framing_request_line(struct mg_str line, struct mg_head *head, struct mg_refusal *no)
{
    const char *end = line.p + line.n, *first = line.n ? memchr(line.p, ' ', line.n) : NULL, *second;
    struct mg_str method = mg_str(line.p, first ? (size_t)(first - line.p) : 0), target;

    if (!first || !mg_header_name_ok(method))
        return refuse(no, 400, "bad request line");
    second = memchr(first + 1, ' ', (size_t)(end - first - 1));
    if (!second) /* HTTP/0.9 */
        return refuse(no, 400, "no version");
    target = mg_str(first + 1, (size_t)(second - first - 1));
    if (target.n == 0 || read_version(mg_str(second + 1, (size_t)(end - second - 1)), head, no) != 0)
        return target.n == 0 ? refuse(no, 400, "bad request line") : MG_EPROTO;
    if (!mg_bytes_from(target.p, target.n, ' ' + 1) || !mg_bytes_ascii(target.p, target.n))
        return refuse(no, 400, "bad byte in the target");
    head->method_text = method;
    head->method = mg_method_of(method);
    head->target = target;
    return 0;
}

int mg_framing_status_line(struct mg_str line, struct mg_head *head, struct mg_refusal *no)
{
    const char *p = line.p;

    if (line.n < 12 || read_version(mg_str(p, 8), head, no) != 0 || p[8] != ' ' || !is_digit(p[9]) || !is_digit(p[10]) ||
        !is_digit(p[11]) || (line.n > 12 && p[12] != ' '))
        return refuse(no, 0, "bad status line");
    head->status = (p[9] - '0') * 100 + (p[10] - '0') * 10 + (p[11] - '0');
    if (head->status < 100 || head->status > 599)
        return refuse(no, 0, "odd status");
    head->reason = line.n > 13 ? mg_str(p + 13, line.n - 13) : mg_str("", 0);
    if (!mg_header_value_ok(head->reason))
        return refuse(no, 0, "bad reason phrase");
    return 0;
}

/* Where the next line begins when this one is "name: value" CRLF, as nearly all are; NULL: look closer. */
static const char *usual_layout(const char *p, const char *end, const struct mg_header *f)
{
    size_t name_n = f->name_n, value_n = f->value_n;
    const char *value = p + name_n + 2, *crlf = value + value_n;

    if (f->name != p || f->value != value || name_n == 0 || value_n == 0 || name_n + value_n + 4 > (size_t)(end - p))
        return NULL;
    if (value[-2] != ':' || value[-1] != ' ' || is_blank(value[0]) || is_blank(crlf[-1]))
        return NULL;
    return crlf[0] == '\r' && crlf[1] == '\n' ? crlf + 2 : NULL;
}

int mg_framing_layout(struct mg_str fields, struct mg_headers *h, struct mg_refusal *no)
{
    const char *p = fields.p, *end = fields.p + fields.n;

    for (uint32_t i = 0; i < h->n; i++) {
        struct mg_header *f = &h->at[i];
        const char *next = usual_layout(p, end, f);

        if (next) {
            p = next;
            continue;
        }
        if (f->name != p || f->name_n == 0 || f->name_n >= (size_t)(end - p) || p[f->name_n] != ':')
            return refuse(no, 400, "bad field line");
        p += f->name_n + 1;
        while (p < end && is_blank(*p))
            p++;
        if (f->value_n == 0) {
            f->value = p;
        } else {
            if (f->value != p || f->value_n > (size_t)(end - p))
                return refuse(no, 400, "bad field line");
            p += f->value_n;
            while (f->value_n > 0 && is_blank(f->value[f->value_n - 1]))
                f->value_n--;
        }
        if (end - p < 2 || p[0] != '\r' || p[1] != '\n')
            return refuse(no, 400, "bad field line");
        p += 2;
    }
    return end - p == 2 && p[0] == '\r' && p[1] == '\n' ? 0 : refuse(no, 400, "bad field line");
}

int mg_framing_field_line(struct mg_str line, struct mg_str *name, struct mg_str *value, struct mg_refusal *no)
{
    const char *colon = line.n ? memchr(line.p, ':', line.n) : NULL;

    if (!colon)
        return refuse(no, 400, "bad field line");
    *name = mg_str(line.p, (size_t)(colon - line.p));
    *value = mg_str_trim(mg_str(colon + 1, line.n - name->n - 1));
    if (!mg_header_name_ok(*name) || !mg_header_value_ok(*value))
        return refuse(no, 400, "bad field line");
    return 0;
}

/* ---- chunks ---------------------------------------------------------------------------------- */

static void skip_blanks(struct mg_str *s)
{
    while (s->n && is_blank(s->p[0]))
        *s = mg_str(s->p + 1, s->n - 1);
}

static bool cut_char(struct mg_str *s, char c)
{
    if (s->n == 0 || s->p[0] != c)
        return false;
    *s = mg_str(s->p + 1, s->n - 1);
    return true;
}

static bool cut_token(struct mg_str *s)
{
    size_t n = 0;

    while (n < s->n && mg_header_name_ok(mg_str(s->p + n, 1)))
        n++;
    *s = mg_str(s->p + n, s->n - n);
    return n > 0;
}

static bool cut_quoted(struct mg_str *s)
{
    size_t i = 1;

    for (; i < s->n && s->p[i] != '"'; i++) {
        if (s->p[i] == '\\')
            i++;
        if (i >= s->n || !mg_header_value_ok(mg_str(s->p + i, 1)))
            return false;
    }
    if (i >= s->n)
        return false;
    *s = mg_str(s->p + i + 1, s->n - i - 1);
    return true;
}

/* *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ) */
static bool extensions_ok(struct mg_str s)
{
    while (s.n > 0) {
        skip_blanks(&s);
        if (!cut_char(&s, ';'))
            return false;
        skip_blanks(&s);
        if (!cut_token(&s))
            return false;
        if (s.n > 0 && s.p[0] != ';') {
            struct mg_str before = s;

            skip_blanks(&s);
            if (!cut_char(&s, '=')) {
                s = before;
                continue;
            }
            skip_blanks(&s);
            if (s.n > 0 && s.p[0] == '"' ? !cut_quoted(&s) : !cut_token(&s))
                return false;
        }
    }
    return true;
}

static int hex_digit(char c)
{
    if (is_digit(c))
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int mg_framing_chunk_line(struct mg_str line, uint64_t *size, struct mg_refusal *no)
{
    uint64_t n = 0;
    size_t i = 0;

    for (int digit; i < line.n && (digit = hex_digit(line.p[i])) >= 0; i++) {
        if (i >= 16 || n > (uint64_t)INT64_MAX >> 4)
            return refuse(no, 400, "bad chunk size");
        n = n << 4 | (uint64_t)digit;
    }
    if (i == 0)
        return refuse(no, 400, "bad chunk size");
    if (!extensions_ok(mg_str(line.p + i, line.n - i)))
        return refuse(no, 400, "bad chunk extension");
    *size = n;
    return 0;
}
