/* A second look at the settings, row by row against those that are in force. */
#include "common/daemon/reload.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/run_folder.h"
#include "common/daemon/lifecycle.h"

enum { FILE_BYTES_MAX = 16384 };

/* Of each setting. */
static const struct row {
    enum { KIND_text, KIND_boolean, KIND_duration_ms, KIND_number } kind;
    enum { EFFECT_LIVE, EFFECT_RESTART } effect;
    const char *key, *environment;
    size_t offset, size;
} rows[] = {
#define SETTING(kind, key, effect, environment, otherwise, meaning)                                \
    { KIND_##kind,                                                                                 \
      EFFECT_##effect,                                                                             \
      #key,                                                                                        \
      environment,                                                                                 \
      offsetof(struct settings, key),                                                              \
      sizeof(((struct settings *)0)->key) },
#include "common/daemon/settings.def"
#undef SETTING
};

static const char *value_text(const struct row *row, const struct settings *settings,
                              char number[24])
{
    const void *place = (const char *)settings + row->offset;
    switch (row->kind) {
    case KIND_boolean:
        return *(const bool *)place ? "true" : "false";
    case KIND_duration_ms:
    case KIND_number:
        snprintf(number, 24, "%" PRIu64, *(const uint64_t *)place);
        return number;
    default:
        return place;
    }
}

static enum status published_path(char path[4096], const struct settings *settings)
{
    return run_internal_path(path, settings->run_dir, "solo.conf");
}

enum status settings_publish(const struct settings *settings)
{
    AUTO(buffer_close) struct buffer text = { .limit = FILE_BYTES_MAX };
    char path[4096], number[24];
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (rows[i].effect != EFFECT_LIVE)
            continue;
        TRY(buffer_append_format(&text, "%s = %s\n", rows[i].key,
                                 value_text(&rows[i], settings, number)));
    }
    TRY(published_path(path, settings));
    return file_write(path, buffer_span(&text), 0600);
}

static enum status environment_set(const char *name, const char *value)
{
    if ((value == NULL ? unsetenv(name) : setenv(name, value, 1)) == 0)
        return STATUS_OK;
    return log_failure(status_from_errno(errno), "export the settings", "name", name, "reason",
                       strerror(errno));
}

enum status settings_export(const struct settings *settings)
{
    char path[4096], number[24];
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        TRY(environment_set(rows[i].environment, rows[i].effect == EFFECT_LIVE
                                                     ? NULL
                                                     : value_text(&rows[i], settings, number)));
    TRY(published_path(path, settings));
    return environment_set("SOLO_CONFIG", path);
}

static void on_hangup(struct ev_loop *loop, struct ev_signal *watcher, int events)
{
    (void)loop, (void)events;
    struct reload *reload = watcher->data;
    struct settings *old = reload->settings;
    static struct settings fresh; /* a page for each text */
    char before[24], after[24];
    if (settings_load(&fresh, reload->program, NULL, reload->argc, reload->argv) != STATUS_OK) {
        log_setup(reload->program, old->level);
        log_error("the settings are not reloaded", "reason", "see the lines before", "file",
                  fresh.config_file);
        return;
    }
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct row *row = &rows[i];
        const char *is = value_text(row, &fresh, after), *was = value_text(row, old, before);
        if (strcmp(is, was) == 0)
            continue;
        if (row->effect == EFFECT_RESTART) {
            log_warning("a changed setting needs a restart", "key", row->key, "value", was,
                        "changed_to", is);
            continue;
        }
        log_info("setting changed", "key", row->key, "from", was, "to", is);
        memcpy((char *)old + row->offset, (char *)&fresh + row->offset, row->size);
    }
    old->level = fresh.level;
    log_info("settings reloaded", "file", fresh.config_file);
    if (reload->changed != NULL)
        reload->changed(reload->context);
}

void reload_open(struct reload *reload, struct ev_loop *loop)
{
    reload->loop = loop;
    ev_signal_init(&reload->on_hangup, on_hangup, SIGHUP);
    reload->on_hangup.data = reload;
    ev_signal_start(loop, &reload->on_hangup);
}

void reload_close(struct reload *reload)
{
    if (reload->loop != NULL)
        signal_retire(reload->loop, &reload->on_hangup);
    reload->loop = NULL;
}
