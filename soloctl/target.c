/* The two ways to name a service, made one. */
#include "soloctl/target.h"

#include <string.h>

enum status target_parse(const char *text, const char *tenant, struct target *target,
                         struct problem *problem)
{
    const char *slash = strchr(text, '/');
    if (slash == NULL && tenant[0] == '\0')
        return problem_set(problem, STATUS_USAGE, "",
                           "name a service as TENANT/NAME, or its tenant with -t");
    char key[SERVICE_KEY_BYTES];
    struct target parsed = { 0 };
    bool is_short = strlen(text) <= (slash == NULL ? NAME_BYTES_MAX : SERVICE_KEY_BYTES);
    if (slash == NULL && is_short)
        text = service_key(key, tenant, text);
    if (!is_short || service_key_split(text, parsed.tenant, parsed.name) != STATUS_OK)
        return problem_set(problem, STATUS_USAGE, "", "a service is TENANT/NAME, each matching %s",
                           NAME_PATTERN);
    if (tenant[0] != '\0' && strcmp(tenant, parsed.tenant) != 0)
        return problem_set(problem, STATUS_USAGE, "", "is not a service of -t %s", tenant);
    service_key(parsed.key, parsed.tenant, parsed.name);
    *target = parsed;
    return STATUS_OK;
}
