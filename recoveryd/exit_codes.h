#ifndef SOLO_RECOVERYD_EXIT_CODES_H
#define SOLO_RECOVERYD_EXIT_CODES_H

/* What only --detailed-exitcode says, beside the codes of status.def. */
enum { EXIT_CHANGES_DUE = 2, EXIT_PERSON_NEEDED = 3 };

#endif
