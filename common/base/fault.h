#ifndef SOLO_COMMON_BASE_FAULT_H
#define SOLO_COMMON_BASE_FAULT_H

#include <stddef.h>

/* A named place where a test may kill the process. Compiled in with SOLO_FAULTS only; there the
 * environment SOLO_FAULT=name[:n] makes the n-th arrival at `name` (the first by default) end the
 * process with SIGKILL, as a power cut would.
 *
 * A second kind needs no place in the source: SOLO_FAULT_SYNC=PATH makes fdatasync, which is how
 * LMDB syncs a commit, fail with EIO while PATH.PROGRAM exists; a file is removed by that (it fails
 * once), a folder stays (it fails until somebody removes it). Who syncs again in a process where
 * one has failed is aborted: the kernel has dropped the pages, and the second sync would lie. */
#ifdef SOLO_FAULTS
void fault_point_reached(const char *name);
#define fault_point(name) fault_point_reached(name)
/* A bound that a test may lower: SOLO_FAULT_BOUND=name:of:number[,...], else `otherwise`. */
size_t fault_number_of(const char *name, const char *of, size_t otherwise);
#define fault_number(name, of, otherwise) fault_number_of(name, of, otherwise)
#else
#define fault_point(name)                 ((void)0)
#define fault_number(name, of, otherwise) (otherwise)
#endif

#endif
