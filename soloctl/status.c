/* status: the picture, as a page or as a document. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/wire/reader.h"
#include "common/wire/writer.h"
#include "soloctl/commands.h"
#include "soloctl/needs.h"
#include "soloctl/output.h"
#include "soloctl/text.h"

enum { STATUS_TEXT_BYTES = 512, NOT_READY_EXIT_CODE = 3 };

static bool is_ready(const struct picture *picture, const struct needs *needs)
{
    return needs->count == 0 && strcmp(picture->state, "ready") == 0;
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
    struct span services = picture_part(picture->system, "services");
    struct reader reader = reader_of(services);
    struct reader unused;
    uint32_t count = 0;
    if (map_find(picture->system, "wanted", &unused) != STATUS_OK)
        return; /* not for operators only: the rest is not shown to this caller */
    printf("%-11s%" PRIu64 " wanted", "Services", picture_number(picture->system, "wanted"));
    uint64_t missing = picture_number(picture->system, "wanted_not_running");
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
    printf("\n%-11s%" PRIu64 "\n", "Tenants", picture_number(picture->system, "tenants"));
}

/* "2 near a limit (acme/api, acme/job)"; the first few are named. */
static void print_named(const struct picture *picture, const char *key, const char *what,
                        const char **gap)
{
    struct span named = picture_part(picture->system, key), name;
    struct reader names;
    uint32_t count = 0;
    uint64_t all = picture_number(named, "count");
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
    if (picture_number(recovery, "total") > 0 || picture_number(recovery, "event_id") > 0)
        printf(", %" PRIu64 " of %" PRIu64 " actions, %" PRIu64 " failed",
               picture_number(recovery, "done"), picture_number(recovery, "total"),
               picture_number(recovery, "failed"));
    if (picture_number(recovery, "took_ms") > 0)
        printf(", took %s", duration_text(took, picture_number(recovery, "took_ms")));
    if (picture_number(recovery, "event_id") > 0)
        printf(" (event %" PRIu64 ")", picture_number(recovery, "event_id"));
    printf("\n");
}

static void print_verification(const struct picture *picture)
{
    struct span last = picture_verification(picture);
    char age[AGE_BYTES];
    uint64_t at_ns = picture_number(last, "at_ns"), now_ns = clock_wall_ns();
    uint64_t checked = picture_number(last, "checked"), found = picture_number(last, "found");
    if (at_ns == 0)
        return;
    printf("%-11s%s ago, %" PRIu64 " service%s%s, %" PRIu64 " inconsistenc%s", "Verified",
           age_text(age, at_ns, now_ns), checked, checked == 1 ? "" : "s",
           map_bool(last, "full", false) ? " and the whole log" : "", found,
           found == 1 ? "y" : "ies");
    if (picture_number(last, "exit_code") != 0)
        printf(" (exit code %" PRIu64 ")", picture_number(last, "exit_code"));
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
    printf("%-11s%" PRIu64 " events", "Log", picture_number(log, "last_event"));
    if (map_text(log, "forked", fork, sizeof fork)[0] != '\0') {
        printf(", FORKED: ");
        text_print(stdout, fork);
    }
    printf("\n");
}

static void print_page(const struct picture *picture, const struct needs *needs)
{
    struct span log = picture_part(picture->system, "log");
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
    print_recovery(picture_part(picture->system, "recovery"));
    print_verification(picture);
    if (log.size > 0)
        print_log(log);
    print_tokens(picture);
    print_vault(picture);
    print_programs(picture);
    for (size_t i = 0; i < needs->count; i++) {
        printf("%-11s", "!");
        text_print(stdout, needs->texts[i]);
        printf("\n");
    }
}

static void item_verification(struct item *item, struct span last)
{
    AUTO(item_close) struct item inner = ITEM_EMPTY;
    if (picture_number(last, "at_ns") == 0) {
        item_null(item, "verification");
        return;
    }
    item_time(&inner, "at", picture_number(last, "at_ns"));
    item_number(&inner, "exit_code", picture_number(last, "exit_code"));
    item_number(&inner, "checked", picture_number(last, "checked"));
    item_number(&inner, "found", picture_number(last, "found"));
    item_number(&inner, "took_ms", picture_number(last, "took_ms"));
    item_bool(&inner, "full", map_bool(last, "full", false));
    item_item(item, "verification", &inner);
}

static void print_document(struct session *session, const struct picture *picture,
                           const struct needs *needs)
{
    AUTO(item_close) struct item item = ITEM_EMPTY;
    AUTO(buffer_close) struct buffer list = { .limit = ITEM_BYTES_MAX };
    struct reader reader = reader_of(picture->system);
    uint32_t count = 0;
    item_text(&item, "kind", "status");
    item_text(&item, "state", picture->state);
    item_text_or_null(&item, "reason", picture->reason);
    item_text_or_null(&item, "needs_person",
                      needs->count > 0           ? needs->texts[0]
                      : is_ready(picture, needs) ? ""
                                                 : "not ready");
    write_array(&list, needs->count);
    for (size_t i = 0; i < needs->count; i++)
        write_str(&list, needs->texts[i]);
    item_object(&item, "needs", buffer_span(&list));
    buffer_clear(&list);
    if (picture->system.size > 0)
        reader_map(&reader, &count);
    for (uint32_t i = 0; i < count; i++) {
        struct span key, value;
        char name[64];
        if (reader_str(&reader, &key) != STATUS_OK || reader_any(&reader, &value) != STATUS_OK)
            break;
        snprintf(name, sizeof name, "%.*s", (int)key.size, (const char *)key.data);
        if (strcmp(name, "state") != 0 && strcmp(name, "verification") != 0)
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
    item_verification(&item, picture_verification(picture));
    item_text_or_null(&item, "vault", picture->vault_state);
    item_text_or_null(&item, "vault_reason", picture->vault_reason);
    document_print(session->format, &item, picture->state);
}

int command_status(struct session *session, const struct arguments *arguments)
{
    static struct picture picture;
    static struct needs needs;
    enum status status = picture_load(session, &picture);
    if (status != STATUS_OK)
        return session_fail(session, "", status, &picture.problem);
    needs_find(&picture, &needs);
    if (session_is_for_programs(session))
        print_document(session, &picture, &needs);
    else
        print_page(&picture, &needs);
    return arguments_has(arguments, FLAG_check) && !is_ready(&picture, &needs) ? NOT_READY_EXIT_CODE
                                                                               : 0;
}
