/* lex.h - just enough of Lua's lexis to find table constructors and their entries.
 *
 * Numbers, strings, comments and line ends are cut as LuaJIT cuts them. What the lexer cannot make sense of ends
 * the tokens: the compiler will refuse that source anyhow. */
#ifndef MG_CONFIG_LEX_H
#define MG_CONFIG_LEX_H

#include "base/str.h"

enum mg_lua_token_kind {
    MG_T_NAME = 1,
    MG_T_KEYWORD,
    MG_T_NUMBER,
    MG_T_STRING,
    MG_T_MARK /* operators and punctuation: `mark` is the first character; 0 for those of several */
};
struct mg_lua_token {
    uint32_t start, end; /* bytes */
    int32_t line;        /* from 1, of its start */
    uint8_t kind;
    char mark;
};
/* malloc'd in *out; the number of tokens, -1 when out of memory. */
long mg_lua_lex(struct mg_str source, struct mg_lua_token **out);
/* The text of a string token when it holds no escapes; false otherwise. */
bool mg_lua_plain_string(struct mg_str source, const struct mg_lua_token *t, struct mg_str *out);

#endif
