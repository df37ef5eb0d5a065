#ifndef SOLO_COMMON_SPEC_SIGNAL_NAME_H
#define SOLO_COMMON_SPEC_SIGNAL_NAME_H

/* Signal numbers by name, with or without "SIG"; 0 for unknown. */
int signal_parse(const char *name);
/* "TERM"; the number in digits for a signal without a name, until the next call. */
const char *signal_text(int number);

#endif
