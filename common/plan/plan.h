#ifndef SOLO_COMMON_PLAN_PLAN_H
#define SOLO_COMMON_PLAN_PLAN_H

#include "common/api/api.h"
#include "common/api/service_states.h"

/* What recovery would do: pure, rows in and actions out, the same for deployd's reconciling, for
 * recoveryd's run and for its dry run. One action per service. */

enum plan_action {
    PLAN_CANNOT_RECOVER,
    PLAN_REPORT,
    PLAN_STOP,
    PLAN_REPLACE,
    PLAN_WAIT,
    PLAN_START,
    PLAN_KEEP,
    PLAN_ACTIONS
};
const char *plan_action_name(enum plan_action action); /* "start", "cannot_recover" */

/* Closed reason codes, with their words. */
enum plan_code {
#define PLAN_CODE(name, action, words) PLAN_CODE_##name,
#include "common/plan/plan_codes.def"
#undef PLAN_CODE
    PLAN_CODES
};
const char *plan_code_name(enum plan_code code); /* "not_running" */

/* build_failed, interpreter_missing, program_missing or working_dir_missing: the code for what
 * spec_program_check refuses, by the field that it names. */
enum plan_code plan_code_of_program(const char *field);

/* What the log wants of one service, and whether its program is there (found out before planning).
 */
struct plan_wanted {
    const char *tenant, *name;
    struct live_row row;
    enum plan_code obstacle; /* PLAN_CODE_none, spec_invalid, or one of plan_code_of_program */
    /* "node not found in PATH /usr/bin", say. With PLAN_CODE_none: why only the attempt can show
     * whether it starts; NULL or "" when nothing speaks against it. */
    const char *obstacle_detail;
};

/* What is known to be there: a supervisor's row, or a live process that the registry names. */
struct plan_actual {
    const char *tenant, *name;
    enum service_state state;
    uint64_t generation, since, pid;
    bool is_held;       /* by a living supervisor */
    bool has_record;    /* false: a process of ours without any row: report only */
    uint64_t killed_by; /* the event that un-wanted it, when not wanted; 0 unknown */
};

struct plan_entry {
    enum plan_action action;
    enum plan_code code;
    const char *tenant, *name;
    uint64_t generation; /* to start, replace with, keep; for stop the running one */
    uint64_t since;
    uint64_t running_generation;
    uint64_t pid;
    uint64_t evidence; /* number of the event that proves it */
    char reason[REASON_BYTES_MAX];
    bool is_open;  /* only the attempt can show the outcome */
    bool is_known; /* cannot_recover: deployd has found out in this run and told so in its row */
};

struct plan {
    struct plan_entry *entries; /* sorted by urgency, then TENANT/NAME */
    size_t count;
    uint64_t of[PLAN_ACTIONS];
};

/* Both lists strictly ascending by TENANT/NAME (strcmp of the key). `is_new_run`: parked and failed
 * ones start once more. Texts of the lists must outlive the plan. resource_exhausted when memory
 * runs out. */
enum status plan_make(const struct plan_wanted *wanted, size_t wanted_count,
                      const struct plan_actual *actual, size_t actual_count, bool is_new_run,
                      struct plan *plan);
void plan_close(struct plan *plan);

/* The order of both lists: that of strcmp on "TENANT/NAME", without writing the texts. */
int plan_service_compare(const char *a_tenant, const char *a_name, const char *b_tenant,
                         const char *b_name);

/* Whether anything would be changed; whether a person is needed (cannot_recover, report). */
bool plan_has_changes(const struct plan *plan);
bool plan_needs_person(const struct plan *plan);

#endif
