/* One-shot: plan, restore, verify, report; or one of these alone. Opens no store for writing and
 * starts nothing itself: deployd does what is due. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/api/records/schemas.h"
#include "common/daemon/journal.h"
#include "common/daemon/settings.h"
#include "recoveryd/archive_command.h"
#include "recoveryd/archive_log.h"
#include "recoveryd/event_store.h"
#include "recoveryd/identity.h"
#include "recoveryd/log_command.h"
#include "recoveryd/log_reader.h"
#include "recoveryd/options.h"
#include "recoveryd/recover_command.h"
#include "recoveryd/resolve_command.h"
#include "recoveryd/restore_command.h"
#include "recoveryd/salvage_command.h"
#include "recoveryd/token_census.h"
#include "recoveryd/verify_command.h"

static int run(const struct settings *settings, const struct options *options)
{
    switch (options->command) {
    case COMMAND_RECOVER:
        if (options->is_at_start && !settings->recovery_enabled) {
            log_info("recovery is switched off; nothing is started");
            return 0;
        }
        return recover_command(settings, options);
    case COMMAND_VERIFY:
        if (options->is_periodic && settings->verify_interval_ms == 0) {
            log_info("the periodic verification is switched off");
            return 0;
        }
        return verify_command(settings, options);
    case COMMAND_RESTORE:
        return restore_command(settings, options);
    case COMMAND_SALVAGE:
        return salvage_command(settings, options);
    case COMMAND_RESOLVE:
        return resolve_command(settings, options);
    case COMMAND_ARCHIVE:
        return archive_command(settings, options);
    case COMMAND_LOG:
        break; /* has a process of its own */
    }
    return status_exit_code(STATUS_INTERNAL);
}

/* A folder without a store is a Solo that was never started; none at all is a slip of the pen. */
static enum status check_data_dir(const struct settings *settings)
{
    if (access(settings->data_dir, X_OK) == 0)
        return STATUS_OK;
    return log_failure(status_from_errno(errno), "open the data directory", "dir",
                       settings->data_dir, "reason", strerror(errno), "next",
                       "name the right one with --data DIR (or SOLO_DATA_DIR)");
}

int main(int argc, char **argv)
{
    schema_probe_if_asked(argc, argv);
    bool is_log_reader = argc > 1 && strcmp(argv[1], LOG_READER_ARGUMENT) == 0;
    if (is_log_reader) {
        argv[1] = argv[0];
        argv++;
        argc--;
    }
    static struct settings settings;
    struct options options = { 0 };
    const struct settings_own own = {
        .take = options_take,
        .context = &options,
        .usage = options_usage,
    };
    enum status status = settings_load(&settings, "recoveryd", &own, argc, argv);
    if (status == STATUS_CANCELLED)
        return 0;
    journal_join();
    if (status == STATUS_OK)
        status = options_check(&options);
    if (status == STATUS_OK)
        status = token_census_find(&settings);
    if (status == STATUS_OK)
        status = identity_load();
    bool needs_data = options.command != COMMAND_RESTORE && options.archive == NULL &&
                      (options.command != COMMAND_ARCHIVE || options.source_count == 0);
    if (status == STATUS_OK && needs_data)
        status = check_data_dir(&settings);
    if (status != STATUS_OK)
        return status_exit_code(status);
    if (options.command == COMMAND_LOG && options.archive != NULL)
        return archive_log_command(&options);
    if (options.command == COMMAND_LOG)
        return is_log_reader ? log_reader_run(&settings, &options)
                             : log_command(argc, argv, &options);
    event_store_guard();
    return run(&settings, &options);
}
