#ifndef SOLO_TENANTD_BUILD_PROCESS_H
#define SOLO_TENANTD_BUILD_PROCESS_H

#include "tenantd/build.h"

/* For build.c: makes the scratch folder and starts the compiler in it, with the rights of a service
 * and the bounds of a build. Fills helper.pid, session, nonce and fd. `*output` is what it prints;
 * the caller closes it. A refusal fills `problem`. */
enum status build_process_begin(struct build *build, int *output, struct problem *problem);

#endif
