/* gc.h - when a VM's garbage is collected: between events, in small steps, by us. Inside script/.
 *
 * LuaJIT would collect while handlers allocate: a little work with every kilobyte, and none when nobody allocates. Here
 * a live VM's own collector stands still. The worker gives it its time after a handler and before the loop sleeps: in
 * proportion to what was allocated, so that a cycle ends before the heap has grown by half, and about STEP_US in one go. An
 * idle gateway goes on with a cycle once a second, for IDLE_US; a heap that outruns all this starts LuaJIT's own collector again.
 *
 *     used    base of the last cycle ... begin ............ let_go ...... tight ....... max
 *     what     nothing                    steps each turn    LuaJIT's own  steps of 800 µs, at last all at once */
#ifndef MG_SCRIPT_GC_H
#define MG_SCRIPT_GC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mg_vm;

struct mg_gc {
    bool is_held;            /* LuaJIT's own collector stands still: the VM is live */
    bool in_cycle;
    bool wants_hurry;        /* near the bound: after this handler */
    size_t begin;            /* a cycle begins at so many bytes */
    size_t due;              /* the next step of one is due at so many bytes */
    size_t let_go;           /* from here on LuaJIT collects by itself, inside handlers */
    size_t tight;            /* hurry */
    size_t idle_used;        /* bytes when the last cycle of idle moments ended */
    unsigned idles;          /* idle moments so far */
    _Atomic uint64_t cycles, steps; /* counted for /metrics; written by the worker alone */
    _Atomic uint64_t cpu_us, longest_us; /* thread CPU of all steps, and of the longest */
};

/* The VM is made (collection is LuaJIT's own), and goes live. */
void mg_gc_init(struct mg_vm *vm);
void mg_gc_hold(struct mg_vm *vm);
/* In the allocator: it is about to have `used` bytes in use. */
void mg_gc_grown(struct mg_vm *vm, size_t used);
/* A step is due (vm->used >= gc.due): between two handlers, or before the loop sleeps. */
void mg_gc_turn(struct mg_vm *vm);
/* About once a second: some of a cycle, when anything was allocated since the last whole one. */
void mg_gc_idle(struct mg_vm *vm);
/* After a handler that asked for it. */
void mg_gc_hurry(struct mg_vm *vm);

#endif
