/* stack.h - is there room on the thread's C stack for more of Lua? For script/ and the threads that run it.
 *
 * LuaJIT bounds the Lua stack of a coroutine, and calls of it from C count there too, but it does not look at the C stack. What a
 * script nests by table.sort's or tostring's callbacks meets the Lua bound first, after less than 4 MB of C stack. Two things do not: coroutines
 * that resume one another (each has a Lua stack of its own), and string.gsub, which has an 8 KB buffer in its frame. These ask here
 * first (lua/moongate/host.lua), so that a recursion without end is an error of the script and no crash. */
#ifndef MG_SCRIPT_STACK_H
#define MG_SCRIPT_STACK_H

#include <stdbool.h>

/* Of a thread that runs Lua. Only what is touched takes memory. */
enum { MG_STACK_BYTES = 8 * 1024 * 1024 };

/* Is less left of this thread's stack than one coroutine may take? */
bool mg_stack_is_low(void);

#endif
