#ifndef SOLO_COMMON_DAEMON_JOURNAL_H
#define SOLO_COMMON_DAEMON_JOURNAL_H

/* Under systemd (stderr is a stream of its journal) what is logged goes to the journal with fields
 * from now on: PRIORITY, SYSLOG_IDENTIFIER, MESSAGE as a line would say it, and each of its pairs
 * as SOLO_KEY: SOLO_TENANT, SOLO_SERVICE, SOLO_REASON. Elsewhere nothing happens. */
void journal_join(void);

#endif
