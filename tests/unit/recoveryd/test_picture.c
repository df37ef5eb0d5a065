#include "tests/support/criterion.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "recoveryd/picture.h"
#include "tests/unit/recoveryd/log_maker.h"

static struct log_maker maker;

static void set_up(void)
{
    log_maker_open(&maker);
}

static void tear_down(void)
{
    log_maker_close(&maker);
}

TestSuite(picture, .init = set_up, .fini = tear_down);

static const struct plan_entry *entry_of(const struct picture *picture, const char *name)
{
    for (size_t i = 0; i < picture->plan.count; i++)
        if (strcmp(picture->plan.entries[i].name, name) == 0)
            return &picture->plan.entries[i];
    cr_assert_fail("no entry for %s", name);
    return NULL;
}

Test(picture, without_a_store_there_is_nothing_to_do)
{
    AUTO(picture_close) struct picture picture = { 0 };
    snprintf(maker.settings.data_dir, sizeof maker.settings.data_dir, "%s/other", maker.folder);
    cr_assert_eq(picture_take(&maker.settings, &picture), STATUS_OK);
    cr_assert_not(picture.log.exists);
    cr_assert_eq(picture.plan.count, 0);
}

Test(picture, what_the_log_wants_is_started_and_what_it_does_not_want_is_not)
{
    uint64_t api = log_deploy(&maker, "acme", "api", "sh");
    log_deploy(&maker, "acme", "gone", "sh");
    log_append(&maker, "service_killed", "acme", "gone", "{}");
    log_maker_finish(&maker);
    AUTO(picture_close) struct picture picture = { 0 };
    cr_assert_eq(picture_take(&maker.settings, &picture), STATUS_OK);
    cr_assert_eq(picture.log.last_event, 3);
    cr_assert_eq(picture.log.chain_from, 1);
    cr_assert_eq(picture.plan.count, 1);
    const struct plan_entry *entry = entry_of(&picture, "api");
    cr_assert_eq(entry->action, PLAN_START);
    cr_assert_eq(entry->generation, api);
    cr_assert_eq(entry->evidence, api);
    cr_assert_not(entry->is_open);
}

Test(picture, a_program_that_is_missing_or_cannot_be_executed_is_told)
{
    char tool[4096];
    log_deploy(&maker, "acme", "missing", "no-such-program-anywhere");
    log_deploy(&maker, "acme", "fine", "/bin/sh");
    path_join(tool, maker.folder, "tool");
    cr_assert_eq(file_write(tool, span_of_text("x"), 0644), STATUS_OK);
    log_deploy(&maker, "acme", "plain", tool);
    log_deploy(&maker, "acme", "hidden", "/var/lib/solo/elsewhere/tool");
    log_maker_finish(&maker);
    AUTO(picture_close) struct picture picture = { 0 };
    cr_assert_eq(picture_take(&maker.settings, &picture), STATUS_OK);
    cr_assert_eq(entry_of(&picture, "missing")->action, PLAN_CANNOT_RECOVER);
    cr_assert_eq(entry_of(&picture, "missing")->code, PLAN_CODE_program_missing);
    cr_assert_eq(strncmp(entry_of(&picture, "missing")->reason,
                         "program no-such-program-anywhere not found in PATH ", 51),
                 0);
    cr_assert_eq(entry_of(&picture, "plain")->code, PLAN_CODE_program_missing);
    cr_assert_not_null(strstr(entry_of(&picture, "plain")->reason, "cannot be executed"));
    cr_assert_eq(entry_of(&picture, "fine")->action, PLAN_START);
    cr_assert_eq(entry_of(&picture, "hidden")->action, PLAN_START);
    cr_assert(entry_of(&picture, "hidden")->is_open);
}

/* A generation that names no service_deployed event, as after damage to `live`. */
Test(picture, a_spec_that_is_not_there_cannot_be_recovered)
{
    log_append(&maker, "app.noise", "acme", "", "{}");
    log_put_live(&maker, "acme", "api", &(struct live_row){ .generation = 1, .since = 1 });
    log_maker_finish(&maker);
    AUTO(picture_close) struct picture picture = { 0 };
    cr_assert_eq(picture_take(&maker.settings, &picture), STATUS_OK);
    cr_assert_eq(entry_of(&picture, "api")->code, PLAN_CODE_spec_invalid);
}

/* Every file below the folder with size, times and mode: what must not change. */
static char *fingerprint(void)
{
    char command[256];
    static char text[65536];
    snprintf(command, sizeof command,
             "cd %s && find . -printf '%%p %%s %%m %%T@ %%C@\\n' | sort && find . -type f -exec "
             "sha256sum {} + | sort",
             maker.folder);
    FILE *pipe = popen(command, "r");
    cr_assert_not_null(pipe);
    size_t size = fread(text, 1, sizeof text - 1, pipe);
    cr_assert_eq(pclose(pipe), 0);
    text[size] = '\0';
    return strdup(text);
}

Test(picture, looking_leaves_no_trace)
{
    log_deploy(&maker, "acme", "api", "sh");
    log_maker_finish(&maker);
    char *before = fingerprint();
    for (int i = 0; i < 3; i++) {
        struct picture picture = { 0 };
        cr_assert_eq(picture_take(&maker.settings, &picture), STATUS_OK);
        picture_close(&picture);
    }
    char *after = fingerprint();
    cr_assert_str_not_empty(before);
    cr_assert_str_eq(before, after);
    free(before);
    free(after);
}

/* --- a projection that is damaged --- */

static void deploy_and_kill(void)
{
    log_deploy(&maker, "acme", "web", "sh");
    log_deploy(&maker, "acme", "api", "cat");
    log_deploy(&maker, "acme", "gone", "sh");
    log_append(&maker, "service_killed", "acme", "gone", "{}");
    log_deploy(&maker, "acme", "api", "sh");
}

static void expect_folded(struct picture *picture)
{
    cr_assert_eq(picture_take(&maker.settings, picture), STATUS_OK);
    cr_assert(picture->log.is_live_damaged);
    cr_assert_eq(picture->log.chain_from, 1);
    cr_assert_eq(picture->plan.count, 2);
    cr_assert_eq(entry_of(picture, "web")->generation, 1);
    cr_assert_eq(entry_of(picture, "api")->generation, 5);
    cr_assert_eq(entry_of(picture, "api")->action, PLAN_START);
}

Test(picture, a_damaged_live_row_is_folded_in_memory_and_not_one_byte_is_written)
{
    deploy_and_kill();
    log_damage_live(&maker, "acme", "api");
    log_maker_finish(&maker);
    char *before = fingerprint();
    AUTO(picture_close) struct picture picture = { 0 };
    expect_folded(&picture);
    char *after = fingerprint();
    cr_assert_str_not_empty(before);
    cr_assert_str_eq(before, after);
    free(before);
    free(after);
}

Test(picture, a_live_row_that_is_gone_is_folded_in_memory)
{
    deploy_and_kill();
    MDB_txn *txn;
    MDB_val key = { 8, (void *)(uintptr_t) "acme/api" };
    cr_assert_eq(mdb_txn_begin(maker.db.env, NULL, 0, &txn), 0);
    cr_assert_eq(mdb_del(txn, maker.db.tables[EVENTS_LIVE], &key, NULL), 0);
    cr_assert_eq(mdb_txn_commit(txn), 0);
    log_maker_finish(&maker);
    AUTO(picture_close) struct picture picture = { 0 };
    expect_folded(&picture);
}

/* What a running eventd holds it does not fold anew; neither do we. */
Test(picture, beside_a_writer_a_damaged_live_row_is_damage)
{
    deploy_and_kill();
    log_damage_live(&maker, "acme", "api");
    AUTO(picture_close) struct picture picture = { 0 };
    cr_assert_eq(picture_take(&maker.settings, &picture), STATUS_DATA_LOSS);
}

Test(picture, nothing_is_folded_from_a_broken_chain)
{
    deploy_and_kill();
    maker.previous.bytes[0] ^= 1;
    for (int i = 0; i < 1100; i++) /* beyond what the quick probe reads */
        log_append(&maker, "app.noise", "acme", "", "{}");
    log_damage_live(&maker, "acme", "api");
    log_maker_finish(&maker);
    AUTO(picture_close) struct picture picture = { 0 };
    cr_assert_eq(picture_take(&maker.settings, &picture), STATUS_DATA_LOSS);
}

/* --- what the registry knows --- */

static void put_registry_row(const struct service_row *row)
{
    char dir[4096], key[SERVICE_KEY_BYTES];
    struct db registry;
    struct db_txn txn;
    AUTO(buffer_close) struct buffer packed = { .limit = 4096 };
    path_join(dir, maker.settings.run_dir, "registry");
    cr_assert_eq(db_open_writer(&registry, &registry_schema, dir), STATUS_OK);
    fields_encode(&record_service_row, row, &packed);
    cr_assert_eq(db_begin_write(&registry, &txn), STATUS_OK);
    cr_assert_eq(table_put(&txn, REGISTRY_SERVICES,
                           span_of_text(service_key(key, row->tenant, row->name)),
                           buffer_span(&packed)),
                 STATUS_OK);
    cr_assert_eq(db_commit(&txn), STATUS_OK);
    db_close(&registry);
}

static uint64_t own_start_ticks(void)
{
    unsigned long long ticks = 0;
    char text[1024] = "";
    FILE *file = fopen("/proc/self/stat", "re");
    cr_assert_not_null(fgets(text, sizeof text, file));
    fclose(file);
    const char *at = strrchr(text, ')');
    for (int i = 0; i < 20; i++)
        at = strchr(at + 1, ' ');
    sscanf(at, "%llu", &ticks);
    return ticks;
}

static struct service_row own_row(const char *name, uint64_t generation, const char *boot_id)
{
    return (struct service_row){
        .tenant = "acme",
        .name = name,
        .state = "running",
        .reason = "",
        .generation = generation,
        .since = generation,
        .pid = (uint64_t)getpid(),
        .start_ticks = own_start_ticks(),
        .instance = "",
        .boot_id = boot_id,
    };
}

Test(picture, a_live_process_of_the_registry_without_a_supervisor_is_replaced)
{
    char boot_id[BOOT_ID_BYTES];
    clock_boot_id(boot_id);
    uint64_t generation = log_deploy(&maker, "acme", "api", "sh");
    log_maker_finish(&maker);
    struct service_row row = own_row("api", generation, boot_id);
    put_registry_row(&row);
    AUTO(picture_close) struct picture picture = { 0 };
    cr_assert_eq(picture_take(&maker.settings, &picture), STATUS_OK);
    cr_assert_eq(entry_of(&picture, "api")->code, PLAN_CODE_unsupervised);
    cr_assert_eq(entry_of(&picture, "api")->pid, (uint64_t)getpid());
}

Test(picture, a_row_of_another_boot_or_another_process_counts_for_nothing)
{
    char boot_id[BOOT_ID_BYTES];
    clock_boot_id(boot_id);
    uint64_t generation = log_deploy(&maker, "acme", "api", "sh");
    log_maker_finish(&maker);
    struct service_row row = own_row("api", generation, "another");
    put_registry_row(&row);
    struct picture picture = { 0 };
    cr_assert_eq(picture_take(&maker.settings, &picture), STATUS_OK);
    cr_assert_eq(entry_of(&picture, "api")->code, PLAN_CODE_not_running);
    picture_close(&picture);
    row = own_row("api", generation, boot_id);
    row.start_ticks++;
    put_registry_row(&row);
    cr_assert_eq(picture_take(&maker.settings, &picture), STATUS_OK);
    cr_assert_eq(entry_of(&picture, "api")->code, PLAN_CODE_not_running);
    picture_close(&picture);
}

Test(picture, a_run_directory_of_another_boot_counts_for_nothing)
{
    char boot_id[BOOT_ID_BYTES], path[4096];
    clock_boot_id(boot_id);
    uint64_t generation = log_deploy(&maker, "acme", "api", "sh");
    log_maker_finish(&maker);
    struct service_row row = own_row("api", generation, boot_id);
    put_registry_row(&row);
    path_join(path, maker.settings.run_dir, "boot_id");
    cr_assert_eq(file_write(path, span_of_text("00000000-0000-0000-0000-000000000000\n"), 0644),
                 STATUS_OK);
    AUTO(picture_close) struct picture picture = { 0 };
    cr_assert_eq(picture_take(&maker.settings, &picture), STATUS_OK);
    cr_assert_eq(entry_of(&picture, "api")->code, PLAN_CODE_not_running);
}

Test(picture, what_runs_though_killed_is_stopped_with_the_event_that_proves_it)
{
    char boot_id[BOOT_ID_BYTES];
    clock_boot_id(boot_id);
    uint64_t generation = log_deploy(&maker, "acme", "api", "sh");
    uint64_t killed = log_append(&maker, "service_killed", "acme", "api", "{}");
    log_append(&maker, "service_stopped", "acme", "api", "{}");
    log_maker_finish(&maker);
    struct service_row row = own_row("api", generation, boot_id);
    put_registry_row(&row);
    AUTO(picture_close) struct picture picture = { 0 };
    cr_assert_eq(picture_take(&maker.settings, &picture), STATUS_OK);
    cr_assert_eq(entry_of(&picture, "api")->action, PLAN_STOP);
    cr_assert_eq(entry_of(&picture, "api")->evidence, killed);
}

Test(picture, what_runs_without_any_event_is_reported)
{
    char boot_id[BOOT_ID_BYTES];
    clock_boot_id(boot_id);
    log_maker_finish(&maker);
    struct service_row row = own_row("stray", 7, boot_id);
    put_registry_row(&row);
    AUTO(picture_close) struct picture picture = { 0 };
    cr_assert_eq(picture_take(&maker.settings, &picture), STATUS_OK);
    cr_assert_eq(entry_of(&picture, "stray")->action, PLAN_REPORT);
}
