#ifndef SOLO_COMMON_SPEC_PROGRAM_H
#define SOLO_COMMON_SPEC_PROGRAM_H

#include "common/base/status.h"

/* The file that `program` means under `path` (a PATH value; used when it has no slash). not_found,
 * or permission_denied when it is there but cannot be executed. `found` gets the absolute name. A
 * relative name, and an empty element of `path`, are taken from `working_dir`. Nothing is logged.
 */
enum status program_find(const char *program, const char *path, const char *working_dir,
                         char found[4096]);

#endif
