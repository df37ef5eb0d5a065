/* Each daemon is asked once; what may not be told to this caller is left out. */
#include "soloctl/picture.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/wire/reader.h"

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

/* Why deployd is not there when solod knows: it has ended, say, and what it said last. */
static bool is_known_to_solod(const struct picture *picture)
{
    const struct programs *programs = &picture->programs;
    for (size_t i = 0; programs->has_solod && i < programs->count; i++)
        if (strcmp(programs->items[i].name, "deployd") == 0)
            return programs->reason[0] != '\0' && strcmp(programs->items[i].state, "ready") != 0 &&
                   strcmp(programs->items[i].state, "silent") != 0;
    return false;
}

/* One that answers nobody, or with nothing but its damage, or that has not what it needs (space on
 * the disk, say) may be ready to its parent. */
static void say_who_fails(struct picture *picture)
{
    const struct programs *programs = &picture->programs;
    size_t size = 0;
    for (size_t i = 0; i < programs->count && size < sizeof picture->reason; i++) {
        const struct program *program = &programs->items[i];
        const char *how = strcmp(program->state, "silent") == 0    ? "does not answer"
                          : strcmp(program->state, "damaged") == 0 ? "refuses its store"
                          : strcmp(program->state, "ready") == 0 && program->reason[0] != '\0'
                              ? "needs somebody"
                              : NULL;
        if (how != NULL)
            size += (size_t)snprintf(picture->reason + size, sizeof picture->reason - size,
                                     "%s%s %s", size == 0 ? "" : ", ", program->name, how);
    }
    if (size > 0)
        snprintf(picture->state, sizeof picture->state, "degraded");
}

/* solod's word counts where it is there, because recovery and restarts are its business. */
void picture_judge(struct picture *picture)
{
    char state[33] = "";
    if (picture->system.size > 0)
        map_text(picture->system, "state", state, sizeof state);
    if (picture->deployd != STATUS_OK && is_known_to_solod(picture))
        say(picture, "degraded", picture->programs.reason);
    else if (picture->deployd != STATUS_OK)
        say_deployd_is_away(picture);
    else if (!picture->programs.has_solod)
        say(picture, state, "");
    else if (strcmp(picture->programs.state, "ready") == 0 && strcmp(state, "draining") == 0)
        say(picture, state, "a shutdown has begun");
    else
        say(picture, picture->programs.state, picture->programs.reason);
    if (strcmp(picture->state, "ready") == 0)
        say_who_fails(picture);
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

static void take_system(void *context, const void *answer)
{
    struct picture *picture = context;
    const struct system_status_reply *reply = answer;
    if (reply->status.size > sizeof picture->system_bytes)
        return;
    memcpy(picture->system_bytes, reply->status.data, reply->status.size);
    picture->system = span_of(picture->system_bytes, reply->status.size);
}

static void take_tokens(void *context, const void *answer)
{
    struct picture *picture = context;
    picture->tokens = *(const struct token_status_reply *)answer;
    snprintf(picture->outbox_state, sizeof picture->outbox_state, "%s",
             picture->tokens.outbox_state);
}

static void take_vault(void *context, const void *answer)
{
    struct picture *picture = context;
    picture->vault = *(const struct vault_status_reply *)answer;
    snprintf(picture->vault_state, sizeof picture->vault_state, "%s", picture->vault.state);
    snprintf(picture->vault_code, sizeof picture->vault_code, "%s", picture->vault.code);
    snprintf(picture->vault_reason, sizeof picture->vault_reason, "%s", picture->vault.reason);
}

/* Whoever may not ask is told nothing of it. */
static void look_at_vault(struct picture *picture, enum status status)
{
    const struct program *vaultd = programs_find(&picture->programs, "vaultd");
    bool is_silent = vaultd != NULL && strcmp(vaultd->state, "silent") == 0;
    if (status != STATUS_OK && status != STATUS_UNAUTHENTICATED &&
        status != STATUS_PERMISSION_DENIED)
        snprintf(picture->vault_state, sizeof picture->vault_state, "%s",
                 status == STATUS_DATA_LOSS || status == STATUS_FAILED_PRECONDITION ? "damaged"
                 : is_silent                                                        ? "silent"
                             : "not running");
}

enum status picture_load(struct session *session, struct picture *picture)
{
    static const struct system_status_request system_request;
    static const struct token_status_request tokens_request;
    static const struct vault_status_request vault_request;
    enum { SYSTEM, TOKENS, VAULT, OTHERS };
    struct question questions[OTHERS + PROGRAMS_QUESTIONS] = {
        [SYSTEM] = { .peer = PEER_DEPLOYD,
                     .method = &method_system_status,
                     .request = &system_request,
                     .take = take_system,
                     .context = picture },
        /* Refused to a tenant's token, which status is for, too: then nothing is said of them.
         * tokend being away is said with the daemons. */
        [TOKENS] = { .peer = PEER_TOKEND,
                     .method = &method_token_status,
                     .request = &tokens_request,
                     .take = take_tokens,
                     .context = picture },
        [VAULT] = { .peer = PEER_VAULTD,
                    .method = &method_vault_status,
                    .request = &vault_request,
                    .take = take_vault,
                    .context = picture },
    };
    size_t count = OTHERS + programs_ask(&picture->programs, false, questions + OTHERS);
    questions_ask(session, questions, count, LOOK_MS_MAX);
    picture->deployd = questions[SYSTEM].status;
    picture->problem = questions[SYSTEM].problem;
    picture->has_tokens = questions[TOKENS].status == STATUS_OK;
    look_at_supervisors(picture);
    programs_join(&picture->programs, session);
    look_at_vault(picture, questions[VAULT].status);
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
