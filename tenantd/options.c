/* --tenant and the like. A wrong value is remembered and refused by options_check, so that all of
 * the command line is read first. */
#include "tenantd/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/hash.h"
#include "common/base/name.h"

const char options_usage[] =
    "Supervises the services of one tenant; started by deployd.\n"
    "\n"
    "  --tenant NAME          whose services\n"
    "  --store-id HEX         32 digits: of the event log that wants them\n"
    "  --store-incarnation HEX  32 digits: since when that log is what it is; told to deployd\n"
    "  --uid N, --gid N       as root: what the services run as\n"
    "  --without-namespaces   no pid and mount namespace, even where they are possible\n"
    "  --without-cgroup       find processes by their mark, even where cgroup v2 is possible\n";

static bool parse_id(const char *text, unsigned *id)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || value >= (unsigned)-1)
        return false;
    *id = (unsigned)value;
    return true;
}

int options_take(void *context, const char *argument, const char *next)
{
    struct options *options = context;
    if (strcmp(argument, "--without-namespaces") == 0)
        return options->without_namespaces = true, 1;
    if (strcmp(argument, "--without-cgroup") == 0)
        return options->without_cgroup = true, 1;
    if (next == NULL)
        return 0;
    if (strcmp(argument, "--tenant") == 0)
        return options->tenant = next, 2;
    if (strcmp(argument, "--store-id") == 0)
        return options->store_id = next, 2;
    if (strcmp(argument, "--store-incarnation") == 0)
        return options->store_incarnation = next, 2;
    bool is_uid = strcmp(argument, "--uid") == 0;
    if (!is_uid && strcmp(argument, "--gid") != 0)
        return 0;
    unsigned id = 0;
    if (!parse_id(next, &id)) {
        fprintf(stderr, "tenantd: %s %s: a number is needed\n", argument, next);
        options->is_bad = true;
    }
    *(is_uid ? &options->has_uid : &options->has_gid) = true;
    *(is_uid ? &options->uid : &options->gid) = id;
    return 2;
}

static enum status refuse(const char *rule)
{
    fprintf(stderr, "tenantd: %s\n", rule);
    return STATUS_USAGE;
}

enum status options_check(const struct options *options)
{
    uint8_t store_id[STORE_ID_DIGITS / 2];
    if (options->is_bad)
        return STATUS_USAGE;
    if (options->tenant == NULL || !name_is_valid(options->tenant))
        return refuse("--tenant must match " NAME_PATTERN);
    if (options->store_id == NULL || !hex_parse(options->store_id, store_id, sizeof store_id))
        return refuse("--store-id must be 32 hexadecimal digits");
    if (options->store_incarnation != NULL &&
        !hex_parse(options->store_incarnation, store_id, sizeof store_id))
        return refuse("--store-incarnation must be 32 hexadecimal digits");
    if (options->has_uid != options->has_gid)
        return refuse("--uid and --gid go together");
    if (geteuid() == 0 && (!options->has_uid || options->uid == 0 || options->gid == 0))
        return refuse("as root --uid and --gid are needed, and neither may be 0");
    if (geteuid() != 0 && options->has_uid)
        return refuse("--uid and --gid need root");
    return STATUS_OK;
}
