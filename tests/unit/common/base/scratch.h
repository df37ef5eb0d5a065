#ifndef SOLO_TESTS_UNIT_COMMON_BASE_SCRATCH_H
#define SOLO_TESTS_UNIT_COMMON_BASE_SCRATCH_H

/* A folder of this test's own under the system's temporary one; scratch_path names something in it
 * (in one of four buffers that take turns). */
void scratch_make(void);
void scratch_remove(void);
const char *scratch_path(const char *name);

#endif
