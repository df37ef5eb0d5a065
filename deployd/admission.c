/* Reading specs and looking their programs up. Whether a tenant's uid may execute the file, and
 * whether the kernel can, shows only when it is tried: tenantd says so. */
#include "deployd/admission.h"

#include <stdio.h>
#include <string.h>

#include "common/access/access.h"
#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/plan/plan.h"

enum { SPEC_ARENA_BYTES = 16 * 1024 * 1024 };

/* A service can show to whoever deployed it what it was given. */
static enum status check_secrets(const struct caller *caller, const struct spec *spec,
                                 struct problem *problem)
{
    if (spec->secret_count == 0 || caller->kind != CALLER_TOKEN ||
        access_token_allows(caller, PERMISSION_SECRETS_READ))
        return STATUS_OK;
    return problem_set(problem, STATUS_PERMISSION_DENIED, "secrets",
                       "to name secrets a token needs the permission secrets:read, too");
}

enum status admission_decode(const struct caller *caller, struct span map,
                             struct admitted *admitted, struct problem *problem)
{
    AUTO(arena_close) struct arena arena = { .limit = SPEC_ARENA_BYTES };
    struct spec spec;
    TRY(spec_decode(map, &arena, &spec, problem));
    TRY(access_check_tenant(caller, spec.tenant, problem));
    TRY(check_secrets(caller, &spec, problem));
    struct buffer canonical = { .limit = SPEC_BYTES_MAX };
    enum status status = spec_encode(&spec, &canonical);
    if (status != STATUS_OK) {
        buffer_close(&canonical);
        return problem_set(problem, STATUS_RESOURCE_EXHAUSTED, "spec",
                           "is over %d bytes with its defaults filled in", (int)SPEC_BYTES_MAX);
    }
    snprintf(admitted->tenant, sizeof admitted->tenant, "%s", spec.tenant);
    snprintf(admitted->name, sizeof admitted->name, "%s", spec.name);
    admitted->hash = spec_hash(buffer_span(&canonical));
    admitted->canonical = canonical;
    return STATUS_OK;
}

/* As whom the tenant's services run; one that is new has no more rights than any other. */
static uid_t uid_of(const struct deployd *deployd, const char *name)
{
    const struct tenant *tenant = catalog_tenant(&deployd->catalog, name);
    return geteuid() != 0
               ? PROGRAM_OWN_UID
               : (uid_t)(deployd->settings.tenant_uid_base + (tenant == NULL ? 0 : tenant->index));
}

/* What only the attempt can show is attempted. */
static enum status program_check(const struct deployd *deployd, const struct spec *spec,
                                 struct problem *problem)
{
    struct problem found = { 0 };
    enum status status = spec_program_check(spec, deployd->settings.data_dir,
                                            uid_of(deployd, spec->tenant), NULL, &found);
    if (status == STATUS_UNKNOWN)
        return STATUS_OK;
    if (status != STATUS_OK)
        *problem = found;
    return status;
}

enum status admission_program(struct deployd *deployd, struct span canonical,
                              struct problem *problem)
{
    AUTO(arena_close) struct arena arena = { .limit = SPEC_ARENA_BYTES };
    struct spec spec;
    TRY(spec_decode(canonical, &arena, &spec, problem));
    return program_check(deployd, &spec, problem);
}

static void code_set(char code[ADMISSION_CODE_BYTES], enum plan_code value)
{
    snprintf(code, ADMISSION_CODE_BYTES, "%s", plan_code_name(value));
}

enum status admission_program_of(struct deployd *deployd, uint64_t generation,
                                 char code[ADMISSION_CODE_BYTES], struct problem *problem)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    AUTO(arena_close) struct arena arena = { .limit = SPEC_ARENA_BYTES };
    struct span stored;
    struct spec spec;
    code_set(code, PLAN_CODE_spec_invalid);
    enum status status = event_map_begin(&deployd->map, &txn);
    if (status == STATUS_OK)
        status = event_log_spec(&txn, generation, &stored);
    if (status != STATUS_OK)
        return problem_set(problem, status, "", "the spec of generation %llu cannot be read: %s",
                           (unsigned long long)generation, status_text(status));
    TRY(spec_decode(stored, &arena, &spec, problem));
    status = program_check(deployd, &spec, problem);
    code[0] = '\0';
    if (status != STATUS_OK)
        code_set(code, plan_code_of_program(problem->field));
    return status;
}
