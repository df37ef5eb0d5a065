/* The commands about secrets. A value comes from a file, standard input or the terminal, and goes
 * to standard output with --reveal only. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/api/api.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/name.h"
#include "common/wire/reader.h"
#include "common/wire/writer.h"
#include "soloctl/commands.h"
#include "soloctl/listing.h"
#include "soloctl/secret_input.h"
#include "soloctl/target.h"
#include "soloctl/text.h"

/* With a token its tenant need not be named. */
static enum status find_target(const struct session *session, const struct arguments *arguments,
                               struct target *target, struct problem *problem)
{
    return target_parse_secret(arguments->operands[0], session->tenant, target, problem);
}

static void begin_document(struct item *item, const char *kind, const struct target *target)
{
    item_text(item, "kind", kind);
    item_text(item, "tenant", target->tenant);
    item_text(item, "name", target->name);
}

/* -- list -- */

static const struct column secret_columns[] = {
    { "TENANT", COLUMN_TEXT, false },  { "NAME", COLUMN_TEXT, false },
    { "STATE", COLUMN_TEXT, false },   { "VERSION", COLUMN_NUMBER, false },
    { "UPDATED", COLUMN_TEXT, false }, { "VERSIONS", COLUMN_NUMBER, true },
    { "CREATED", COLUMN_TEXT, true },
};

static void item_of_secret(const struct secret_item *secret, struct item *item)
{
    item_text(item, "tenant", secret->tenant);
    item_text(item, "name", secret->name);
    item_text(item, "state", secret->state);
    item_number(item, "version", secret->version);
    item_number(item, "versions", secret->versions);
    item_time(item, "created_at", secret->created_ns);
    item_time(item, "updated_at", secret->updated_ns);
}

static void take(void *context, const void *row)
{
    struct listing *listing = context;
    const struct secret_item *secret = row;
    char key[SERVICE_KEY_BYTES], updated[AGE_BYTES], created[TIME_TEXT_BYTES];
    bool is_narrowed = listing->session->tenant[0] != '\0';
    service_key(key, secret->tenant, secret->name);
    if (!listing_takes(listing, key, is_narrowed ? secret->name : NULL))
        return;
    if (listing->table == NULL) {
        AUTO(item_close) struct item item = ITEM_EMPTY;
        item_of_secret(secret, &item);
        list_add(&listing->list, &item, key);
        return;
    }
    table_row(listing->table);
    table_cell(listing->table, secret->tenant);
    table_cell(listing->table, secret->name);
    table_cell(listing->table, secret->state);
    table_number(listing->table, secret->version);
    table_cell(listing->table, age_text(updated, secret->updated_ns, clock_wall_ns()));
    table_number(listing->table, secret->versions);
    table_cell(listing->table, time_text(created, secret->created_ns));
}

static enum status load(struct listing *listing, struct problem *problem)
{
    struct session *session = listing->session;
    char after[SECRET_AFTER_BYTES_MAX + 1] = "";
    do {
        const struct secret_list_request request = { .tenant = session->tenant,
                                                     .after = after,
                                                     .limit = SECRET_LIST_MAX };
        struct secret_list_reply reply = { 0 };
        struct secret_item secret;
        TRY(session_call(session, PEER_VAULTD, &method_secret_list, &request, READ_TIMEOUT_MS,
                         &reply, problem));
        TRY(records_each(reply.secrets, &record_secret_item, &secret, sizeof secret, take, listing,
                         problem));
        snprintf(after, sizeof after, "%s", reply.next);
    } while (after[0] != '\0');
    return STATUS_OK;
}

int command_get_secrets(struct session *session, const struct arguments *arguments)
{
    AUTO(listing_close)
    struct listing listing = {
        .session = session, .arguments = arguments, .things = "secrets", .thing = "secret"
    };
    struct problem problem = { 0 };
    enum status status =
        listing_begin(&listing, secret_columns, COUNT_OF(secret_columns), &problem);
    if (status == STATUS_OK)
        status = load(&listing, &problem);
    if (status == STATUS_OK)
        status = listing_end(&listing, &problem);
    return status == STATUS_OK ? 0 : session_fail(session, "", status, &problem);
}

/* -- one -- */

static void print_version(void *context, const void *row)
{
    (void)context;
    const struct secret_version_item *version = row;
    char time[TIME_TEXT_BYTES];
    printf("  %-10" PRIu64 " %-10s %s  %" PRIu64 " bytes, key %" PRIu64 ", %s\n", version->version,
           version->state, time_text(time, version->stored_ns), version->bytes, version->epoch,
           version->cipher);
}

static enum status print_versions(struct span versions, struct problem *problem)
{
    struct secret_version_item version;
    return records_each(versions, &record_secret_version_item, &version, sizeof version,
                        print_version, NULL, problem);
}

static void pack_version(void *context, const void *row)
{
    struct buffer *list = context;
    const struct secret_version_item *version = row;
    AUTO(item_close) struct item item = ITEM_EMPTY;
    item_number(&item, "version", version->version);
    item_text(&item, "state", version->state);
    item_time(&item, "stored_at", version->stored_ns);
    item_number(&item, "bytes", version->bytes);
    item_number(&item, "epoch", version->epoch);
    item_text(&item, "cipher", version->cipher);
    item_pack(&item, list);
}

static enum status item_versions(struct item *item, struct span versions, struct problem *problem)
{
    AUTO(buffer_close) struct buffer list = { .limit = ITEM_BYTES_MAX };
    struct reader reader = reader_of(versions);
    struct secret_version_item version;
    uint32_t count;
    TRY(reader_array(&reader, &count));
    write_array(&list, count);
    TRY(records_each(versions, &record_secret_version_item, &version, sizeof version, pack_version,
                     &list, problem));
    item_object(item, "version_list", buffer_span(&list));
    return STATUS_OK;
}

int command_secret_describe(struct session *session, const struct arguments *arguments)
{
    struct problem problem = { 0 };
    struct target target;
    struct secret_describe_reply reply = { 0 };
    struct secret_item secret = { 0 };
    char time[TIME_TEXT_BYTES];
    AUTO(arena_close) struct arena arena = { .limit = FRAME_BYTES_SMALL };
    enum status status = find_target(session, arguments, &target, &problem);
    const struct secret_describe_request request = { .tenant = target.tenant, .name = target.name };
    if (status == STATUS_OK)
        status = session_call(session, PEER_VAULTD, &method_secret_describe, &request,
                              READ_TIMEOUT_MS, &reply, &problem);
    if (status == STATUS_OK)
        status = fields_decode(&record_secret_item, reply.secret, &arena, &secret, &problem);
    if (status != STATUS_OK)
        return session_fail(session, arguments->operands[0], status, &problem);
    if (session_is_for_programs(session)) {
        AUTO(item_close) struct item item = ITEM_EMPTY;
        item_text(&item, "kind", "secret");
        item_of_secret(&secret, &item);
        status = item_versions(&item, reply.versions, &problem);
        if (status != STATUS_OK)
            return session_fail(session, arguments->operands[0], status, &problem);
        document_print(session->format, &item, target.key);
        return 0;
    }
    printf("%-10s%s\n%-10s%s\n%-10s%" PRIu64 "\n", "Secret", target.key, "State", secret.state,
           "Latest", secret.version);
    printf("%-10s%s\n", "Created", time_text(time, secret.created_ns));
    printf("%-10s%s\nVersions\n", "Updated", time_text(time, secret.updated_ns));
    status = print_versions(reply.versions, &problem);
    return status == STATUS_OK ? 0
                               : session_fail(session, arguments->operands[0], status, &problem);
}

int command_secret_set(struct session *session, const struct arguments *arguments)
{
    static struct secret_input input;
    struct problem problem = { 0 };
    struct target target;
    struct secret_put_reply reply = { 0 };
    enum status status = find_target(session, arguments, &target, &problem);
    if (status == STATUS_OK)
        status = secret_input_read(&input, arguments->value[FLAG_value_file], "value", &problem);
    const struct secret_put_request request = { .tenant = target.tenant,
                                                .name = target.name,
                                                .value = secret_input_span(&input) };
    if (status == STATUS_OK)
        status = session_call(session, PEER_VAULTD, &method_secret_put, &request, READ_TIMEOUT_MS,
                              &reply, &problem);
    secret_input_close(&input);
    if (status != STATUS_OK)
        return session_fail(session, arguments->operands[0], status, &problem);
    if (!session_is_for_programs(session)) {
        printf("%s has version %" PRIu64 "\n", target.key, reply.version);
        return 0;
    }
    AUTO(item_close) struct item item = ITEM_EMPTY;
    begin_document(&item, "secret_version", &target);
    item_number(&item, "version", reply.version);
    document_print(session->format, &item, target.key);
    return 0;
}

/* In a request 0 is the latest, or all of them, which is the lack of the flag here. */
static enum status take_version(const struct arguments *arguments, uint64_t *version,
                                struct problem *problem)
{
    TRY(arguments_number(arguments, FLAG_version, 0, version, problem));
    return arguments_has(arguments, FLAG_version) && *version == 0
               ? problem_set(problem, STATUS_USAGE, "", "--version: counts from 1")
               : STATUS_OK;
}

/* A string of JSON holds text alone. */
static void print_value(const struct session *session, const struct target *target,
                        const struct secret_read_reply *reply)
{
    bool is_text = utf8_is_valid(reply->value);
    AUTO(item_close) struct item item = ITEM_EMPTY;
    AUTO(buffer_close) struct buffer value = { .limit = 2 * SECRET_VALUE_BYTES_MAX };
    if (is_text)
        write_text(&value, reply->value);
    else
        write_bin(&value, reply->value);
    begin_document(&item, "secret_value", target);
    item_number(&item, "version", reply->version);
    item_time(&item, "stored_at", reply->stored_ns);
    item_object(&item, is_text ? "value" : "value_hex", buffer_span(&value));
    document_print(session->format, &item, target->key);
}

/* For people the bytes as they are. */
int command_secret_read(struct session *session, const struct arguments *arguments)
{
    struct problem problem = { 0 };
    struct target target;
    struct secret_read_reply reply = { 0 };
    uint64_t version = 0;
    enum status status = find_target(session, arguments, &target, &problem);
    if (status == STATUS_OK && !arguments_has(arguments, FLAG_reveal))
        status = problem_set(&problem, STATUS_USAGE, "",
                             "prints the value: say --reveal when that is what you want");
    if (status == STATUS_OK)
        status = take_version(arguments, &version, &problem);
    const struct secret_read_request request = { .tenant = target.tenant,
                                                 .name = target.name,
                                                 .version = version };
    if (status == STATUS_OK)
        status = session_call(session, PEER_VAULTD, &method_secret_read, &request, READ_TIMEOUT_MS,
                              &reply, &problem);
    if (status != STATUS_OK)
        return session_fail(session, arguments->operands[0], status, &problem);
    if (session_is_for_programs(session))
        print_value(session, &target, &reply);
    else
        fwrite(reply.value.data, 1, reply.value.size, stdout);
    return output_flush() ? 0 : session_fail(session, "", STATUS_IO, &problem);
}

int command_secret_delete(struct session *session, const struct arguments *arguments)
{
    struct problem problem = { 0 };
    struct target target;
    struct secret_delete_reply reply = { 0 };
    enum status status = find_target(session, arguments, &target, &problem);
    const struct secret_delete_request request = { .tenant = target.tenant, .name = target.name };
    if (status == STATUS_OK)
        status = session_call(session, PEER_VAULTD, &method_secret_delete, &request,
                              READ_TIMEOUT_MS, &reply, &problem);
    if (status != STATUS_OK)
        return session_fail(session, arguments->operands[0], status, &problem);
    if (!session_is_for_programs(session)) {
        printf("%s deleted up to version %" PRIu64 "\n", target.key, reply.version);
        return 0;
    }
    AUTO(item_close) struct item item = ITEM_EMPTY;
    begin_document(&item, "secret_deletion", &target);
    item_number(&item, "version", reply.version);
    document_print(session->format, &item, target.key);
    return 0;
}

int command_secret_destroy(struct session *session, const struct arguments *arguments)
{
    struct problem problem = { 0 };
    struct target target;
    struct secret_destroy_request request = { 0 };
    struct secret_destroy_reply reply = { 0 };
    enum status status = find_target(session, arguments, &target, &problem);
    request.tenant = target.tenant;
    request.name = target.name;
    if (status == STATUS_OK)
        status = take_version(arguments, &request.version, &problem);
    if (status == STATUS_OK)
        status = session_call(session, PEER_VAULTD, &method_secret_destroy, &request,
                              READ_TIMEOUT_MS, &reply, &problem);
    if (status != STATUS_OK)
        return session_fail(session, arguments->operands[0], status, &problem);
    if (!session_is_for_programs(session)) {
        printf("%s: %" PRIu64 " version%s destroyed\n", target.key, reply.destroyed,
               reply.destroyed == 1 ? "" : "s");
        return 0;
    }
    AUTO(item_close) struct item item = ITEM_EMPTY;
    begin_document(&item, "secret_destruction", &target);
    item_number(&item, "destroyed", reply.destroyed);
    document_print(session->format, &item, target.key);
    return 0;
}
