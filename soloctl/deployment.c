/* Flags in, a packed spec out; a reply in, a line or a document out. */
#include "soloctl/deployment.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/wire/writer.h"

/* KEY=VALUE; the key is checked with the spec, but without "=" there is none to send. */
static enum status pack_env(const struct values *env, struct buffer *spec, struct problem *problem)
{
    write_map(spec, env->count);
    for (size_t i = 0; i < env->count; i++) {
        const char *equals = strchr(env->items[i], '=');
        if (equals == NULL)
            return problem_set(problem, STATUS_USAGE, "", "--env %s: must be KEY=VALUE",
                               env->items[i]);
        write_text(spec, span_of(env->items[i], (size_t)(equals - env->items[i])));
        write_str(spec, equals + 1);
    }
    return STATUS_OK;
}

static void pack_texts(const char *const *items, size_t count, struct buffer *spec)
{
    write_array(spec, count);
    for (size_t i = 0; i < count; i++)
        write_str(spec, items[i]);
}

enum status deployment_pack(const struct arguments *arguments, const struct target *target,
                            struct span code, struct buffer *spec, struct problem *problem)
{
    const char *const *value = arguments->value;
    size_t fields = 3 + (value[FLAG_code] != NULL) + (value[FLAG_interpreter] != NULL) +
                    (value[FLAG_build] != NULL) + (arguments->env.count > 0) +
                    (arguments->secret.count > 0) + (value[FLAG_restart] != NULL);
    write_map(spec, fields);
    write_str(spec, "tenant");
    write_str(spec, target->tenant);
    write_str(spec, "name");
    write_str(spec, target->name);
    write_str(spec, "argv");
    pack_texts((const char *const *)arguments->rest, arguments->rest_count, spec);
    if (value[FLAG_code] != NULL) {
        write_str(spec, "code");
        write_text(spec, code);
    }
    if (value[FLAG_interpreter] != NULL) {
        write_str(spec, "interpreter");
        write_str(spec, value[FLAG_interpreter]);
    }
    if (value[FLAG_build] != NULL) {
        write_str(spec, "build");
        write_str(spec, value[FLAG_build]);
    }
    if (arguments->env.count > 0) {
        write_str(spec, "env");
        TRY(pack_env(&arguments->env, spec, problem));
    }
    if (arguments->secret.count > 0) {
        write_str(spec, "secrets");
        pack_texts(arguments->secret.items, arguments->secret.count, spec);
    }
    if (value[FLAG_restart] != NULL) {
        write_str(spec, "restart");
        write_map(spec, 1);
        write_str(spec, "policy");
        write_str(spec, value[FLAG_restart]);
    }
    if (spec->is_exhausted)
        return problem_set(problem, STATUS_INVALID_ARGUMENT, "",
                           "the spec must be at most %zu bytes, code included", spec->limit);
    return STATUS_OK;
}

void deployment_print(const char *key, const struct service_deploy_reply *reply)
{
    printf("%s %s: generation %" PRIu64 ", %s", key, reply->unchanged ? "unchanged" : "deployed",
           reply->generation, reply->state);
    if (reply->pid != 0)
        printf(", pid %" PRIu64, reply->pid);
    printf("\n");
}

void deployment_item(const struct target *target, const struct service_deploy_reply *reply,
                     struct item *item)
{
    item_text(item, "kind", "deployment");
    item_text(item, "tenant", target->tenant);
    item_text(item, "name", target->name);
    item_number(item, "generation", reply->generation);
    item_number(item, "event_id", reply->event_id);
    item_text(item, "state", reply->state);
    item_number_or_null(item, "pid", reply->pid);
    item_bool(item, "unchanged", reply->unchanged);
    item_text(item, "isolation", reply->isolation);
}

int deployment_exit_code(const char *key, const struct service_deploy_reply *reply, bool wait)
{
    if (!wait || strcmp(reply->state, "waiting_for_secret") != 0)
        return 0;
    fflush(stdout);
    fprintf(
        stderr,
        "soloctl: %s is deployed and not ready: it waits for a secret, and starts when that can "
        "be read; `soloctl describe %s` says which\n",
        key, key);
    return status_exit_code(STATUS_FAILED_PRECONDITION);
}

void deployment_isolation_note(const char *isolation)
{
    if (strncmp(isolation, "none", 4) != 0)
        return;
    fflush(stdout);
    fprintf(stderr,
            "note: isolation: %s; started as root, Solo gives each tenant a uid of its own\n",
            isolation);
}
