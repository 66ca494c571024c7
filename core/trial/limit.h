/* limit.h - a spec that has no end ends the run, and says its name.
 *
 * A loop in Lua cannot be interrupted (compiled code runs no hooks), so the process ends, with exit code 1. Inside trial/. One
 * thread. */
#ifndef MG_TRIAL_LIMIT_H
#define MG_TRIAL_LIMIT_H

#include "base/str.h"

#ifdef __SANITIZE_ADDRESS__
enum { MG_LIMIT_CPU_S = 60 };
#else
enum { MG_LIMIT_CPU_S = 10 };
#endif

/* From now on `what` (copied) may take MG_LIMIT_CPU_S seconds of CPU time, until the next call. */
void mg_limit_begin(struct mg_str what);
void mg_limit_end(void);

#endif
