/* lex.c - Lua's tokens, cut as LuaJIT's lj_lex.c cuts them. */
#include "config/lex.h"

#include <stdint.h>
#include <stdlib.h>

struct lexer {
    const char *p;
    size_t n, at;
    int32_t line;
    struct mg_lua_token *tokens;
    size_t tokens_n, room;
    bool failed;
};

static const char *const keywords[] = { "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in",
                                        "local", "nil", "not", "or", "repeat", "return", "then", "true", "until", "while" };

static int peek(const struct lexer *l, size_t ahead)
{
    return l->at + ahead < l->n ? (unsigned char)l->p[l->at + ahead] : -1;
}

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static bool is_name(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' || c >= 0x80;
}

/* One line end, which "\r\n" and "\n\r" are as well. */
static void skip_newline(struct lexer *l)
{
    int first = peek(l, 0), second = peek(l, 1);

    l->at += (second == '\n' || second == '\r') && second != first ? 2 : 1;
    l->line++;
}

/* "[", any number of "=", "[" at l->at: its level; -1 when there is no long bracket. */
static int long_level(const struct lexer *l)
{
    size_t level = 0;

    if (peek(l, 0) != '[')
        return -1;
    while (peek(l, level + 1) == '=')
        level++;
    return peek(l, level + 1) == '[' ? (int)level : -1;
}

static bool skip_long(struct lexer *l, int level)
{
    l->at += (size_t)level + 2;
    while (l->at < l->n) {
        int c = peek(l, 0);

        if (c == '\n' || c == '\r') {
            skip_newline(l);
            continue;
        }
        l->at++;
        if (c == ']') {
            size_t n = 0;

            while (peek(l, n) == '=')
                n++;
            if (n == (size_t)level && peek(l, n) == ']') {
                l->at += n + 1;
                return true;
            }
        }
    }
    return false;
}

static bool skip_string(struct lexer *l)
{
    int quote = peek(l, 0);

    l->at++;
    for (;;) {
        int c = peek(l, 0);

        if (c < 0 || c == '\n' || c == '\r')
            return false;
        if (c == quote) {
            l->at++;
            return true;
        }
        l->at++;
        if (c != '\\')
            continue;
        c = peek(l, 0);
        if (c == '\n' || c == '\r') {
            skip_newline(l);
        } else if (c == 'z') {
            l->at++;
            for (c = peek(l, 0); c == ' ' || (c >= '\t' && c <= '\r'); c = peek(l, 0)) {
                if (c == '\n' || c == '\r')
                    skip_newline(l);
                else
                    l->at++;
            }
        } else if (c >= 0) {
            l->at++;
        }
    }
}

static void skip_number(struct lexer *l)
{
    int exponent = 'e', before = peek(l, 0);

    if (before == '0' && (peek(l, 1) | 0x20) == 'x')
        exponent = 'p';
    for (;;) {
        int c = peek(l, 0);

        if (!is_name(c) && c != '.' && !((c == '-' || c == '+') && (before | 0x20) == exponent))
            return;
        before = c;
        l->at++;
    }
}

static void add(struct lexer *l, uint8_t kind, char mark, size_t start, int32_t line)
{
    if (l->tokens_n == l->room) {
        size_t room = l->room ? l->room * 2 : 1024;
        struct mg_lua_token *grown = realloc(l->tokens, room * sizeof(*grown));

        if (!grown) {
            l->failed = true;
            return;
        }
        l->tokens = grown;
        l->room = room;
    }
    l->tokens[l->tokens_n++] = (struct mg_lua_token){ (uint32_t)start, (uint32_t)l->at, line, kind, mark };
}

static uint8_t word_kind(const char *p, size_t n)
{
    for (size_t i = 0; i < sizeof(keywords) / sizeof(*keywords); i++)
        if (strlen(keywords[i]) == n && memcmp(keywords[i], p, n) == 0)
            return MG_T_KEYWORD;
    return MG_T_NAME;
}

static void lex_mark(struct lexer *l, int c, size_t start, int32_t line)
{
    size_t n = 1;
    char mark = (char)c;

    if ((c == '=' || c == '<' || c == '>' || c == '~') && peek(l, 1) == '=')
        n = 2;
    else if (c == ':' && peek(l, 1) == ':')
        n = 2;
    else if (c == '.' && peek(l, 1) == '.')
        n = peek(l, 2) == '.' ? 3 : 2;
    l->at += n;
    add(l, MG_T_MARK, n > 1 ? 0 : mark, start, line);
}

/* One token, comment or blank. false: nothing that could go on. */
static bool step(struct lexer *l)
{
    int c = peek(l, 0), level;
    size_t start = l->at;
    int32_t line = l->line;

    if (c == '\n' || c == '\r') {
        skip_newline(l);
    } else if (c == ' ' || c == '\t' || c == '\v' || c == '\f') {
        l->at++;
    } else if (c == '-' && peek(l, 1) == '-') {
        l->at += 2;
        level = long_level(l);
        if (level >= 0)
            return skip_long(l, level);
        while (l->at < l->n && peek(l, 0) != '\n' && peek(l, 0) != '\r')
            l->at++;
    } else if (is_digit(c) || (c == '.' && is_digit(peek(l, 1)))) {
        skip_number(l);
        add(l, MG_T_NUMBER, 0, start, line);
    } else if (is_name(c)) {
        while (is_name(peek(l, 0)))
            l->at++;
        add(l, word_kind(l->p + start, l->at - start), 0, start, line);
    } else if (c == '"' || c == '\'') {
        if (!skip_string(l))
            return false;
        add(l, MG_T_STRING, 0, start, line);
    } else if ((level = long_level(l)) >= 0) {
        if (!skip_long(l, level))
            return false;
        add(l, MG_T_STRING, 0, start, line);
    } else {
        lex_mark(l, c, start, line);
    }
    return true;
}

long mg_lua_lex(struct mg_str source, struct mg_lua_token **out)
{
    struct lexer l = { .p = source.p, .n = source.n, .line = 1 };

    *out = NULL;
    if (source.n > UINT32_MAX)
        return 0;
    if (mg_str_starts(source, MG_STR("\xef\xbb\xbf")))
        l.at = 3;
    if (peek(&l, 0) == '#')
        while (l.at < l.n && peek(&l, 0) != '\n' && peek(&l, 0) != '\r')
            l.at++;
    while (l.at < l.n && !l.failed && step(&l))
        ;
    if (l.failed) {
        free(l.tokens);
        return -1;
    }
    *out = l.tokens;
    return (long)l.tokens_n;
}

bool mg_lua_plain_string(struct mg_str source, const struct mg_lua_token *t, struct mg_str *out)
{
    struct mg_str s = mg_str(source.p + t->start, t->end - t->start);

    if (t->kind != MG_T_STRING || s.n < 2 || s.p[0] == '[' || memchr(s.p, '\\', s.n))
        return false;
    *out = mg_str(s.p + 1, s.n - 2);
    return true;
}
