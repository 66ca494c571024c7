/* onsave_show.c - mistakes with the lines that they speak of. */
#include "server/onsave.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/str.h"

enum { LINE_BYTES = 400, PATH_BYTES = 4096 };

/* "FILE:LINE: …": where the colon after the file is; NULL: the mistake names no place. */
static const char *place_of(struct mg_str line, int *number)
{
    for (const char *p = line.p; p < line.p + line.n; p++) {
        const char *q = p + 1;

        if (*p != ':' || p == line.p || q >= line.p + line.n || !isdigit((unsigned char)*q))
            continue;
        *number = atoi(q);
        while (q < line.p + line.n && isdigit((unsigned char)*q))
            q++;
        if (q < line.p + line.n && *q == ':')
            return p;
    }
    return NULL;
}

/* "routes.users.plugins[1]: plugins/guard.lua:3: …": what follows the path of a value, when that is a place; else all of it. */
static struct mg_str past_path(struct mg_str mistake)
{
    const char *space = memchr(mistake.p, ' ', mistake.n), *colon;
    struct mg_str rest;
    int n;

    if (!space || space == mistake.p || space[-1] != ':')
        return mistake;
    rest = mg_str(space + 1, (size_t)(mistake.p + mistake.n - space - 1));
    colon = place_of(rest, &n);
    return colon && !memchr(rest.p, ' ', (size_t)(colon - rest.p)) ? rest : mistake;
}

/* As of "gateway.lua:1: said.lua:3: unexpected symbol". */
struct mg_str mg_onsave_place(struct mg_str mistake, struct mg_str *path, int *number)
{
    const char *colon, *after, *end = mistake.p + mistake.n;
    int n;

    *path = mg_str(NULL, 0);
    while ((colon = place_of(mistake, &n)) && !memchr(mistake.p, ' ', (size_t)(colon - mistake.p))) {
        *path = mg_str(mistake.p, (size_t)(colon - mistake.p));
        *number = n;
        after = (const char *)memchr(colon + 1, ':', (size_t)(end - colon - 1)) + 1;
        while (after < end && *after == ' ')
            after++;
        mistake = past_path(mg_str(after, (size_t)(end - after)));
    }
    return mistake;
}

/* Lua cuts the beginning of a long path off ("...config/said.lua"): what is whole of it lies below some folder above the config. */
static bool find_cut(const char *folder, struct mg_str path, char *out, size_t n)
{
    const char *slash = memchr(path.p, '/', path.n);
    size_t above = strlen(folder);

    while (slash) {
        snprintf(out, n, "%.*s%.*s", (int)above, folder, (int)(path.p + path.n - slash), slash);
        if (access(out, R_OK) == 0)
            return true;
        if (above == 0)
            break;
        while (above > 0 && folder[--above] != '/')
            ;
    }
    return false;
}

bool mg_onsave_find(const char *folder, struct mg_str path, char *out, size_t n)
{
    if (path.n > 3 && memcmp(path.p, "...", 3) == 0)
        return find_cut(folder, path, out, n);
    if (path.n && path.p[0] == '/')
        snprintf(out, n, "%.*s", (int)path.n, path.p);
    else
        snprintf(out, n, "%s/%.*s", folder, (int)path.n, path.n ? path.p : "");
    return true;
}

static FILE *open_source(const char *folder, struct mg_str path)
{
    char name[PATH_BYTES];

    return mg_onsave_find(folder, path, name, sizeof name) ? fopen(name, "re") : NULL;
}

static bool read_line(FILE *f, int number, char *line)
{
    for (int i = 1; fgets(line, LINE_BYTES, f);) {
        size_t n = strlen(line);
        bool is_whole = n && line[n - 1] == '\n';

        if (i == number) {
            line[strcspn(line, "\r\n")] = '\0';
            return true;
        }
        i += is_whole;
    }
    return false;
}

/* The last name of "routes.users.plugins[2].limt", the word in quotes, or else the beginning of the line. */
static size_t column_of(const char *line, struct mg_str mistake)
{
    const char *colon = memchr(mistake.p, ':', mistake.n), *end = colon, *begin, *found;
    char word[128];

    if (colon) {
        while (end > mistake.p && end[-1] == ']')
            while (end > mistake.p && *--end != '[')
                ;
        for (begin = end; begin > mistake.p && (isalnum((unsigned char)begin[-1]) || begin[-1] == '_' || begin[-1] == '-'); begin--)
            ;
        snprintf(word, sizeof word, "%.*s", (int)(end - begin), begin);
        found = word[0] ? strstr(line, word) : NULL;
        if (found)
            return (size_t)(found - line);
    }
    return strspn(line, " \t");
}

static void show_source(FILE *out, const char *folder, struct mg_str mistake)
{
    struct mg_str path, rest;
    char line[LINE_BYTES];
    size_t column;
    int number;
    FILE *f;

    rest = mg_onsave_place(mistake, &path, &number);
    f = path.n ? open_source(folder, path) : NULL;
    if (!f)
        return;
    if (read_line(f, number, line)) {
        column = column_of(line, rest);
        fprintf(out, "  %5d | %s\n        | ", number, line);
        for (size_t i = 0; i < column; i++)
            fputc(line[i] == '\t' ? '\t' : ' ', out);
        fputs("^\n", out);
    }
    fclose(f);
}

void mg_onsave_show(int fd, const char *folder, const char *text)
{
    struct mg_str rest = mg_str_c(text), line;
    char *shown = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&shown, &n);

    if (!out)
        return;
    while (mg_str_next(&rest, '\n', &line))
        if (line.n) {
            fprintf(out, "%.*s\n", (int)line.n, line.p);
            show_source(out, folder, line);
        }
    if (fclose(out) == 0 && write(fd, shown, n) < 0)
        fd = -1; /* a terminal that has gone */
    free(shown);
}
