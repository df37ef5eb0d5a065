/* Each daemon is asked once; what may not be told to this caller is left out. */
#include "soloctl/picture.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/wire/reader.h"

enum { STATUS_TIMEOUT_MS = 3000 };

struct span picture_part(struct span map, const char *key)
{
    struct reader value;
    struct span part = { 0 };
    if (map.size > 0 && map_find(map, key, &value) == STATUS_OK)
        reader_any(&value, &part);
    return part;
}

uint64_t picture_number(struct span map, const char *key)
{
    return map.size == 0 ? 0 : map_u64(map, key, 0);
}

static void say(struct picture *picture, const char *state, const char *reason)
{
    snprintf(picture->state, sizeof picture->state, "%s", state);
    snprintf(picture->reason, sizeof picture->reason, "%s", reason);
}

/* Who was refused was answered, and told why: too many connections of this user, say. */
static void say_deployd_is_away(struct picture *picture)
{
    const char *message = picture->problem.message;
    bool was_reached = picture->deployd != STATUS_UNAVAILABLE &&
                       picture->deployd != STATUS_DEADLINE_EXCEEDED &&
                       picture->deployd != STATUS_UNKNOWN;
    snprintf(picture->reason, sizeof picture->reason, "%s: %s",
             was_reached ? "deployd refused to answer" : "deployd does not answer",
             message[0] == '\0' ? status_text(picture->deployd) : message);
    snprintf(picture->state, sizeof picture->state, was_reached ? "unknown" : "degraded");
}

/* solod's word counts where it is there, because recovery and restarts are its business. */
void picture_judge(struct picture *picture)
{
    char state[33] = "";
    if (picture->system.size > 0)
        map_text(picture->system, "state", state, sizeof state);
    if (picture->deployd != STATUS_OK)
        say_deployd_is_away(picture);
    else if (!picture->programs.has_solod)
        say(picture, state, "");
    else if (strcmp(picture->programs.state, "ready") == 0 && strcmp(state, "draining") == 0)
        say(picture, state, "a shutdown has begun");
    else
        say(picture, picture->programs.state, picture->programs.reason);
}

/* Refused to a tenant's token, which status is for, too: then nothing is said of them. tokend being
 * away is said with the daemons. */
static void look_at_tokens(struct session *session, struct picture *picture)
{
    struct token_status_request request = {};
    struct problem problem;
    enum status status = session_call(session, PEER_TOKEND, &method_token_status, &request,
                                      STATUS_TIMEOUT_MS, &picture->tokens, &problem);
    picture->has_tokens = status == STATUS_OK;
    if (picture->has_tokens)
        snprintf(picture->outbox_state, sizeof picture->outbox_state, "%s",
                 picture->tokens.outbox_state);
}

static void look_at_supervisors(struct picture *picture)
{
    uint64_t count = picture_number(picture->system, "supervisors_silent");
    char tenant[NAME_BYTES_MAX + 1] = "";
    picture->silence[0] = '\0';
    if (count == 0)
        return;
    map_text(picture->system, "silent_tenant", tenant, sizeof tenant);
    char others[48] = "";
    if (count > 1)
        snprintf(others, sizeof others, " (and %" PRIu64 " others)", count - 1);
    snprintf(picture->silence, sizeof picture->silence,
             "the supervisor of tenant %s%s does not answer: its services are shown as last known; "
             "`soloctl daemon list` has its pid, ending it has them started again",
             tenant, others);
}

/* Whoever may not ask is told nothing of it. */
static void look_at_vault(struct session *session, struct picture *picture)
{
    const struct vault_status_request request = {};
    struct vault_status_reply *vault = &picture->vault;
    struct problem problem = { 0 };
    enum status status = session_call(session, PEER_VAULTD, &method_vault_status, &request,
                                      STATUS_TIMEOUT_MS, vault, &problem);
    if (status == STATUS_UNAUTHENTICATED || status == STATUS_PERMISSION_DENIED)
        return;
    snprintf(picture->vault_state, sizeof picture->vault_state, "%s",
             status == STATUS_OK          ? vault->state
             : status == STATUS_DATA_LOSS ? "damaged"
                                          : "not running");
    snprintf(picture->vault_reason, sizeof picture->vault_reason, "%s",
             status == STATUS_OK ? vault->reason : "");
}

enum status picture_load(struct session *session, struct picture *picture)
{
    struct system_status_request request = {};
    struct system_status_reply reply = { 0 };
    picture->deployd = session_call(session, PEER_DEPLOYD, &method_system_status, &request,
                                    STATUS_TIMEOUT_MS, &reply, &picture->problem);
    if (picture->deployd == STATUS_OK && reply.status.size <= sizeof picture->system_bytes) {
        memcpy(picture->system_bytes, reply.status.data, reply.status.size);
        picture->system = span_of(picture->system_bytes, reply.status.size);
    }
    look_at_supervisors(picture);
    look_at_tokens(session, picture);
    look_at_vault(session, picture);
    programs_load(&picture->programs, session, false, STATUS_TIMEOUT_MS);
    picture_judge(picture);
    return picture->deployd != STATUS_OK && picture->programs.count == 0 ? picture->deployd
                                                                         : STATUS_OK;
}

struct span picture_verification(const struct picture *picture)
{
    const struct programs *programs = &picture->programs;
    struct reader found;
    struct span noted = { 0 };
    if (programs->verification_bytes > 0)
        return span_of(programs->verification, programs->verification_bytes);
    if (picture->system.size > 0 && map_find(picture->system, "verification", &found) == STATUS_OK)
        (void)reader_any(&found, &noted);
    return noted;
}
