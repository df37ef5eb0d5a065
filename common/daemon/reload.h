#ifndef SOLO_COMMON_DAEMON_RELOAD_H
#define SOLO_COMMON_DAEMON_RELOAD_H

#include <ev.h>

#include "common/daemon/settings.h"

/* Settings while programs run. At SIGHUP a daemon reads them again from where they came from; LIVE
 * ones (settings.def) take effect at once, others are named in the log: they need a restart. What
 * cannot be read changes nothing. */
struct reload {
    struct settings *settings; /* changed in place */
    const char *program;
    char **argv; /* of main */
    int argc;
    void (*changed)(void *context); /* NULL, or: every value is the new one now */
    void *context;
    struct ev_loop *loop; /* the rest is reload's own */
    struct ev_signal on_hangup;
};

/* The caller has filled settings to context. */
void reload_open(struct reload *reload, struct ev_loop *loop);
void reload_close(struct reload *reload);

/* What solod's children work with is what it works with, wherever it came from. LIVE settings stand
 * in RUN/internal/solo.conf, written anew when they change; the others, and the name of that file,
 * in the environment of a child. */
enum status settings_publish(const struct settings *settings);
enum status settings_export(const struct settings *settings);

#endif
