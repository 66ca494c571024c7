/* var.h - variables by dotted name. docs/templates.md lists them; var.c has the one table. */
#ifndef MG_PDK_VAR_H
#define MG_PDK_VAR_H

#include "exchange/exchange.h"

/* What an error's answer says; the variables error.*. */
struct mg_problem_facts { char status[12]; struct mg_str title, detail, id; };
struct mg_problem_facts mg_problem_facts_of(struct mg_exchange *x, int status, struct mg_str detail);

struct mg_var_ref {
    int id;
    struct mg_str arg;   /* what follows in request.headers.NAME; borrowed from the name */
};
/* Which variable is it? 0, or MG_EINVAL. Any thread. */
int mg_var_parse(struct mg_str name, struct mg_var_ref *out);
/* Its value; error may be NULL. 0, MG_ENOENT, MG_ENOMEM. */
int mg_var_read(struct mg_exchange *x, const struct mg_var_ref *ref, const struct mg_problem_facts *error, struct mg_str *out);
/* Every variable's name, "NAME" where one of the user's follows; NULL past the end. For messages and docs. */
const char *mg_var_name_at(int i);

#endif
