/* The command line: a table of flags, each with the commands that it fits. */
#include "recoveryd/options.h"

#include <errno.h>
#include <stddef.h>
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

/* ---- flags ---- */

static void take_output(struct options *options, const char *flag, const char *value)
{
    static const char *const words[] = { "text", "json", "jsonl" };
    int word = word_of(value, words, COUNT_OF(words));
    if (word < 0)
        refuse(options, flag, "takes text or json (for log: text or jsonl)");
    else
        options->output = (enum output)word;
}

static void take_progress(struct options *options, const char *flag, const char *value)
{
    static const char *const words[] = { "auto", "plain", "none" };
    int word = word_of(value, words, COUNT_OF(words));
    if (word < 0)
        refuse(options, flag, "takes auto, plain or none");
    else
        options->progress = (enum progress_kind)word;
}

static void take_keep(struct options *options, const char *flag, const char *value)
{
    options->keep = value;
    if (strcmp(value, "log") != 0)
        refuse(options, flag, "takes log: the log as it is now");
}

static void take_if_event(struct options *options, const char *flag, const char *value)
{
    options->has_if_event = take_number(options, flag, value, &options->if_event);
}

static void take_timeout(struct options *options, const char *flag, const char *value)
{
    options->has_timeout = duration_parse(value, &options->timeout_ms) == STATUS_OK;
    if (!options->has_timeout)
        refuse(options, flag, "takes a duration like 30s");
}

static void take_fix_orphans(struct options *options, const char *flag, const char *value)
{
    (void)flag, (void)value;
    options->has_fix = options->has_fix_orphans = true;
}

static void take_after(struct options *options, const char *flag, const char *value)
{
    options->has_after = take_number(options, flag, value, &options->after);
}

static void take_count(struct options *options, const char *flag, const char *value)
{
    options->has_count = take_number(options, flag, value, &options->count);
}

static void take_type(struct options *options, const char *flag, const char *value)
{
    (void)flag;
    options->type = value;
}

static void take_tenant(struct options *options, const char *flag, const char *value)
{
    options->tenant = value;
    if (!name_is_valid(value))
        refuse(options, flag, "takes a name: " NAME_PATTERN);
}

static void take_only(struct options *options, const char *flag, const char *value)
{
    options->only = value;
    if (strcmp(value, "tokens") != 0 && strcmp(value, "vault") != 0)
        refuse(options, flag, "takes tokens or vault: the others follow from the log");
}

static void take_archive(struct options *options, const char *flag, const char *value)
{
    (void)flag;
    options->archive = value;
}

static void take_key(struct options *options, const char *flag, const char *value)
{
    uint8_t key[HASH_BYTES];
    options->key = value;
    if (!hex_parse(value, key, sizeof key))
        refuse(options, flag, "takes 64 hexadecimal digits: what DATA/events.pub holds");
}

/* Its value goes to a function; or it has none and sets a bool of struct options. */
#define VALUE(function) true, 0, function
#define SETS(member)    false, offsetof(struct options, member), NULL
static const struct flag {
    const char *name;
    unsigned commands;
    bool has_value;
    size_t sets;
    void (*take)(struct options *options, const char *flag, const char *value);
} flags[] = {
    { "-o", ~0u, VALUE(take_output) },
    { "--keep", FITS_RESOLVE, VALUE(take_keep) },
    { "--at-start", FITS_RECOVER, SETS(is_at_start) },
    { "--all", FITS_RECOVER, SETS(shows_all) },
    { "--dry-run", FITS_RECOVER, SETS(is_dry_run) },
    { "--if-event", FITS_RECOVER | FITS_VERIFY, VALUE(take_if_event) },
    { "--detailed-exitcode", FITS_RECOVER | FITS_VERIFY | FITS_SALVAGE,
      SETS(has_detailed_exitcode) },
    { "--timeout", FITS_RECOVER, VALUE(take_timeout) },
    { "--progress", FITS_RECOVER, VALUE(take_progress) },
    { "--full", FITS_VERIFY, SETS(is_full) },
    { "--fix", FITS_VERIFY, SETS(has_fix) },
    { "--fix-orphans", FITS_VERIFY, false, 0, take_fix_orphans },
    { "--background", FITS_VERIFY, SETS(is_background) },
    { "--periodic", FITS_VERIFY, SETS(is_periodic) },
    { "--after", FITS_LOG, VALUE(take_after) },
    { "-n", FITS_LOG, VALUE(take_count) },
    { "--type", FITS_LOG, VALUE(take_type) },
    { "--tenant", FITS_LOG, VALUE(take_tenant) },
    { "--only", FITS_RESTORE, VALUE(take_only) },
    { "--archive", FITS_LOG, VALUE(take_archive) },
    { "--key", FITS_ARCHIVE, VALUE(take_key) },
};
_Static_assert(COUNT_OF(flags) <= 32, "a bit of struct options for each");

static void take_flag(struct options *options, const struct flag *flag, const char *value)
{
    if (flag->take != NULL)
        flag->take(options, flag->name, value);
    else
        *(bool *)((char *)options + flag->sets) = true;
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
    for (size_t i = 0; i < COUNT_OF(flags); i++) {
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
            take_flag(options, &flags[i], value);
        return taken;
    }
    return 0;
}

enum status options_check(const struct options *options)
{
    if (options->is_refused)
        return STATUS_USAGE;
    for (size_t i = 0; i < COUNT_OF(flags); i++)
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
