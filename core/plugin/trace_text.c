/* trace_text.c - a trace for programs and for people. */
#include "plugin/step.h"
#include "plugin/trace.h"
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const char *verdict(const struct mg_trace_step *s)
{
    static const char *const names[] = { "continue", "respond", "wait", "error" };

    return s->is_skipped ? "skipped" : s->is_waiting ? "wait" : s->has_failed ? "error" : names[s->verdict & 3];
}

static const char *source(int s)
{
    static const char *const names[] = { "", "upstream", "plugin", "gateway" };

    return names[s & 3];
}

static void put_time(FILE *f, int64_t us)
{
    time_t s = us / 1000000;
    struct tm tm;
    char text[32];

    gmtime_r(&s, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    fprintf(f, "%s.%03dZ", text, (int)(us / 1000 % 1000));
}

/* ---- JSON ------------------------------------------------------------------------------------------ */

static uint32_t code_point(const unsigned char *p, size_t n)
{
    uint32_t c = n == 2 ? p[0] & 0x1f : n == 3 ? p[0] & 0x0f : p[0] & 0x07;

    for (size_t i = 1; i < n; i++)
        c = c << 6 | (p[i] & 0x3f);
    return c;
}

/* ASCII only. Bytes that are no UTF-8 become U+FFFD. */
void mg_trace_quote(FILE *f, struct mg_str s)
{
    fputc('"', f);
    for (size_t i = 0, n; i < s.n; i += n) {
        unsigned char c = (unsigned char)s.p[i];
        uint32_t u;

        n = 1;
        if (c >= 0x20 && c < 0x7f) {
            if (c == '"' || c == '\\')
                fputc('\\', f);
            fputc(c, f);
            continue;
        }
        u = c;
        if (c >= 0x80) {
            n = mg_utf8_length(s.p + i, s.n - i);
            u = n ? code_point((const unsigned char *)s.p + i, n) : 0xfffd;
            n = n ? n : 1;
        }
        if (u >= 0x10000)
            fprintf(f, "\\u%04x\\u%04x", 0xd800 + ((u - 0x10000) >> 10), 0xdc00 + ((u - 0x10000) & 0x3ff));
        else
            fprintf(f, "\\u%04x", u);
    }
    fputc('"', f);
}

static void member(FILE *f, const char *name, struct mg_str value)
{
    if (!value.n)
        return;
    fprintf(f, ",\"%s\":", name);
    mg_trace_quote(f, value);
}

static void quote_or_null(FILE *f, struct mg_str s)
{
    if (s.p)
        mg_trace_quote(f, s);
    else
        fputs("null", f);
}

static void json_change(FILE *f, const struct mg_change *c, bool is_short)
{
    bool is_body = c->what == MG_CHANGED_REQUEST_BODY || c->what == MG_CHANGED_RESPONSE_BODY;

    fprintf(f, "{\"what\":\"%s\"", mg_changed_key(c->what));
    member(f, "name", c->name);
    if (is_short) {
        if (!is_body && !c->is.p)
            fputs(",\"removed\":true", f);
        if (c->what == MG_CHANGED_ANSWER)
            member(f, "is", c->is);
    } else if (c->what == MG_CHANGED_ANSWER) {
        member(f, "is", c->is);
    } else if (!is_body) {
        fputs(",\"was\":", f);
        quote_or_null(f, c->was);
        fputs(",\"is\":", f);
        quote_or_null(f, c->is);
    }
    if (is_body || c->what == MG_CHANGED_ANSWER)
        fprintf(f, ",\"bytes\":%lld", (long long)c->bytes);
    fputc('}', f);
}

static void json_step(FILE *f, const struct mg_trace_step *s, bool is_short)
{
    fputs("{\"entry\":", f);
    mg_trace_quote(f, s->entry);
    if (!is_short || !mg_str_eq(s->entry, s->plugin))
        member(f, "plugin", s->plugin);
    if (!s->route.n)
        fputs(",\"global\":true", f);
    fprintf(f, ",\"phase\":\"%s\",\"verdict\":\"%s\"", mg_phase_name(s->phase), verdict(s));
    if (s->is_observed)
        fputs(",\"mode\":\"observe\"", f);
    if (!s->is_skipped)
        fprintf(f, ",\"at_us\":%lld,\"ran_us\":%lld", (long long)s->at_us, (long long)s->ran_us);
    if (s->waited_us || s->is_waiting)
        fprintf(f, ",\"waited_us\":%lld", (long long)s->waited_us);
    if (s->calls > 1)
        fprintf(f, ",\"calls\":%u", s->calls);
    if (s->phase == MG_ON_REQUEST_BODY || s->phase == MG_ON_RESPONSE_BODY)
        fprintf(f, ",\"bytes_in\":%llu,\"bytes_out\":%llu,\"pieces_changed\":%u", (unsigned long long)s->bytes_in, (unsigned long long)s->bytes_out,
                s->pieces_changed);
    member(f, "error", s->error);
    if (s->changes) {
        fputs(",\"changes\":[", f);
        for (const struct mg_trace_change *c = s->changes; c; c = c->next) {
            json_change(f, &c->change, is_short);
            if (c->next)
                fputc(',', f);
        }
        fputc(']', f);
    }
    fputc('}', f);
}

static void json_head(FILE *f, const struct mg_trace *t)
{
    fputs("{\"id\":", f);
    mg_trace_quote(f, mg_str_c(t->id));
    fprintf(f, ",\"at\":\"");
    put_time(f, t->began_wall_us);
    fprintf(f, "\",\"worker\":%d", t->worker);
    member(f, "method", t->method);
    member(f, "host", t->host);
    member(f, "path", t->path);
    member(f, "query", t->query);
    member(f, "route", t->route);
    member(f, "consumer", t->consumer);
    member(f, "upstream", t->upstream);
    member(f, "target", t->target);
    if (t->status)
        fprintf(f, ",\"status\":%d,\"source\":\"%s\"", t->status, source(t->source));
    member(f, "failure", t->failure);
    fprintf(f, ",\"us\":{\"total\":%lld,\"upstream\":%lld,\"gateway\":%lld},\"bytes\":{\"body_in\":%llu,\"body_out\":%llu}", (long long)t->total_us,
            (long long)t->upstream_us, (long long)t->gateway_us, (unsigned long long)t->body_in, (unsigned long long)t->body_out);
}

static void json(FILE *f, const struct mg_trace *t)
{
    json_head(f, t);
    fputs(",\"steps\":[", f);
    for (const struct mg_trace_step *s = t->first; s; s = s->next) {
        json_step(f, s, false);
        if (s->next)
            fputc(',', f);
    }
    fprintf(f, "]%s}", t->is_cut ? ",\"cut\":true" : "");
}

/* Steps as long as they fit. */
static void json_short(FILE *f, const struct mg_trace *t, size_t limit)
{
    bool is_cut = t->is_cut;
    size_t used;

    fputs("{\"id\":", f);
    mg_trace_quote(f, mg_str_c(t->id));
    fputs(",\"steps\":[", f);
    fflush(f);
    used = (size_t)ftell(f) + sizeof "],\"cut\":true}";
    for (const struct mg_trace_step *s = t->first; s; s = s->next) {
        char *text = NULL;
        size_t n = 0;
        FILE *one = open_memstream(&text, &n);

        if (one) {
            json_step(one, s, true);
            fclose(one);
        }
        if (!text || used + n + 1 > limit) {
            free(text);
            is_cut = true;
            break;
        }
        if (s != t->first)
            fputc(',', f);
        fwrite(text, 1, n, f);
        used += n + 1;
        free(text);
    }
    fprintf(f, "]%s}", is_cut ? ",\"cut\":true" : "");
}

/* ---- for people -------------------------------------------------------------------------------------- */

static void plain(FILE *f, struct mg_str s)
{
    char room[2048];
    struct mg_text t;

    mg_text_init(&t, room, sizeof room);
    mg_text_escape(&t, s, MG_TEXT_PLAIN);
    fwrite(room, 1, t.n, f);
}

static void duration(FILE *f, int64_t us)
{
    if (us < 1000)
        fprintf(f, "%lld us", (long long)us);
    else if (us < 1000000)
        fprintf(f, "%.1f ms", (double)us / 1e3);
    else
        fprintf(f, "%.2f s", (double)us / 1e6);
}

static void text_change(FILE *f, const struct mg_change *c, bool is_observed)
{
    fprintf(f, "        %s%s", is_observed ? "would: " : "", mg_changed_words(c->what));
    if (c->name.n) {
        fputc(' ', f);
        plain(f, c->name);
    }
    if (c->was.p) {
        fputs(": ", f);
        plain(f, c->was);
        fputs(" ->", f);
    } else {
        fputc(':', f);
    }
    fputc(' ', f);
    if (c->what == MG_CHANGED_REQUEST_BODY || c->what == MG_CHANGED_RESPONSE_BODY)
        fprintf(f, "%lld bytes", (long long)c->bytes);
    else if (c->is.p)
        plain(f, c->is);
    else
        fputs("(gone)", f);
    if (c->what == MG_CHANGED_ANSWER)
        fprintf(f, " (%lld bytes)", (long long)c->bytes);
    fputc('\n', f);
}

static void text_step(FILE *f, const struct mg_trace_step *s)
{
    fprintf(f, "  %-16s ", mg_phase_name(s->phase));
    plain(f, s->entry);
    if (!mg_str_eq(s->entry, s->plugin)) {
        fputs(" (", f);
        plain(f, s->plugin);
        fputc(')', f);
    }
    fprintf(f, "%s%s  %s", s->route.n ? "" : " [global]", s->is_observed ? " [only observes]" : "", verdict(s));
    if (!s->is_skipped) {
        fputs("  ", f);
        duration(f, s->ran_us);
    }
    if (s->waited_us) {
        fputs(", waited ", f);
        duration(f, s->waited_us);
    }
    if (s->phase == MG_ON_REQUEST_BODY || s->phase == MG_ON_RESPONSE_BODY)
        fprintf(f, ", %u piece%s, %llu bytes in, %llu out%s", s->calls, s->calls == 1 ? "" : "s", (unsigned long long)s->bytes_in,
                (unsigned long long)s->bytes_out, s->pieces_changed ? ", changed" : "");
    fputc('\n', f);
    if (s->error.n) {
        fputs("        error: ", f);
        plain(f, s->error);
        fputc('\n', f);
    }
    for (const struct mg_trace_change *c = s->changes; c; c = c->next)
        text_change(f, &c->change, s->is_observed);
}

static void labelled(FILE *f, const char *label, struct mg_str value)
{
    if (!value.n)
        return;
    fprintf(f, "  %s ", label);
    plain(f, value);
}

static void text(FILE *f, const struct mg_trace *t)
{
    fprintf(f, "%s  ", t->id);
    put_time(f, t->began_wall_us);
    fputs("\n", f);
    plain(f, t->method);
    fputs(" ", f);
    plain(f, t->host);
    plain(f, t->path);
    if (t->query.p) {
        fputc('?', f);
        plain(f, t->query);
    }
    if (t->status)
        fprintf(f, "  ->  %d from the %s", t->status, source(t->source));
    labelled(f, "failure:", t->failure);
    fputc('\n', f);
    labelled(f, "route", t->route);
    labelled(f, "consumer", t->consumer);
    labelled(f, "upstream", t->upstream);
    labelled(f, "at", t->target);
    fputs("\n  ", f);
    duration(f, t->total_us);
    fputs(" in all", f);
    if (t->upstream_us >= 0) {
        fputs(", upstream ", f);
        duration(f, t->upstream_us);
    }
    fprintf(f, ", body %llu bytes in, %llu out\n", (unsigned long long)t->body_in, (unsigned long long)t->body_out);
    for (const struct mg_trace_step *s = t->first; s; s = s->next)
        text_step(f, s);
    if (t->is_cut)
        fputs("  (cut: there was more)\n", f);
}

int mg_trace_write(const struct mg_trace *t, int form, size_t limit, struct mg_str *out)
{
    char *p = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&p, &n);

    *out = mg_str(NULL, 0);
    if (!f)
        return MG_ENOMEM;
    if (form == MG_TRACE_TEXT)
        text(f, t);
    else if (form == MG_TRACE_SHORT)
        json_short(f, t, limit);
    else
        json(f, t);
    if (fclose(f) != 0) {
        free(p);
        return MG_ENOMEM;
    }
    *out = mg_str(p, n);
    return 0;
}
