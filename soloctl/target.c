/* The two ways to name a service or a secret, made one. */
#include "soloctl/target.h"

#include <string.h>

struct kind {
    const char *noun, *pattern;
    enum status (*split)(const char *key, char tenant[NAME_BYTES_MAX + 1],
                         char name[NAME_BYTES_MAX + 1]);
};

static enum status parse(const struct kind *kind, const char *text, const char *tenant,
                         struct target *target, struct problem *problem)
{
    const char *slash = strchr(text, '/');
    if (slash == NULL && tenant[0] == '\0')
        return problem_set(problem, STATUS_USAGE, "",
                           "name a %s as TENANT/NAME, or its tenant with -t", kind->noun);
    char key[SERVICE_KEY_BYTES];
    struct target parsed = { 0 };
    bool is_short = strlen(text) <= (slash == NULL ? NAME_BYTES_MAX : SERVICE_KEY_BYTES);
    if (slash == NULL && is_short)
        text = service_key(key, tenant, text);
    if (!is_short || kind->split(text, parsed.tenant, parsed.name) != STATUS_OK)
        return problem_set(problem, STATUS_USAGE, "",
                           "a %s is TENANT/NAME: TENANT matches %s, NAME %s", kind->noun,
                           NAME_PATTERN, kind->pattern);
    if (tenant[0] != '\0' && strcmp(tenant, parsed.tenant) != 0)
        return problem_set(problem, STATUS_USAGE, "", "is not a %s of -t %s", kind->noun, tenant);
    service_key(parsed.key, parsed.tenant, parsed.name);
    *target = parsed;
    return STATUS_OK;
}

enum status target_parse(const char *text, const char *tenant, struct target *target,
                         struct problem *problem)
{
    static const struct kind service = { "service", NAME_PATTERN, service_key_split };
    return parse(&service, text, tenant, target, problem);
}

enum status target_parse_secret(const char *text, const char *tenant, struct target *target,
                                struct problem *problem)
{
    static const struct kind secret = { "secret", SECRET_NAME_PATTERN, secret_path_split };
    return parse(&secret, text, tenant, target, problem);
}
