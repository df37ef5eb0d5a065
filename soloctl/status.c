/* status: what this Solo is doing, from whoever answers. deployd knows the services, solod the
 * daemons; one of them being away is said, and only when nobody answers at all is it an error. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/api/api.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/wire/reader.h"
#include "common/wire/writer.h"
#include "soloctl/commands.h"
#include "soloctl/output.h"
#include "soloctl/programs.h"
#include "soloctl/text.h"

enum { STATUS_TIMEOUT_MS = 3000, STATUS_TEXT_BYTES = 512, NOT_READY_EXIT_CODE = 3 };

struct picture {
    struct programs programs;
    struct span system; /* deployd's map; empty when it did not answer */
    uint8_t system_bytes[FRAME_BYTES_SMALL];
    enum status deployd;
    struct problem problem; /* deployd's */
    bool has_tokens;        /* tokend answered, and this caller may know */
    bool are_tokens_damaged;
    struct token_status_reply tokens;
    char outbox_state[17];
    struct vault_status_reply vault; /* numbers only: its texts are copied */
    char vault_state[17], vault_reason[REASON_BYTES_MAX + 1]; /* "" when we may not ask */
    char state[33], reason[300];
    char silence[400]; /* "" while every supervisor answers */
};

static struct span part_of(struct span map, const char *key)
{
    struct reader value;
    struct span part = { 0 };
    if (map.size > 0 && map_find(map, key, &value) == STATUS_OK)
        reader_any(&value, &part);
    return part;
}

static uint64_t number_of(struct span map, const char *key)
{
    return map.size == 0 ? 0 : map_u64(map, key, 0);
}

static void say(struct picture *picture, const char *state, const char *reason)
{
    snprintf(picture->state, sizeof picture->state, "%s", state);
    snprintf(picture->reason, sizeof picture->reason, "%s", reason);
}

/* solod's word counts where it is there, because recovery and restarts are its business. */
static void judge(struct picture *picture)
{
    char state[33] = "";
    if (picture->system.size > 0)
        map_text(picture->system, "state", state, sizeof state);
    if (picture->deployd != STATUS_OK)
        say(picture, "degraded", "deployd does not answer");
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
    picture->are_tokens_damaged = status == STATUS_DATA_LOSS;
    if (picture->has_tokens)
        snprintf(picture->outbox_state, sizeof picture->outbox_state, "%s",
                 picture->tokens.outbox_state);
}

static void look_at_supervisors(struct picture *picture)
{
    uint64_t count = number_of(picture->system, "supervisors_silent");
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

static enum status look(struct session *session, struct picture *picture)
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
    judge(picture);
    return picture->deployd != STATUS_OK && picture->programs.count == 0 ? picture->deployd
                                                                         : STATUS_OK;
}

static struct span verification_of(const struct picture *picture)
{
    const struct programs *programs = &picture->programs;
    return span_of(programs->verification, programs->verification_bytes);
}

/* Why a person should look, or "" when nobody needs to. */
static const char *needs_person(const struct picture *picture)
{
    struct span services = part_of(picture->system, "services");
    struct span recovery = part_of(picture->system, "recovery");
    struct span log = part_of(picture->system, "log");
    char fork[STATUS_TEXT_BYTES] = "";
    if (log.size > 0 && map_text(log, "forked", fork, sizeof fork)[0] != '\0')
        return "the log is FORKED, nothing is deployed or recovered by it: stop Solo and put the "
               "newer DATA/events back, or keep this log with `recoveryd resolve --keep log`";
    if (strcmp(picture->state, "ready") != 0)
        return "not ready";
    if (picture->silence[0] != '\0')
        return picture->silence;
    if (number_of(services, "parked") > 0)
        return "services are parked: `soloctl get services` names them, `soloctl restart` starts "
               "one again";
    if (number_of(services, "failed") > 0)
        return "services have failed: `soloctl get services` names them";
    if (strcmp(picture->vault_state, "damaged") == 0)
        return "the vault is damaged: `soloctl vault status` says how, and what to do";
    if (number_of(services, "waiting_for_secret") > 0 &&
        strcmp(picture->vault_state, "sealed") == 0)
        return "services wait for secrets, and the vault is sealed: `soloctl vault unseal`";
    if (number_of(services, "wanted") > 0)
        return "nothing holds some wanted services: `recoveryd --dry-run` says what is due, "
               "`recoveryd` starts them";
    char recovered[33] = "", hint[65] = "";
    if (recovery.size > 0 &&
        strcmp(map_text(recovery, "state", recovered, sizeof recovered), "cut") == 0)
        return map_text(recovery, "exit_hint", hint, sizeof hint)[0] != '\0'
                   ? "recovery ran out of time: run `recoveryd` again"
                   : "recovery did not finish: run `recoveryd` again";
    if (number_of(recovery, "failed") > 0)
        return "recovery could not bring everything back: `soloctl events --type "
               "service_recovery_failed`";
    if (number_of(verification_of(picture), "found") > 0 ||
        number_of(verification_of(picture), "exit_code") != 0)
        return "the last verification found something: `recoveryd verify` names it and says what "
               "to do";
    if (picture->are_tokens_damaged)
        return "the token store is damaged: see tokend's diagnostics, keep a copy of the folder, "
               "restore a backup, then restart tokend";
    if (picture->has_tokens && picture->tokens.is_suspect)
        return "the clock made a large step forward, tokens may expire too early: set it right, or "
               "`soloctl token trust-clock` if it is";
    if (strcmp(picture->outbox_state, "refused") == 0)
        return "eventd refuses what tokend has to tell: see the diagnostics of both";
    if (strcmp(picture->vault_state, "damaged") == 0 || picture->vault.damaged_tenants > 0)
        return "secrets are damaged: `soloctl vault verify` names them";
    return "";
}

static void print_last_end(struct span map)
{
    static const char *const ends[][2] = {
#define RUN_END(name, words) { #name, words },
#include "common/api/run_ends.def"
#undef RUN_END
    };
    char end[16] = "";
    if (map.size > 0)
        map_text(map, "last_end", end, sizeof end);
    for (size_t i = 0; i < COUNT_OF(ends); i++)
        if (strcmp(end, ends[i][0]) == 0)
            printf("%-11s%s\n", "Last run", ends[i][1]);
}

static void print_text_line(const char *name, struct span map, const char *key)
{
    char text[STATUS_TEXT_BYTES] = "";
    if (map.size > 0)
        map_text(map, key, text, sizeof text);
    if (text[0] == '\0')
        return;
    printf("%-11s", name);
    text_print(stdout, text);
    printf("\n");
}

static void print_services(const struct picture *picture)
{
    struct span services = part_of(picture->system, "services");
    struct reader reader = reader_of(services);
    struct reader unused;
    uint32_t count = 0;
    if (map_find(picture->system, "wanted", &unused) != STATUS_OK)
        return; /* not for operators only: the rest is not shown to this caller */
    printf("%-11s%" PRIu64 " wanted", "Services", number_of(picture->system, "wanted"));
    uint64_t missing = number_of(picture->system, "wanted_not_running");
    if (missing > 0)
        printf(", %" PRIu64 " of them not running", missing);
    if (services.size > 0)
        reader_map(&reader, &count);
    const char *gap = ": ";
    for (uint32_t i = 0; i < count; i++) {
        struct span state;
        uint64_t number;
        if (reader_str(&reader, &state) != STATUS_OK || reader_u64(&reader, &number) != STATUS_OK)
            break;
        if (number == 0)
            continue;
        printf("%s%" PRIu64 " ", gap, number);
        text_print_span(stdout, state, false);
        gap = ", ";
    }
    printf("\n%-11s%" PRIu64 "\n", "Tenants", number_of(picture->system, "tenants"));
}

/* "2 near a limit (acme/api, acme/job)"; the first few are named. */
static void print_named(const struct picture *picture, const char *key, const char *what,
                        const char **gap)
{
    struct span named = part_of(picture->system, key), name;
    struct reader names;
    uint32_t count = 0;
    uint64_t all = number_of(named, "count");
    if (all == 0)
        return;
    printf("%s%" PRIu64 " %s (", *gap, all, what);
    if (map_find(named, "names", &names) == STATUS_OK)
        reader_array(&names, &count);
    for (uint32_t i = 0; i < count && reader_str(&names, &name) == STATUS_OK; i++) {
        printf(i == 0 ? "" : ", ");
        text_print_span(stdout, name, false);
    }
    printf(all > count ? ", ...)" : ")");
    *gap = ", ";
}

static void print_limits(const struct picture *picture)
{
    char first[16];
    const char *start = first, *gap = start;
    snprintf(first, sizeof first, "%-11s", "Limits");
    print_named(picture, "near_limit", "near a limit of memory or tasks", &gap);
    print_named(picture, "over_limit", "ended by one", &gap);
    print_named(picture, "tenants_near_limit", "tenants near what they are allowed", &gap);
    if (gap != start)
        printf("\n");
}

static void print_recovery(struct span recovery)
{
    char state[33], took[DURATION_TEXT_BYTES];
    if (recovery.size == 0)
        return;
    map_text(recovery, "state", state, sizeof state);
    printf("%-11s", "Recovery");
    text_print(stdout, state);
    if (!map_bool(recovery, "enabled", true))
        printf(", disabled (recovery_enabled = false): wanted services are not started");
    if (number_of(recovery, "total") > 0 || number_of(recovery, "event_id") > 0)
        printf(", %" PRIu64 " of %" PRIu64 " actions, %" PRIu64 " failed",
               number_of(recovery, "done"), number_of(recovery, "total"),
               number_of(recovery, "failed"));
    if (number_of(recovery, "took_ms") > 0)
        printf(", took %s", duration_text(took, number_of(recovery, "took_ms")));
    if (number_of(recovery, "event_id") > 0)
        printf(" (event %" PRIu64 ")", number_of(recovery, "event_id"));
    printf("\n");
}

static void print_verification(const struct picture *picture)
{
    struct span last = verification_of(picture);
    char age[AGE_BYTES];
    uint64_t at_ns = number_of(last, "at_ns"), now_ns = clock_wall_ns();
    if (at_ns == 0)
        return;
    printf("%-11s%s ago, %" PRIu64 " services%s, %" PRIu64 " inconsistencies", "Verified",
           age_text(age, at_ns, now_ns), number_of(last, "checked"),
           map_bool(last, "full", false) ? " and the whole log" : "", number_of(last, "found"));
    if (number_of(last, "exit_code") != 0)
        printf(" (exit code %" PRIu64 ")", number_of(last, "exit_code"));
    printf("\n");
}

static void print_tokens(const struct picture *picture)
{
    const struct token_status_reply *tokens = &picture->tokens;
    if (!picture->has_tokens)
        return;
    printf("%-11s%" PRIu64, "Tokens", tokens->tokens);
    if (!tokens->is_persistent)
        printf(", kept for this boot only (token_persistence_enabled = false)");
    if (tokens->is_suspect)
        printf(", by a suspect clock: none is swept (`soloctl token trust-clock`)");
    if (tokens->outbox > 0)
        printf(", %" PRIu64 " events wait for eventd (%s)", tokens->outbox, picture->outbox_state);
    printf("\n");
}

static void pack_tokens(const struct picture *picture, struct buffer *map)
{
    write_map(map, 5);
    write_str(map, "count");
    write_u64(map, picture->tokens.tokens);
    write_str(map, "is_persistent");
    write_bool(map, picture->tokens.is_persistent);
    write_str(map, "is_clock_suspect");
    write_bool(map, picture->tokens.is_suspect);
    write_str(map, "outbox");
    write_u64(map, picture->tokens.outbox);
    write_str(map, "outbox_state");
    write_str(map, picture->outbox_state);
}

static void print_vault(const struct picture *picture)
{
    if (picture->vault_state[0] == '\0')
        return;
    printf("%-11s%s", "Vault", picture->vault_state);
    if (strcmp(picture->vault_state, "open") == 0)
        printf(", %" PRIu64 " secrets", picture->vault.secrets);
    if (picture->vault.rotating > 0)
        printf(", rotating");
    if (picture->vault_reason[0] != '\0') {
        printf(": ");
        text_print(stdout, picture->vault_reason);
    }
    printf("\n");
}

static void print_programs(const struct picture *picture)
{
    const struct programs *programs = &picture->programs;
    printf("%-11s", "Daemons");
    for (size_t i = 0; i < programs->count; i++) {
        const struct program *program = &programs->items[i];
        printf("%s%s %s", i == 0 ? "" : ", ", program->name,
               program->state[0] == '\0' ? "?" : program->state);
        if (program->pid != 0)
            printf(" (pid %" PRIu64 ")", program->pid);
    }
    printf(programs->count == 0 ? "none answers\n" : "\n");
    if (!programs->has_solod && !programs->has_units)
        printf("%-11sdoes not answer\n", "solod");
}

static void print_log(struct span log)
{
    char fork[STATUS_TEXT_BYTES];
    printf("%-11s%" PRIu64 " events", "Log", number_of(log, "last_event"));
    if (map_text(log, "forked", fork, sizeof fork)[0] != '\0') {
        printf(", FORKED: ");
        text_print(stdout, fork);
    }
    printf("\n");
}

static void print_page(const struct picture *picture)
{
    struct span log = part_of(picture->system, "log");
    printf("%-11s%s", "Solo", picture->state);
    if (picture->reason[0] != '\0') {
        printf(": ");
        text_print(stdout, picture->reason);
    }
    printf("\n");
    print_text_line("Version", picture->system, "version");
    print_text_line("Run", picture->system, "run_id");
    print_last_end(picture->system);
    print_text_line("Isolation", picture->system, "isolation");
    print_text_line("Stop", picture->system, "stop_method");
    if (picture->system.size > 0)
        print_services(picture);
    if (picture->system.size > 0)
        print_limits(picture);
    print_recovery(part_of(picture->system, "recovery"));
    print_verification(picture);
    if (log.size > 0)
        print_log(log);
    print_tokens(picture);
    print_vault(picture);
    print_programs(picture);
    if (picture->deployd != STATUS_OK)
        printf("%-11sdoes not answer: %s\n", "deployd",
               picture->problem.message[0] == '\0' ? status_text(picture->deployd)
                                                   : picture->problem.message);
    const char *person = needs_person(picture);
    if (picture->are_tokens_damaged && strcmp(picture->state, "ready") != 0)
        printf("%-11sthe token store is damaged: see tokend's diagnostics\n", "!");
    if (person[0] != '\0' && strcmp(person, "not ready") != 0)
        printf("%-11s%s\n", "!", person);
}

static void print_document(struct session *session, const struct picture *picture)
{
    AUTO(item_close) struct item item = ITEM_EMPTY;
    AUTO(buffer_close) struct buffer list = { .limit = ITEM_BYTES_MAX };
    struct reader reader = reader_of(picture->system);
    uint32_t count = 0;
    item_text(&item, "kind", "status");
    item_text(&item, "state", picture->state);
    item_text_or_null(&item, "reason", picture->reason);
    item_text_or_null(&item, "needs_person", needs_person(picture));
    if (picture->system.size > 0)
        reader_map(&reader, &count);
    for (uint32_t i = 0; i < count; i++) {
        struct span key, value;
        char name[64];
        if (reader_str(&reader, &key) != STATUS_OK || reader_any(&reader, &value) != STATUS_OK)
            break;
        snprintf(name, sizeof name, "%.*s", (int)key.size, (const char *)key.data);
        if (strcmp(name, "state") != 0)
            item_object(&item, name, value);
    }
    if (picture->has_tokens) {
        AUTO(buffer_close) struct buffer tokens = { .limit = ITEM_BYTES_MAX };
        pack_tokens(picture, &tokens);
        item_object(&item, "tokens", buffer_span(&tokens));
    }
    write_array(&list, picture->programs.count);
    for (size_t i = 0; i < picture->programs.count; i++) {
        AUTO(item_close) struct item program = ITEM_EMPTY;
        program_item(&picture->programs.items[i], &program);
        item_pack(&program, &list);
    }
    item_object(&item, "daemons", buffer_span(&list));
    if (number_of(verification_of(picture), "at_ns") != 0)
        item_object(&item, "verification", verification_of(picture));
    else
        item_null(&item, "verification");
    item_text_or_null(&item, "vault", picture->vault_state);
    item_text_or_null(&item, "vault_reason", picture->vault_reason);
    document_print(session->format, &item, picture->state);
}

int command_status(struct session *session, const struct arguments *arguments)
{
    static struct picture picture;
    enum status status = look(session, &picture);
    if (status != STATUS_OK)
        return session_fail(session, "", status, &picture.problem);
    if (session_is_for_programs(session))
        print_document(session, &picture);
    else
        print_page(&picture);
    return arguments_has(arguments, FLAG_check) && needs_person(&picture)[0] != '\0'
               ? NOT_READY_EXIT_CODE
               : 0;
}
