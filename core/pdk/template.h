/* template.h - templates inside the core: filling them in with escaping, and with the facts of an error. */
#ifndef MG_PDK_TEMPLATE_H
#define MG_PDK_TEMPLATE_H

#include "pdk/var.h"

enum mg_render_escape { MG_RENDER_PLAIN = 0, MG_RENDER_JSON /* inside of a JSON string */, MG_RENDER_HTML };

/* As mg_template_render, with every variable's value escaped. error: for ${error.…}; may be NULL. Returns how many
 * were absent, or MG_ENOMEM. */
int mg_template_fill(struct mg_exchange *x, const struct mg_template *t, enum mg_render_escape how,
                     const struct mg_problem_facts *error, struct mg_str *out);

#endif
