#ifndef SOLO_COMMON_SPEC_PROGRAM_H
#define SOLO_COMMON_SPEC_PROGRAM_H

#include <sys/types.h>

#include "common/base/problem.h"
#include "common/base/status.h"

struct spec;

/* Where services find their things in a mount namespace of their own: DATA/tenants/TENANT is
 * PROGRAM_SEEN_DATA/tenants/TENANT, and nothing else of the host's folder of that name is there. */
#define PROGRAM_SEEN_DATA "/var/lib/solo"
#define PROGRAM_SEEN_RUN  "/run/solo" /* the RUN of their Solo, wherever that lies */

/* The file that `program` means under `path` (a PATH value; used when it has no slash). not_found,
 * or permission_denied when it is there but cannot be executed. `found` gets the absolute name. A
 * relative name, and an empty element of `path`, are taken from `working_dir`. Nothing is logged.
 */
enum status program_find(const char *program, const char *path, const char *working_dir,
                         char found[4096]);

/* The last name that was looked up, for who checks many specs at one moment: services of one kind
 * stand together often enough. Starts as zeros. */
struct program_memory {
    char program[512], path[1024];
    enum status status;
};

/* Whether the directory that a service starts in and the program that it starts with are there,
 * seen from outside of its namespaces: the one check before a deploy, before a start and in a plan.
 * failed_precondition with the field `working_dir`, `build[0]`, `interpreter` or `argv[0]` when
 * one is not there or cannot be entered or executed; `unknown`, with the reason, when only the
 * attempt can show it. What lies outside of the tenant's folder is looked at with the rights of
 * `uid` (root only; its group has the same number), PROGRAM_OWN_UID for our own. `memory` may be
 * NULL. Nothing is logged. */
#define PROGRAM_OWN_UID ((uid_t)-1)
enum status spec_program_check(const struct spec *spec, const char *data_dir, uid_t uid,
                               struct program_memory *memory, struct problem *problem);

#endif
