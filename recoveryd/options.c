/* The command line: a table of flags, each with the commands that it fits. */
#include "recoveryd/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/name.h"

const char options_usage[] =
    "  recoveryd [--dry-run]      plan, restore, verify, report; with --dry-run the plan only\n"
    "  recoveryd verify [--full] [--fix] [--fix-orphans]\n"
    "                             compare what is wanted with what runs; --full reads every "
    "record\n"
    "                             and row, --fix repairs, --fix-orphans ends unknown processes, "
    "too\n"
    "  recoveryd restore DIR      put a backup into an empty data directory\n"
    "                             (--only tokens|vault: that store alone, beside the others)\n"
    "  recoveryd resolve --keep log\n"
    "                             of a FORKED log: go on with it as it is\n"
    "  recoveryd salvage [BACKUP...]\n"
    "                             make a log of what a damaged one and backups prove\n"
    "  recoveryd log              the log, read from the store itself, each record checked\n"
    "                             (--archive FILE: from an archive)\n"
    "  recoveryd archive [FILE...]\n"
    "                             verify archives of old events with their checkpoints; without\n"
    "                             a file those of this DATA\n"
    "                             (--key KEY: signed by this one)\n"
    "\n"
    "  -o text|json               for log: text|jsonl\n"
    "  --background               verify: at the lowest priority, silent when nothing is found\n"
    "  --periodic                 verify: do nothing when verify_interval_ms is 0\n"
    "  --at-start                 do nothing when recovery_enabled is false\n"
    "  --all                      list also the services that are as they should be\n"
    "  --if-event N               only if N is still the log's last event (exit 6)\n"
    "  --detailed-exitcode        2: changes are due, 3: a person is needed\n"
    "  --timeout DURATION         instead of recovery_timeout_ms\n"
    "  --progress auto|plain|none\n"
    "  log: --after N, -n N, --type TYPE, --tenant TENANT\n";

enum {
    FITS_RECOVER = 1 << COMMAND_RECOVER,
    FITS_VERIFY = 1 << COMMAND_VERIFY,
    FITS_LOG = 1 << COMMAND_LOG,
    FITS_RESTORE = 1 << COMMAND_RESTORE,
    FITS_RESOLVE = 1 << COMMAND_RESOLVE,
    FITS_SALVAGE = 1 << COMMAND_SALVAGE,
    FITS_ARCHIVE = 1 << COMMAND_ARCHIVE,
};

static const struct {
    const char *name;
    unsigned commands;
    bool has_value;
} flags[] = {
    { "-o", ~0u, true },
    { "--keep", FITS_RESOLVE, true },
    { "--at-start", FITS_RECOVER, false },
    { "--all", FITS_RECOVER, false },
    { "--dry-run", FITS_RECOVER, false },
    { "--if-event", FITS_RECOVER | FITS_VERIFY, true },
    { "--detailed-exitcode", FITS_RECOVER | FITS_VERIFY | FITS_SALVAGE, false },
    { "--timeout", FITS_RECOVER, true },
    { "--progress", FITS_RECOVER, true },
    { "--full", FITS_VERIFY, false },
    { "--fix", FITS_VERIFY, false },
    { "--fix-orphans", FITS_VERIFY, false },
    { "--background", FITS_VERIFY, false },
    { "--periodic", FITS_VERIFY, false },
    { "--after", FITS_LOG, true },
    { "-n", FITS_LOG, true },
    { "--type", FITS_LOG, true },
    { "--tenant", FITS_LOG, true },
    { "--only", FITS_RESTORE, true },
    { "--archive", FITS_LOG, true },
    { "--key", FITS_ARCHIVE, true },
};
enum flag {
    FLAG_output,
    FLAG_keep,
    FLAG_at_start,
    FLAG_all,
    FLAG_dry_run,
    FLAG_if_event,
    FLAG_detailed_exitcode,
    FLAG_timeout,
    FLAG_progress,
    FLAG_full,
    FLAG_fix,
    FLAG_fix_orphans,
    FLAG_background,
    FLAG_periodic,
    FLAG_after,
    FLAG_count,
    FLAG_type,
    FLAG_tenant,
    FLAG_only,
    FLAG_archive,
    FLAG_key,
    FLAGS
};
_Static_assert(FLAGS == COUNT_OF(flags), "one name for each flag");

static const char *const command_names[] = {
    [COMMAND_RECOVER] = "recoveryd", [COMMAND_VERIFY] = "verify",   [COMMAND_LOG] = "log",
    [COMMAND_RESTORE] = "restore",   [COMMAND_RESOLVE] = "resolve", [COMMAND_SALVAGE] = "salvage",
    [COMMAND_ARCHIVE] = "archive",
};

static bool refuse(struct options *options, const char *flag, const char *rule)
{
    fprintf(stderr, "recoveryd: %s %s\n", flag, rule);
    options->is_refused = true;
    return false;
}

static bool take_number(struct options *options, const char *flag, const char *text,
                        uint64_t *number)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0)
        return refuse(options, flag, "takes a number");
    *number = value;
    return true;
}

/* The place of `text` in a list of words; -1 when it is none of them. */
static int word_of(const char *text, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(text, words[i]) == 0)
            return (int)i;
    return -1;
}

static void take_output(struct options *options, const char *text)
{
    static const char *const words[] = { "text", "json", "jsonl" };
    int word = word_of(text, words, COUNT_OF(words));
    if (word < 0)
        refuse(options, "-o", "takes text or json (for log: text or jsonl)");
    else
        options->output = (enum output)word;
}

static void take_progress(struct options *options, const char *text)
{
    static const char *const words[] = { "auto", "plain", "none" };
    int word = word_of(text, words, COUNT_OF(words));
    if (word < 0)
        refuse(options, "--progress", "takes auto, plain or none");
    else
        options->progress = (enum progress_kind)word;
}

static void take_flag(struct options *options, enum flag flag, const char *value)
{
    uint8_t key[HASH_BYTES];
    switch (flag) {
    case FLAG_output:
        take_output(options, value);
        break;
    case FLAG_keep:
        options->keep = value;
        if (strcmp(value, "log") != 0)
            refuse(options, "--keep", "takes log: the log as it is now");
        break;
    case FLAG_at_start:
        options->is_at_start = true;
        break;
    case FLAG_all:
        options->shows_all = true;
        break;
    case FLAG_dry_run:
        options->is_dry_run = true;
        break;
    case FLAG_if_event:
        options->has_if_event = take_number(options, "--if-event", value, &options->if_event);
        break;
    case FLAG_detailed_exitcode:
        options->has_detailed_exitcode = true;
        break;
    case FLAG_timeout:
        options->has_timeout = duration_parse(value, &options->timeout_ms) == STATUS_OK;
        if (!options->has_timeout)
            refuse(options, "--timeout", "takes a duration like 30s");
        break;
    case FLAG_progress:
        take_progress(options, value);
        break;
    case FLAG_full:
        options->is_full = true;
        break;
    case FLAG_fix:
        options->has_fix = true;
        break;
    case FLAG_fix_orphans:
        options->has_fix = options->has_fix_orphans = true;
        break;
    case FLAG_periodic:
        options->is_periodic = true;
        break;
    case FLAG_background:
        options->is_background = true;
        break;
    case FLAG_after:
        options->has_after = take_number(options, "--after", value, &options->after);
        break;
    case FLAG_count:
        options->has_count = take_number(options, "-n", value, &options->count);
        break;
    case FLAG_type:
        options->type = value;
        break;
    case FLAG_tenant:
        options->tenant = value;
        if (!name_is_valid(value))
            refuse(options, "--tenant", "takes a name: " NAME_PATTERN);
        break;
    case FLAG_only:
        options->only = value;
        if (strcmp(value, "tokens") != 0 && strcmp(value, "vault") != 0)
            refuse(options, "--only", "takes tokens or vault: the others follow from the log");
        break;
    case FLAG_archive:
        options->archive = value;
        break;
    case FLAG_key:
        options->key = value;
        if (!hex_parse(value, key, sizeof key))
            refuse(options, "--key", "takes 64 hexadecimal digits: what DATA/events.pub holds");
        break;
    case FLAGS:
        break;
    }
}

static int take_command(struct options *options, const char *argument)
{
    if (options->command == COMMAND_RESTORE && options->backup_dir == NULL) {
        options->backup_dir = argument;
        return 1;
    }
    if (options->command == COMMAND_SALVAGE || options->command == COMMAND_ARCHIVE) {
        if (options->source_count == SOURCES_NAMED_MAX)
            return 0;
        options->sources[options->source_count++] = argument;
        return 1;
    }
    if (options->has_command)
        return 0;
    for (int command = COMMAND_VERIFY; command <= COMMAND_ARCHIVE; command++)
        if (strcmp(argument, command_names[command]) == 0) {
            options->command = (enum command)command;
            options->has_command = true;
            return 1;
        }
    return 0;
}

int options_take(void *context, const char *argument, const char *next)
{
    struct options *options = context;
    if (argument[0] != '-')
        return take_command(options, argument);
    size_t name_bytes = strcspn(argument, "=");
    for (int i = 0; i < FLAGS; i++) {
        if (strlen(flags[i].name) != name_bytes ||
            strncmp(argument, flags[i].name, name_bytes) != 0)
            continue;
        const char *value = argument[name_bytes] == '=' ? argument + name_bytes + 1 : NULL;
        int taken = 1;
        if (flags[i].has_value && value == NULL) {
            value = next;
            taken = next == NULL ? 1 : 2;
        }
        options->given |= 1u << i;
        if (flags[i].has_value && value == NULL)
            refuse(options, flags[i].name, "needs a value");
        else if (!flags[i].has_value && value != NULL)
            refuse(options, flags[i].name, "takes no value");
        else
            take_flag(options, (enum flag)i, value);
        return taken;
    }
    return 0;
}

enum status options_check(const struct options *options)
{
    if (options->is_refused)
        return STATUS_USAGE;
    for (int i = 0; i < FLAGS; i++)
        if ((options->given & 1u << i) != 0 && (flags[i].commands & 1u << options->command) == 0) {
            fprintf(stderr, "recoveryd: %s does not go with %s\n", flags[i].name,
                    options->command == COMMAND_RECOVER ? "a recovery"
                                                        : command_names[options->command]);
            return STATUS_USAGE;
        }
    if (options->command == COMMAND_RESTORE && options->backup_dir == NULL) {
        fputs("recoveryd: restore needs the directory of a backup\n", stderr);
        return STATUS_USAGE;
    }
    if (options->command == COMMAND_RESOLVE && options->keep == NULL) {
        fputs("recoveryd: resolve needs --keep log\n", stderr);
        return STATUS_USAGE;
    }
    bool is_log = options->command == COMMAND_LOG;
    if (options->output == (is_log ? OUTPUT_JSON : OUTPUT_JSONL)) {
        fprintf(stderr, "recoveryd: -o takes text or %s here\n", is_log ? "jsonl" : "json");
        return STATUS_USAGE;
    }
    return STATUS_OK;
}
